"""How long a check of many pictures takes against decoding them with OpenCV in as many processes, in one run.

    python benchmarks/check_speed.py DATA --images 10000 --rounds 2

DATA is copied until there are that many pictures, with their labels; ``--distinct`` gives each copy other bytes (a few
after the end of the JPEG), so that none can be told from its content alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from edgehone.data import read_dataset
from edgehone.data.doctor import examine
from edgehone.data.reading import Source
from edgehone.data.writing import write_dataset

SPLITS = ("train", "val", "test")


def multiply(root: Path, images: int, distinct: bool) -> int:
    """Copy pictures and labels within a YOLO folder; the number of pictures there are then."""
    originals = {split: sorted((root / "images" / split).iterdir()) for split in SPLITS}
    total = sum(map(len, originals.values()))
    rounds = -(-images // total)
    for split, pictures in originals.items():
        for picture in pictures:
            for number in range(1, rounds):
                copy = picture.with_stem(f"{picture.stem}_{number}")
                shutil.copyfile(picture, copy)
                if distinct:
                    with copy.open("ab") as file:
                        file.write(number.to_bytes(4, "big"))
                label = root / "labels" / split / f"{picture.stem}.txt"
                shutil.copyfile(label, label.with_stem(copy.stem))
    return total * rounds


def decode(path: str) -> int:
    """What OpenCV alone needs."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    return 0 if image is None else image.shape[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--distinct", action="store_true")
    wanted = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        write_dataset(read_dataset(wanted.data), "yolo", root)
        count = multiply(root, wanted.images, wanted.distinct)
        files = [str(path) for path in sorted((root / "images").rglob("*.*"))]
        for _ in range(wanted.rounds):
            started = time.monotonic()
            with ProcessPoolExecutor(cores) as pool:
                assert all(pool.map(decode, files, chunksize=100))
            decoded = time.monotonic()
            checkup = examine(Source(str(root)))
            done = time.monotonic()
            first, second = decoded - started, done - decoded
            took = f"OpenCV {first:.1f} s, check {second:.1f} s, ratio {second / first:.2f}"
            findings = sum(checkup.counts.values())
            print(f"{count:,} pictures, {cores} cores: {took} ({findings:,} findings)", flush=True)


if __name__ == "__main__":
    main()
