"""What is written in a format is what its reader gives back, box by box."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgehone.data import Dataset, read_dataset

NAMES = ("ant", "bee", "cat")
WIDTH, HEIGHT = 64, 48
SPLITS = ("train", "val", "test")

boxes = st.lists(
    st.tuples(
        st.floats(0, WIDTH - 8, width=32),
        st.floats(0, HEIGHT - 8, width=32),
        st.floats(2, 8, width=32),
        st.floats(2, 8, width=32),
        st.integers(0, len(NAMES) - 1),
    ),
    max_size=4,
)
label_sets = st.lists(boxes, min_size=1, max_size=3)
"""Further pictures of the training split; one labelled picture in each split is always there."""

FIXED = [(1.0, 2.0, 10.0, 12.0, 0), (30.0, 20.0, 9.0, 8.5, 1), (5.5, 30.25, 8.0, 8.0, 2)]


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def write_voc(root: Path, labels: dict[str, list]) -> None:
    for number, (name, items) in enumerate(labels.items()):
        write_picture(root / "JPEGImages" / f"{name}.png", number)
        objects = "".join(
            f"<object><name>{NAMES[k]}</name><bndbox><xmin>{x!r}</xmin><ymin>{y!r}</ymin>"
            f"<xmax>{x + w!r}</xmax><ymax>{y + h!r}</ymax></bndbox></object>"
            for x, y, w, h, k in items
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}.jpg</filename>{size}{objects}</annotation>"
        path = root / "Annotations" / f"{name}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    sets = root / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    for split in SPLITS:
        (sets / f"{split}.txt").write_text("".join(f"{n}\n" for n in labels if n.startswith(split)))


def write_yolo(root: Path, labels: dict[str, list]) -> None:
    for number, (name, items) in enumerate(labels.items()):
        folder = root / ("valid" if name.startswith("val") else name.split("_")[0])
        write_picture(folder / "images" / f"{name}.png", number)
        (folder / "labels").mkdir(exist_ok=True)
        lines = [
            f"{k} {(x + w / 2) / WIDTH!r} {(y + h / 2) / HEIGHT!r} {w / WIDTH!r} {h / HEIGHT!r}\n"
            for x, y, w, h, k in items
        ]
        (folder / "labels" / f"{name}.txt").write_text("".join(lines))
    (root / "data.yaml").write_text(
        f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: {json.dumps(NAMES)}\n"
    )


def write_polygons(root: Path, labels: dict[str, list]) -> None:
    write_yolo(root, labels)
    for path in root.rglob("labels/*.txt"):
        corners = [(k, x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT) for x, y, w, h, k in labels[path.stem]]
        lines = [f"{k} {a!r} {b!r} {c!r} {b!r} {c!r} {d!r} {a!r} {d!r}\n" for k, a, b, c, d in corners]
        path.write_text("".join(lines))


def write_coco(root: Path, labels: dict[str, list]) -> None:
    """One file a split, under the key names of HIT-UAV, with ids that are texts."""
    for split in SPLITS:
        chosen = {name: items for name, items in labels.items() if name.startswith(split)}
        for number, name in enumerate(chosen):
            write_picture(root / split / f"{name}.png", number + 100 * SPLITS.index(split))
        content = {
            "images": [{"id": name, "filename": f"{name}.png", "width": WIDTH, "height": HEIGHT} for name in chosen],
            "annotation": [
                {"image_id": name, "category_id": str(k), "bbox": [x, y, w, h]}
                for name, items in chosen.items()
                for x, y, w, h, k in items
            ],
            "categories": [{"id": str(k), "name": name} for k, name in enumerate(NAMES)],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))


WRITERS = {"voc": write_voc, "yolo": write_yolo, "polygons": write_polygons, "coco": write_coco}


def by_name(dataset: Dataset) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    return {
        Path(sample.id).stem: (split, sample.boxes_xyxy, sample.classes)
        for split, samples in dataset.splits.items()
        for sample in samples
    }


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=label_sets)
def test_labels_come_back_as_written(writer: str, drawn: list) -> None:
    labels = {f"{split}_fixed": FIXED for split in SPLITS}
    labels |= {f"train_{number}": items for number, items in enumerate(drawn)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        WRITERS[writer](root, labels)
        dataset = read_dataset(root)
        first = dataset.train[0].read()
    assert first.image.shape == (HEIGHT, WIDTH, 3)
    assert dataset.class_names == NAMES
    found = by_name(dataset)
    assert found.keys() == labels.keys()
    for name, items in labels.items():
        split, boxes_xyxy, classes = found[name]
        assert split == name.split("_")[0]
        assert classes.tolist() == [k for *_, k in items]
        wanted = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in items]).reshape(-1, 4)
        np.testing.assert_allclose(boxes_xyxy, wanted, atol=1e-3)
    assert [f for f in dataset.findings if f.code != "format"] == []


@pytest.mark.parametrize("writer", WRITERS)
def test_a_data_set_is_named_by_its_labels(tmp_path: Path, writer: str) -> None:
    labels = {f"{split}_{number}": FIXED for split in SPLITS for number in range(2)}
    WRITERS[writer](tmp_path / "a", labels)
    WRITERS[writer](tmp_path / "b", labels)
    WRITERS[writer](tmp_path / "c", {**labels, "train_0": FIXED[:1]})
    one, same, other = (read_dataset(tmp_path / name) for name in "abc")
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()
    assert read_dataset(one.source).fingerprint() == one.fingerprint()


@pytest.mark.parametrize(("writer", "file"), [("yolo", "data.yaml"), ("coco", "annotations/train.json")])
def test_a_description_file_opens_the_data_as_well(tmp_path: Path, writer: str, file: str) -> None:
    labels = {f"{split}_{number}": FIXED for split in SPLITS for number in range(12)}
    WRITERS[writer](tmp_path, labels)
    dataset = read_dataset(tmp_path / file)
    assert dataset.class_names == NAMES
    assert all(dataset.splits.values())
    if writer == "coco":  # one file, one split: the others are cut from it, and that is said
        codes = {f.code for f in dataset.findings}
        assert {"split-val-missing", "split-test-missing"} <= codes
        assert all(Path(s.id).stem.startswith("train") for split in dataset.splits.values() for s in split)
