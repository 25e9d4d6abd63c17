"""Dirt is reported with its place; what cannot be read stops with the file, the line and what to do."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.errors import EdgehoneError, UsageError

BOX = "0 0.5 0.5 0.25 0.25\n"
OBJECT = "<object><name>ant</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>31</ymax></bndbox></object>"


def picture(path: Path, seed: int, size: tuple[int, int] = (40, 60)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def yolo(root: Path, count: int = 20) -> Path:
    """A clean folder without splits."""
    for number in range(count):
        picture(root / "images" / f"p{number:02}.png", number)
        label = root / "labels" / f"p{number:02}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text(BOX)
    (root / "data.yaml").write_text("names: {0: ant, 1: bee}\n")
    return root


def coco(root: Path, count: int = 20) -> dict:
    """The content of a clean COCO file whose pictures lie in ``root/images``."""
    for number in range(count):
        picture(root / "images" / f"p{number:02}.png", number)
    return {
        "images": [{"id": n, "file_name": f"p{n:02}.png", "width": 60, "height": 40.0} for n in range(count)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 7, "bbox": [3, 4, 20, 20], "iscrowd": 0} for n in range(count)
        ],
        "categories": [{"id": 7, "name": "ant"}],
    }


def voc(root: Path, objects: str, first: str | None = None, count: int = 20) -> Path:
    for number in range(count):
        picture(root / f"p{number:02}.png", number)
        text = f"<annotation>{objects}</annotation>" if number or first is None else first
        (root / f"p{number:02}.xml").write_text(text)
    return root


def codes(dataset: Dataset) -> Counter[str]:
    return Counter(f.code for f in dataset.findings if f.severity != "note")


def boxes(dataset: Dataset) -> int:
    return sum(len(s.classes) for samples in dataset.splits.values() for s in samples)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0 0.5 0.5 0 0.1", "box-degenerate"),
        ("0 0.5 0.5 -0.2 0.1", "box-degenerate"),
        ("0 1.5 0.5 0.2 0.1", "box-outside"),
        ("2 0.5 0.5 0.2 0.1", "class-out-of-range"),
        ("-1 0.5 0.5 0.2 0.1", "class-out-of-range"),
        ("0.5 0.5 0.5 0.2 0.1", "class-out-of-range"),
        ("0 0.5 0.5 0.2", "label-line-unreadable"),
        ("0 nan 0.5 0.2 0.1", "box-not-finite"),
        ("0 30 20 10 10", "box-not-relative"),
        ("ant 0.5 0.5 0.2 0.1", "label-line-unreadable"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "label-line-unreadable"),
        ("0 0.1 0.1 0.2 0.2 0.3 inf", "box-not-finite"),
    ],
)
def test_a_bad_label_line_is_left_out_and_named(tmp_path: Path, line: str, code: str) -> None:
    root = yolo(tmp_path)
    (root / "labels" / "p03.txt").write_text(BOX + "\n" + line + "\n")
    dataset = read_dataset(root)
    assert codes(dataset) == {code: 1}
    finding = next(f for f in dataset.findings if f.code == code)
    assert finding.where == "labels/p03.txt line 3"
    assert finding.message
    assert finding.remedy
    assert boxes(dataset) == 20


def test_a_box_over_the_edge_is_clipped_and_noted(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "labels" / "p00.txt").write_text("0 0.0 0.5 0.5 2.0\n")
    dataset = read_dataset(root)
    sample = next(s for part in dataset.splits.values() for s in part if s.id.endswith("p00.png"))
    np.testing.assert_allclose(sample.boxes_xyxy, [[0, 0, 15, 40]], atol=1e-4)
    assert [f.where for f in dataset.findings if f.code == "box-clipped"] == ["labels/p00.txt line 1"]


def test_pictures_and_labels_that_lack_each_other_are_named(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "labels" / "p00.txt").rename(root / "labels" / "lost.txt")
    picture(root / "logo.png", 99)
    dataset = read_dataset(root)
    assert codes(dataset) == {"label-without-image": 1}
    assert [f.where for f in dataset.findings if f.code == "image-without-label"] == ["images/p00.png"]
    ids = {s.id for part in dataset.splits.values() for s in part}
    assert "images/p00.png" in ids
    assert "logo.png" not in ids


def test_an_unreadable_picture_is_an_error_finding(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "images" / "p05.png").write_bytes(b"\x89PNG broken")
    (root / "images" / "p06.png").write_bytes(b"")
    dataset = read_dataset(root)
    assert codes(dataset) == {"image-unreadable": 1, "image-empty-file": 1}
    assert boxes(dataset) == 18


def test_coco_dirt(tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["annotations"] += [
        {"id": 100, "image_id": 1, "category_id": 7, "bbox": [3, 4, 20, 20], "iscrowd": 1},
        {"id": 101, "image_id": 1, "category_id": 8, "bbox": [3, 4, 20, 20]},
        {"id": 102, "image_id": 1, "category_id": 7, "bbox": [3, 4, None, 20]},
        {"id": 103, "image_id": 1, "category_id": 7, "bbox": [3, 4, 20, float("inf")]},
        {"id": 104, "image_id": "?", "category_id": 7, "bbox": [3, 4, 20, 20]},
        "no object",
    ]
    content["images"] += [
        {"id": 200, "file_name": "absent.png"},
        {"id": 201, "file_name": "p02.png"},
        {"id": 202, "file_name": "p03.png", "width": 40, "height": 60},
    ]
    (tmp_path / "all.json").write_text(json.dumps(content))
    dataset = read_dataset(tmp_path)
    assert codes(dataset) == {
        "class-out-of-range": 1,
        "box-unreadable": 2,
        "box-not-finite": 1,
        "annotation-without-image": 1,
        "label-without-image": 1,
        "image-labelled-twice": 2,
    }
    assert Counter(f.code for f in dataset.findings)["crowd-region"] == 1
    assert boxes(dataset) == 20


def test_a_size_that_was_taken_before_turning_is_named(tmp_path: Path) -> None:
    content = coco(tmp_path)
    content["images"][0] |= {"width": 40, "height": 60}
    content["images"][1] |= {"width": 100, "height": 100}
    (tmp_path / "all.json").write_text(json.dumps(content))
    assert codes(read_dataset(tmp_path)) == {"size-turned": 1, "size-disagrees": 1}


def test_voc_dirt(tmp_path: Path) -> None:
    inf = OBJECT.replace(">30<", ">inf<")
    bad = f"<annotation>{OBJECT}<object><name>ant</name></object>{OBJECT.replace('ant', ' ')}{inf}</annotation>"
    root = voc(tmp_path, OBJECT, bad)
    (root / "extra.xml").write_text("<annotation/>")
    (root / "labels.csv").write_text("filename,width,height,class,xmin,ymin,xmax,ymax\n")
    dataset = read_dataset(root)
    assert dataset.format == "Pascal VOC"
    assert codes(dataset) == {
        "box-unreadable": 1,
        "class-missing": 1,
        "box-not-finite": 1,
        "label-without-image": 1,
    }
    assert boxes(dataset) == 20


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>\n<object>", ["line 2", "not valid XML"]),
        ("<!DOCTYPE a [<!ENTITY x 'y'>]><annotation>&x;</annotation>", ["not accepted"]),
        ('<?xml version="1.0" encoding="no-such"?><annotation/>', ["XML"]),
    ],
)
def test_an_annotation_that_is_not_xml_is_left_out_and_named(tmp_path: Path, text: str, words: list[str]) -> None:
    dataset = read_dataset(voc(tmp_path, OBJECT, text))
    assert codes(dataset) == {"annotation-unreadable": 1}
    finding = next(f for f in dataset.findings if f.code == "annotation-unreadable")
    assert finding.where == "p00.xml"
    assert all(word in finding.message for word in words)
    assert boxes(dataset) == 19


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"categories": []}, ["all.json", "categories"]),
        ({"categories": [{"id": 7}]}, ["all.json", "id and a name"]),
        ({"categories": [{"id": 7, "name": "a"}, {"id": "7", "name": "b"}]}, ["all.json", "same id"]),
        ({"images": {}}, ["not recognised", "images"]),
        ({"annotations": []}, ["needs labelled objects", "train, val, test"]),
    ],
)
def test_a_coco_file_without_its_lists_stops(tmp_path: Path, change: dict, words: list[str]) -> None:
    (tmp_path / "all.json").write_text(json.dumps(coco(tmp_path) | change))
    with pytest.raises(EdgehoneError) as caught:
        read_dataset(tmp_path)
    assert all(word in str(caught.value) for word in words)


def test_broken_json_and_yaml_stop_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text('{"images": [],\n "annotations": [}')
    with pytest.raises(EdgehoneError, match=r"all\.json line 2 is not valid JSON"):
        read_dataset(tmp_path)
    (tmp_path / "all.json").unlink()
    (tmp_path / "data.yaml").write_text("names: [a\nb: c")
    with pytest.raises(EdgehoneError, match=r"data\.yaml is not valid YAML.*line 2"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("names", ["{0: ant, 2: bee}", "[]", "[ant, ant]", "ant"])
def test_class_names_must_be_whole_and_distinct(tmp_path: Path, names: str) -> None:
    (yolo(tmp_path) / "data.yaml").write_text(f"names: {names}\n")
    with pytest.raises(EdgehoneError, match=r"data\.yaml"):
        read_dataset(tmp_path)


def test_a_class_list_beside_the_labels_will_do(tmp_path: Path) -> None:
    root = yolo(tmp_path)
    (root / "data.yaml").unlink()
    (root / "labels" / "classes.txt").write_text("ant\nbee\n")
    dataset = read_dataset(root)
    assert dataset.class_names == ("ant", "bee")
    assert codes(dataset) == {}


def test_sources_that_do_not_exist_are_a_usage_error(tmp_path: Path) -> None:
    for source, words in [
        (tmp_path / "absent", "no data set at"),
        ("builtin:letters", "builtin:digits"),
        ("builtin:digits?sides=4", "unknown key"),
        ("builtin:digits?train=0", "train"),
        ("builtin:digits?min_px=90&max_px=20", "min_px <= max_px"),
        ("builtin:digits?max_px=300", "scene's sides"),
    ]:
        with pytest.raises(UsageError, match=words):
            read_dataset(source)
    with pytest.raises(UsageError, match="formats are coco, voc, darknet, yolo, csv"):
        read_dataset(tmp_path, format="tfrecord")
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with pytest.raises(UsageError, match="description file"):
        read_dataset(note)


def test_an_unknown_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 0)
    with pytest.raises(EdgehoneError) as caught:
        read_dataset(tmp_path)
    assert all(word in str(caught.value) for word in ("COCO JSON", "Pascal VOC", "YOLO", ".png", "1 pictures"))
    with pytest.raises(EdgehoneError, match="class names"):
        read_dataset(tmp_path, format="yolo")
