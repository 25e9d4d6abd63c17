"""Every transform of the space by name, alone, on one sheet: the picture in the documents.

.venv/bin/python benchmarks/augmentation_sheet.py docs/assets/augmentations.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from edgehone.augment import Frame, transform_sheet
from edgehone.data import read_dataset

QUALITY = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="JPEG file to write")
    parser.add_argument("--data", default="builtin:digits?width=240&height=180&max_objects=4")
    parser.add_argument("--size", type=int, default=128, help="side of the network input in pixels")
    parser.add_argument("--seed", type=int, default=2)
    given = parser.parse_args()
    dataset = read_dataset(given.data)
    pictures = [sample.read() for sample in dataset.train[:24]]
    sheet = transform_sheet(pictures, Frame((given.size, given.size)), given.seed, dataset.class_names)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(sheet[..., ::-1])
    file = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    given.out.write_bytes(file.tobytes())
    print(f"{given.out}: {sheet.shape[1]} x {sheet.shape[0]} pixels, {len(file) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
