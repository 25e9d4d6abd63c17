"""Two real Ray nodes on one machine; what nodes that see nothing of this machine are sent."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgehone.data import Dataset, read_dataset
from edgehone.data.writing import write_dataset
from edgehone.errors import EdgehoneError, UsageError
from edgehone.search import ray_workers
from edgehone.search.ray_workers import (
    Home,
    Shipment,
    check_address,
    picture_places,
    relocated,
    start_ray_workers,
    train_here,
)
from edgehone.search.trial import Task
from edgehone.space import replace
from edgehone.strategy import AUTHORS
from edgehone.training import Job

ROOT = Path(__file__).parents[2]
PATIENCE = 600.0
"""Seconds; on an idle machine of two cores it takes a small part of that."""

DATA = "builtin:digits?train=8&val=4&test=4&width=96&height=96&min_px=30&max_px=60&max_objects=3"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install 'edgehone[ray]'")
def test_a_node_killed_in_mid_trial_costs_no_trial(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "ray_node_loss.py"), "--trials-only"]
    places = ["--recorded", str(tmp_path), "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*script, *places], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, errors = process.communicate(timeout=PATIENCE)
    finally:
        if process.poll() is None:  # nodes would outlive a script that hangs
            for member in [*psutil.Process(process.pid).children(recursive=True), process]:
                member.kill()
    assert process.returncode == 0, out + errors[-3000:]
    assert "| yes |" in out


@pytest.fixture
def files(tmp_path: Path) -> Dataset:
    """The digits in files."""
    write_dataset(read_dataset(DATA), "coco", tmp_path / "data")
    return read_dataset(str(tmp_path / "data"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: Dataset) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"edgehone\[ray\]"), start_ray_workers("auto", files, tmp_path):
        pass


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "there is none"),
        ("127.0.0.1:99999", "there is none"),
        ("nonsense", "HOST:PORT"),
        ("ray://somewhere:10001", "HOST:PORT"),
        ("", "HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_told_at_once(address: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_address(address)


def shipment(data: Dataset, folder: Path, marker: str = "marker") -> Shipment:
    found = ray_workers._shipment(data, folder, marker)
    assert not found.dataset.test, "trials never need the test split"
    return found


def test_a_node_that_sees_everything_reads_it_in_place(files: Dataset, tmp_path: Path) -> None:
    (tmp_path / "marker").touch()
    dataset, folder = shipment(files, tmp_path).arrive(lambda places: pytest.fail("nothing is to be sent"))
    assert folder == tmp_path
    assert picture_places(dataset) == picture_places(files)


def test_a_node_that_sees_nothing_trains_on_what_it_is_sent(
    files: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    node.mkdir()
    monkeypatch.setattr(ray_workers.tempfile, "gettempdir", lambda: str(node))
    monkeypatch.setattr(ray_workers, "PARCEL", 5)
    places = picture_places(files)
    content = {place: place.read_bytes() for place in places}
    pixels = [sample.read().image for sample in files.train]
    sent = shipment(files, tmp_path / "not-shared")
    for place in places:
        place.unlink()
    parcels: list[int] = []

    def fetch(wanted: object) -> dict[Path, bytes]:
        chosen = list(wanted)  # type: ignore[call-overload]
        parcels.append(len(chosen))
        return {place: content[place] for place in chosen}

    dataset, _ = sent.arrive(fetch)
    assert sum(parcels) == len(places)
    assert max(parcels) == 5
    for sample, image in zip(dataset.train, pixels, strict=True):
        np.testing.assert_array_equal(sample.read().image, image)
    job = Job(model="yolov4-tiny", strategy=replace(AUTHORS, {"input.size": 128}), steps=2, batch_size=4)
    task = Task(name="final-00", rung="final", job=job, gflops=1.0, keep=True, origin="test")
    outcome, left = train_here(task, sent, lambda _: pytest.fail("it has them already"), lambda name, share: None)
    assert outcome.status == "done"
    assert left is not None
    assert set(left) == {"detector.pt"}
    assert not list(node.rglob("final-00")), "nothing is left on the node but the pictures"


def test_nodes_of_another_version_are_refused(files: Dataset, tmp_path: Path) -> None:
    other = dataclasses.replace(shipment(files, tmp_path), version="0.0.1")
    with pytest.raises(EdgehoneError, match=r"the search runs 0\.0\.1"):
        other.arrive(lambda places: {})


def test_home_hands_out_pictures_and_hears_of_progress(files: Dataset) -> None:
    home = Home()
    home.note("short-00", 0.5)
    assert home.all() == {"short-00": 0.5}
    place = picture_places(files)[0]
    assert home.pictures([place]) == {place: place.read_bytes()}
    moved = relocated(files, {p: p.with_name("x" + p.name) for p in picture_places(files)})
    assert all(p.name.startswith("x") for p in picture_places(moved))
