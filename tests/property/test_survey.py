"""What a survey says of pictures, and which of them it takes for the same."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehone.data import near_duplicates as duplicates
from edgehone.data.near_duplicates import hamming, near_duplicates, thumbnail_correlation
from edgehone.data.picture import FileImage, Image
from edgehone.data.survey import Survey, survey
from edgehone.errors import EdgehoneError


@dataclass(frozen=True)
class Pixels:
    """A source that is no file, and counts how often it is read."""

    image: Image
    broken: bool = False

    def read(self) -> Image:
        if self.broken:
            raise EdgehoneError("no such scene")
        return self.image


def scene(seed: int, height: int = 300, width: int = 400) -> Image:
    """Soft colours: different for every seed, and sturdy under compression."""
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def write(path: Path, image: Image, *parameters: int) -> FileImage:
    assert cv2.imwrite(str(path), image[..., ::-1], list(parameters))
    return FileImage(path)


def test_looks_of_known_pictures(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    found = survey(
        [
            Pixels(np.full((50, 70, 3), 90, np.uint8)),
            Pixels(stripes),
            Pixels(np.full((40, 40, 3), (200, 20, 20), np.uint8)),
            Pixels(scene(0), broken=True),
        ]
    )
    assert found.sizes.tolist() == [[50, 70], [64, 64], [40, 40], [0, 0]]
    assert found.problem == ["", "", "", "no such scene"]
    assert found.readable.tolist() == [True, True, True, False]
    assert found.brightness[0] == 90
    assert found.brightness[1] == pytest.approx(100)
    assert found.contrast[1] == pytest.approx(100)
    # Each pixel's two neighbours in its row differ from it by 200: plus and minus 400.
    assert found.sharpness[1] == pytest.approx(160_000)
    assert found.blank.tolist() == [True, False, True, False]
    assert found.gray.tolist() == [True, True, False, False]
    assert (found.thumbnails[0] == 90).all()


def test_sharpness_falls_with_blur_and_not_with_size() -> None:
    image = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    coarse = cv2.resize(image[:64, :64], (512, 512), interpolation=cv2.INTER_NEAREST)
    blurred = cv2.GaussianBlur(coarse, (0, 0), 9)
    large = cv2.resize(coarse, (2048, 2048), interpolation=cv2.INTER_NEAREST)
    sharp, soft, same = survey([Pixels(np.asarray(x, np.uint8)) for x in (coarse, blurred, large)]).sharpness
    assert sharp > 10 * soft
    assert same == pytest.approx(sharp, rel=0.05)


def test_thumbnails_are_area_averages() -> None:
    image = scene(3, 128, 256)
    (thumbnail,) = survey([Pixels(image)]).thumbnails
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    plain = gray.reshape(16, 8, 16, 16).mean((1, 3))
    assert np.abs(thumbnail - plain).max() <= 1.5


def test_files_and_their_copies(tmp_path: Path) -> None:
    sources = [write(tmp_path / "a.jpg", scene(1)), write(tmp_path / "b.png", scene(2))]
    for name in ("c.jpg", "d.jpg"):
        (tmp_path / name).write_bytes((tmp_path / "a.jpg").read_bytes())
        sources.append(FileImage(tmp_path / name))
    (tmp_path / "broken.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    (tmp_path / "again.png").write_bytes((tmp_path / "b.png").read_bytes()[:200])
    sources += [FileImage(tmp_path / "broken.png"), FileImage(tmp_path / "again.png"), FileImage(tmp_path / "none.png")]
    found = survey(sources, threads=3)
    for field in fields(Survey):
        column = getattr(found, field.name)
        assert str(column[0]) == str(column[2]) == str(column[3]), field.name
    assert [bool(problem) for problem in found.problem] == [False] * 4 + [True] * 3
    assert not any(str(tmp_path) in problem for problem in found.problem)
    assert found.problem[4] == found.problem[5] != ""
    assert found.sizes[:6].tolist() == [[300, 400]] * 6
    assert not found.content[6].any()
    assert near_duplicates(found) == [[0, 2, 3], [4, 5]]


def test_threads_change_nothing_and_progress_is_told(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"{n % 7}{n}.jpg", scene(n % 7)) for n in range(20)]
    seen: list[tuple[int, int]] = []
    one, four = survey(sources, threads=1, watch=lambda *at: seen.append(at)), survey(sources, threads=4)
    assert seen == [(n, 20) for n in range(1, 21)]
    for field in fields(Survey):
        assert np.array_equal(getattr(one, field.name), getattr(four, field.name))
    with pytest.raises(ValueError, match="read-only"):
        one.sizes[0] = 3


def test_nothing_to_look_at() -> None:
    assert len(survey([])) == 0
    assert near_duplicates(survey([])) == []


def test_an_interruption_ends_the_survey(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    before = set(threading.enumerate())  # libraries that other tests have loaded may have threads
    with pytest.raises(KeyboardInterrupt):
        survey([Pixels(scene(n)) for n in range(500)], threads=2, watch=stop)
    assert set(threading.enumerate()) <= before


def test_reduced_decoding_looks_like_the_whole(tmp_path: Path) -> None:
    image = scene(5, 1500, 2100)
    found = survey([write(tmp_path / "a.jpg", image, cv2.IMWRITE_JPEG_QUALITY, 95), Pixels(image)])
    assert np.abs(np.diff(found.thumbnails.astype(int), axis=0)).mean() < 2.5
    assert np.abs(np.diff(found.brightness)) < 1
    assert hamming(found.perceptual[:1], found.perceptual[1:]) <= 4


def variants(image: Image, folder: Path) -> list[FileImage]:
    height, width = image.shape[:2]
    return [
        write(folder / "plain.png", image),
        write(folder / "worse.jpg", image, cv2.IMWRITE_JPEG_QUALITY, 30),
        write(folder / "small.jpg", np.asarray(cv2.resize(image, (width // 2, height // 2)), np.uint8)),
        write(folder / "large.png", np.asarray(cv2.resize(image, (2 * width, 2 * height)), np.uint8)),
        write(folder / "darker.png", (image * 0.8).astype(np.uint8)),
        write(folder / "cropped.png", np.ascontiguousarray(image[2:-2, 3:-3])),
    ]


def test_the_same_view_is_found_however_it_is_stored(tmp_path: Path) -> None:
    sources: list[FileImage] = []
    for seed in range(12):
        (tmp_path / str(seed)).mkdir()
        sources += variants(scene(seed), tmp_path / str(seed))
    assert near_duplicates(survey(sources)) == [list(range(start, start + 6)) for start in range(0, 72, 6)]


def table(hashes: np.ndarray, thumbnails: np.ndarray, content: np.ndarray | None = None) -> Survey:
    n = len(hashes)
    none = np.zeros(n, np.float32)
    content = np.arange(1, 2 * n + 1, dtype=np.uint64).reshape(n, 2) if content is None else content
    sizes = np.ones((n, 2), np.int32)
    return Survey([""] * n, sizes, content, hashes, thumbnails, none, none, none, none > 0, none > 0)


def plain_groups(looks: Survey, bits: int, correlation: float) -> list[list[int]]:
    """Every pair, and then whatever hangs together."""
    near = {n: {n} for n in range(len(looks))}
    alike = np.corrcoef(looks.thumbnails.reshape(len(looks), -1)) >= correlation
    for a, b in itertools.combinations(range(len(looks)), 2):
        differ = bin(int(looks.perceptual[a]) ^ int(looks.perceptual[b])).count("1")
        if (looks.content[a] == looks.content[b]).all() or (differ <= bits and alike[a, b]):
            joined = near[a] | near[b]
            for member in joined:
                near[member] = joined
    return sorted({tuple(sorted(group)) for group in near.values() if len(group) > 1})


@given(st.integers(0, 2**32), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_up_to_three_bits_are_always_found(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 1 << 63, 12, dtype=np.uint64)[rng.integers(0, 12, 60)]
    for _ in range(3):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, 60, dtype=np.uint64))
    looks = rng.integers(0, 255, (4, 16, 16), dtype=np.uint8)[rng.integers(0, 4, 60)]
    content = np.arange(1, 121, dtype=np.uint64).reshape(60, 2)
    copies = rng.integers(0, 60, 5)
    for column in (hashes, looks, content):
        column[copies] = column[7]
    found = table(hashes, looks, content)
    assert [tuple(g) for g in near_duplicates(found, bits=bits)] == plain_groups(
        found, bits, duplicates.NEAR_CORRELATION
    )


def test_distance_and_correlation_against_plain_ones() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 1 << 63, (2, 50), dtype=np.uint64)
    plain = [bin(int(a) ^ int(b)).count("1") for a, b in hashes.T]
    assert hamming(hashes[0], hashes[1]).tolist() == plain
    looks = rng.integers(0, 255, (20, 16, 16), dtype=np.uint8)
    looks[0] = 9
    found = thumbnail_correlation(looks, np.zeros(20, int), np.arange(20))
    assert (found == 0).all()
    found = thumbnail_correlation(looks, np.full(19, 1), np.arange(1, 20))
    assert found == pytest.approx([np.corrcoef(looks[1].ravel(), look.ravel())[0, 1] for look in looks[1:]], abs=1e-5)


def test_blank_pictures_are_alike_by_content_alone() -> None:
    grays = [Pixels(np.full((60, 80, 3), gray, np.uint8)) for gray in (10, 60, 60, 110)]
    assert near_duplicates(survey(grays)) == [[1, 2]]


def test_thousands_of_copies_take_no_time() -> None:
    n = 30_000
    look = np.random.default_rng(0).integers(0, 255, (1, 16, 16), dtype=np.uint8)
    looks, hashes = np.broadcast_to(look, (n, 16, 16)), np.full(n, 77, np.uint64)
    assert near_duplicates(table(hashes, looks, np.ones((n, 2), np.uint64))) == [list(range(n))]
    assert near_duplicates(table(hashes, looks)) == [list(range(n))]
    several = np.arange(n, dtype=np.uint64) % np.uint64(5) * np.uint64(0x0101_0101_0101_0101)
    assert [len(group) for group in near_duplicates(table(several, looks), bits=0)] == [n // 5] * 5
