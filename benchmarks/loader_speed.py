"""How fast augmented pictures are made against how fast training consumes them.

.venv/bin/python benchmarks/loader_speed.py [DATA] [--size 416]
"""

from __future__ import annotations

import argparse
import time
from contextlib import closing

import cv2
import torch

from edgehone.batches import BatchSource
from edgehone.data import Dataset, read_dataset
from edgehone.space import replace
from edgehone.strategy import AUTHORS, Strategy
from edgehone.training import Job, picture_cache, train

BATCH = 8
BATCHES = 40
STEPS = 8
FULL = {
    "augmentation.mosaic.probability": 1.0,
    "augmentation.affine.scale": 0.5,
    "augmentation.affine.translate": 0.1,
    "augmentation.affine.degrees": 10.0,
    "augmentation.affine.shear": 3.0,
}


def loading(strategy: Strategy, dataset: Dataset, workers: int) -> float:
    """Pictures per second from a warm cache, with nobody consuming them."""
    cache = picture_cache(dataset.train, strategy)
    for index in range(len(cache)):
        cache[index]
    source = BatchSource(strategy, cache, seed=0, steps=10 * BATCHES, batch_size=BATCH)
    with closing(source.stream(workers=workers)) as batches:
        next(batches)
        started = time.perf_counter()
        for _ in range(BATCHES):
            next(batches)
        return BATCHES * BATCH / (time.perf_counter() - started)


def consuming(strategy: Strategy, dataset: Dataset) -> float:
    """Pictures per second of training on one thread, the making of plain batches included."""
    plain = replace(strategy, {"augmentation.mosaic.probability": 0.0})
    job = Job(model="yolov4-tiny", strategy=plain, steps=STEPS, batch_size=BATCH)
    times: list[float] = []
    train(job, dataset.class_names, dataset.train, watch=lambda progress: times.append(progress.seconds))
    return BATCH * (STEPS - 2) / (times[-1] - times[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="builtin:digits?train=64&width=640&height=480")
    parser.add_argument("--size", type=int, default=416)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    dataset = read_dataset(given.data)
    strategy = replace(AUTHORS, {**FULL, "input.size": given.size})
    for workers in (0, 1, 2):
        made = loading(strategy, dataset, workers)
        print(f"loader, {workers} threads: {made:7.1f} pictures/s ({1000 / made:.2f} ms each), mosaic + affine + hsv")
    used = consuming(strategy, dataset)
    print(f"training, 1 thread:  {used:7.1f} pictures/s ({1000 / used:.2f} ms each)")


if __name__ == "__main__":
    main()
