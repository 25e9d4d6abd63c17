"""Time and memory of profiling a synthetic COCO set of many images, against the bounds that the project sets itself.

    python benchmarks/large_dataset.py --images 100000

Pictures are links to a thousand small JPEGs; labels are random. Prints seconds and the growth of the process after its
imports.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from edgehone.analysis.data_space import data_profile
from edgehone.data.reading import Source, open_source

STRIDES = (16, 32)
SIZES = (160, 224, 288, 352, 416)
BOXES = 7
DIFFERENT = 1000


def write(root: Path, images: int) -> None:
    """A COCO file with its pictures."""
    rng = random.Random(0)
    (root / "images").mkdir()
    for number in range(images):
        place = root / "images" / f"{number:06}.jpg"
        if number < DIFFERENT:
            assert cv2.imwrite(str(place), np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
        else:
            os.link(root / "images" / f"{number % DIFFERENT:06}.jpg", place)
    with (root / "instances_train.json").open("w") as file:
        categories = [{"id": k, "name": f"class {k}"} for k in range(10)]
        file.write('{"categories": ' + json.dumps(categories) + ',\n"images": [')
        for number in range(images):
            item = {"id": number, "file_name": f"{number:06}.jpg", "width": 64, "height": 48}
            file.write(("," if number else "") + json.dumps(item))
        file.write('],\n"annotations": [')
        for number in range(images * BOXES):
            box = [rng.uniform(0, 30), rng.uniform(0, 20), rng.uniform(4, 30), rng.uniform(4, 25)]
            item = {"id": number, "image_id": number // BOXES, "category_id": rng.randrange(10), "bbox": box}
            file.write(("," if number else "") + json.dumps(item))
        file.write("]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()  # so that writing the set does not count
        if pid == 0:
            write(Path(folder), images)
            os._exit(0)
        os.waitpid(pid, 0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.monotonic()
        dataset = open_source(Source(folder)).dataset
        read = time.monotonic()
        profile = data_profile(dataset, SIZES, STRIDES)
        done = time.monotonic()
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    counts = profile.splits["train"]
    print(f"{images:,} images: read {read - started:.1f} s, profile {done - read:.1f} s, total {done - started:.1f} s")
    print(f"memory after imports: +{grown:.0f} MiB; train {counts['images']:,} images, {counts['boxes']:,} boxes")


if __name__ == "__main__":
    main()
