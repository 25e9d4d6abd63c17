"""The cache of decoded pictures: always right, never larger than allowed, whoever else uses it."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgehone.data import decoded_cache
from edgehone.data.decoded_cache import DecodedCache, default_folder
from edgehone.data.picture import FileImage, Image, read_image, shrink_image
from edgehone.errors import EdgehoneError

ENTRY = 28 + 40 * 60 * 3
"""Bytes of an entry of a picture below, at a longest side of 60."""


def write(path: Path, seed: int, size: tuple[int, int] = (80, 120)) -> FileImage:
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), noise)
    return FileImage(path)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def expected(source: FileImage, longest_side: int) -> Image:
    return shrink_image(read_image(source.path), longest_side)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every picture that is decoded."""
    calls: list[int] = []
    plain = decoded_cache.decode

    def counted(content: bytes, *rest: object) -> Image:
        calls.append(len(content))
        return plain(content, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(decoded_cache, "decode", counted)
    return calls


@pytest.mark.parametrize("longest_side", [30, 60, 500])
def test_a_picture_is_decoded_once(tmp_path: Path, decoded: list[int], longest_side: int) -> None:
    source = write(tmp_path / "a.png", 0)
    for _ in range(3):
        for cache in (DecodedCache(tmp_path / "cache"), pickle.loads(pickle.dumps(DecodedCache(tmp_path / "cache")))):
            image, size = cache.read(source, longest_side)
            assert size == (80, 120)
            assert (image == expected(source, longest_side)).all()
            image[:] = 0  # the caller's own
    assert len(decoded) == 1
    assert not cache.write_error


def test_sizes_have_entries_of_their_own(tmp_path: Path, decoded: list[int]) -> None:
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache")
    assert [cache.read(source, side)[0].shape[1] for side in (60, 30, 60, 30)] == [60, 30, 60, 30]
    assert len(decoded) == 2


def test_equal_files_share_an_entry(tmp_path: Path, decoded: list[int]) -> None:
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache")
    shutil.copy(source.path, tmp_path / "b.png")
    cache.read(source, 60)
    cache.read(FileImage(tmp_path / "b.png"), 60)
    assert len(decoded) == len(entries(tmp_path / "cache")) == 1


@pytest.mark.parametrize("old", [False, True])
def test_a_file_that_changes_is_decoded_anew(tmp_path: Path, old: bool) -> None:
    source, cache = FileImage(tmp_path / "a.bmp"), DecodedCache(tmp_path / "cache")
    for seed in range(5):
        write(source.path, seed)  # of the same length, and within a tick of the clock
        if old:  # time stamps that are put back do not hide it
            os.utime(source.path, ns=(10**18, 10**18))
        for _ in range(2):
            assert (cache.read(source, 60)[0] == expected(source, 60)).all()


def test_a_file_at_rest_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache")
    monkeypatch.setattr(decoded_cache, "SETTLED_NS", -1)
    first, _ = cache.read(source, 60)
    monkeypatch.setattr(decoded_cache, "read_content", None)
    assert (cache.read(source, 60)[0] == first).all()


def damaged(content: bytes) -> list[bytes]:
    flipped = bytearray(content)
    flipped[-7] ^= 1
    huge = content[:8] + b"\xff" * 8 + content[16:]
    return [b"", content[:10], content[:-1], content + b"x", bytes(flipped), bytes(len(content)), huge]


@pytest.mark.parametrize("fault", range(7))
def test_a_damaged_entry_is_made_anew(tmp_path: Path, decoded: list[int], fault: int) -> None:
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache")
    cache.read(source, 60)
    (entry,) = entries(tmp_path / "cache")
    sound = entry.read_bytes()
    entry.write_bytes(damaged(sound)[fault])
    assert (cache.read(source, 60)[0] == expected(source, 60)).all()
    assert entry.read_bytes() == sound
    assert len(decoded) == 2


def test_the_least_recently_used_go_first(tmp_path: Path, decoded: list[int]) -> None:
    cache = DecodedCache(tmp_path / "cache", limit_bytes=10 * ENTRY)
    sources = [write(tmp_path / f"{n}.png", n) for n in range(30)]
    for number, source in enumerate(sources):
        cache.read(source, 60)
        cache.read(sources[0], 60)
        for age, entry in enumerate(sorted(entries(tmp_path / "cache"), key=lambda e: -e.stat().st_mtime_ns)):
            os.utime(entry, ns=(10**18 - age * 10**10,) * 2)  # clocks tick too slowly for this test
        kept = sum(entry.stat().st_size for entry in entries(tmp_path / "cache"))
        assert min(number + 1, 9) * ENTRY <= kept <= 10 * ENTRY
    assert len(decoded) == 30  # the first was in use all the time


def test_the_bound_counts_what_was_there_before(tmp_path: Path) -> None:
    for start in range(0, 30, 3):
        cache = DecodedCache(tmp_path / "cache", limit_bytes=5 * ENTRY + 5)
        for number in range(start, start + 3):
            cache.read(write(tmp_path / f"{number}.png", number), 60)
    assert len(entries(tmp_path / "cache")) in (4, 5)


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache", limit_bytes=ENTRY - 1)
    assert (cache.read(source, 60)[0] == expected(source, 60)).all()
    assert entries(tmp_path / "cache") == []


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    theirs = tmp_path / "cache" / "holiday.rgb"
    theirs.write_bytes(bytes(100_000))
    os.utime(theirs, (0, 0))
    cache = DecodedCache(tmp_path / "cache", limit_bytes=2 * ENTRY)
    for number in range(6):
        cache.read(write(tmp_path / f"{number}.png", number), 60)
    assert theirs.exists()
    assert 2 <= len(entries(tmp_path / "cache")) <= 3


def test_without_a_place_to_write_pictures_are_still_read(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    source, cache = write(tmp_path / "a.png", 0), DecodedCache(tmp_path / "cache")
    for _ in range(2):
        assert (cache.read(source, 60)[0] == expected(source, 60)).all()
    assert str(tmp_path / "cache") in cache.write_error


def test_errors_name_the_file(tmp_path: Path) -> None:
    cache = DecodedCache(tmp_path / "cache")
    (tmp_path / "a.png").write_bytes(b"no picture")
    for name in ("a.png", "missing.png"):
        with pytest.raises(EdgehoneError, match=name):
            cache.read(FileImage(tmp_path / name), 60)


@dataclass(frozen=True)
class Drawn:
    def read(self) -> Image:
        return np.zeros((30, 90, 3), np.uint8)


def test_a_source_that_is_no_file_is_not_stored(tmp_path: Path) -> None:
    image, size = DecodedCache(tmp_path / "cache").read(Drawn(), 45)
    assert (image.shape, size) == ((15, 45, 3), (30, 90))
    assert entries(tmp_path) == []


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEHONE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "edgehone" / "decoded"
    monkeypatch.setenv("EDGEHONE_CACHE", str(tmp_path / "mine"))
    assert default_folder() == DecodedCache().folder == tmp_path / "mine" / "decoded"


def read_many(folder: Path, sources: list[FileImage], limit_bytes: int, seed: int, rounds: int) -> None:
    """In another process: every picture right, every time."""
    cache, rng = DecodedCache(folder, limit_bytes), np.random.default_rng(seed)
    wanted = [expected(source, 60) for source in sources]
    for _ in range(rounds):
        for number in rng.permutation(len(sources)):
            assert (cache.read(sources[number], 60)[0] == wanted[number]).all()
    assert not cache.write_error


def test_several_processes_share_a_small_cache(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{n}.png", n) for n in range(12)]
    spawn = multiprocessing.get_context("spawn")
    folder, limit = tmp_path / "cache", 6 * ENTRY
    processes = [spawn.Process(target=read_many, args=(folder, sources, limit, seed, 15)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    kept = entries(folder)
    assert all(path.suffix == ".rgb" for path in kept)
    assert sum(path.stat().st_size for path in kept) <= limit + 3 * ENTRY


def test_a_killed_writer_leaves_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [write(tmp_path / f"{n}.png", n) for n in range(40)]
    folder = tmp_path / "cache"
    process = multiprocessing.get_context("spawn").Process(
        target=read_many, args=(folder, sources, 8 * ENTRY, 0, 10_000)
    )
    process.start()
    stop = time.monotonic() + 60
    while len(entries(folder)) < 4 and time.monotonic() < stop:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    half = next(iter(entries(folder)))
    abandoned = half.with_name(half.name + "abc_123.tmp")
    abandoned.write_bytes(half.read_bytes()[:100])
    fresh = half.with_name(half.name + "def_456.tmp")
    shutil.copy(abandoned, fresh)
    os.utime(abandoned, (0, 0))
    read_many(folder, sources, 8 * ENTRY, 1, 1)
    assert not abandoned.exists()
    assert fresh.exists()
