"""The presets say what their sources say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgehone.projection import BestAnchor, ExpCoding, RatioMatch, SquaredSigmoidCoding
from edgehone.projection.anchors import OFFICIAL_416_PX
from edgehone.space import load
from edgehone.strategy import AUTHORS, DARKNET, PRESETS, Strategy, load_strategy, save_strategy

ROOT = Path(__file__).parents[2]
DARKNET_FILES = Path(os.environ.get("EDGEHONE_DARKNET", ROOT / "../shared/darknet"))
GOLDEN = ROOT / "tests/golden/presets.json"


def cfg_sections(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Section name and keys of a Darknet cfg, read in the plainest way."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in path.read_text().splitlines():
        text = line.split("#")[0].strip()
        if text.startswith("["):
            found.append((text.strip("[]"), {}))
        elif "=" in text:
            key, _, value = text.partition("=")
            found[-1][1][key.strip()] = value.strip()
    return found


@pytest.fixture
def cfg() -> list[tuple[str, dict[str, str]]]:
    path = DARKNET_FILES / "yolov4-tiny.cfg"
    if not path.is_file():
        pytest.skip(f"the official cfg is not at {path}; set EDGEHONE_DARKNET to its folder")
    return cfg_sections(path)


def test_darknet_is_the_official_cfg(cfg: list[tuple[str, dict[str, str]]]) -> None:
    net = cfg[0][1]
    coarse, fine = (keys for name, keys in cfg if name == "yolo")
    optimisation, projection, augmentation = DARKNET.optimisation, DARKNET.projection, DARKNET.augmentation
    assert DARKNET.input.size == int(net["width"]) == int(net["height"])
    assert optimisation.batch_size == int(net["batch"])
    optimizer = optimisation.optimizer.model_dump()
    assert optimizer["lr"] == float(net["learning_rate"])
    assert optimizer["momentum"] == float(net["momentum"])
    assert optimizer["weight_decay"] == float(net["decay"])
    assert optimizer["nesterov"] is False
    ends = [int(step) / int(net["max_batches"]) for step in net["steps"].split(",")]
    schedule = optimisation.schedule.model_dump()
    assert [schedule["first"], schedule["second"]] == pytest.approx(ends, abs=1e-3)
    assert optimisation.warm_up.power == 4
    assert optimisation.average.kind == "none"
    hsv = augmentation.hsv.model_dump()
    keys = {"hue": "hue_shift", "saturation": "saturation_factor", "exposure": "value_factor"}
    assert {name: hsv[ours] for name, ours in keys.items()} == {name: float(net[name]) for name in keys}
    assert augmentation.affine.crop_jitter == float(coarse["jitter"])
    assert augmentation.mosaic.probability == augmentation.mixup.probability == 0
    assert augmentation.flip.horizontal == 0.5
    assert projection.coding == ExpCoding(scale_x_y=float(coarse["scale_x_y"]))
    assert projection.assigner == BestAnchor(iou_thresh=1.0, ignore_threshold=float(coarse["ignore_thresh"]))
    assert projection.box_loss.kind == coarse["iou_loss"]
    assert projection.box_loss.weight == float(coarse["iou_normalizer"])
    assert projection.classification.weight == float(coarse["cls_normalizer"])
    assert projection.objectness.weight == projection.objectness.fine_weight == 1.0
    assert (projection.objectness.target, projection.objectness.prior) == ("one", 0.0)
    assert (projection.normalisation, projection.vote) == ("image", "positive")
    numbers = [int(v) for v in coarse["anchors"].split(",")]
    assert list(zip(numbers[::2], numbers[1::2], strict=True)) == list(OFFICIAL_416_PX)
    assert projection.second_head_mask == fine["mask"]
    masks = [",".join(map(str, mask)) for mask in projection.anchor_masks(2)]
    assert masks == [coarse["mask"], fine["mask"]]


def test_authors_is_their_small_model_recipe() -> None:
    """PyTorch_YOLOv4 data/hyp.scratch.s.yaml and utils/loss.py."""
    optimizer = AUTHORS.optimisation.optimizer.model_dump()
    assert optimizer == {"kind": "sgd", "lr": 0.01, "momentum": 0.937, "nesterov": True, "weight_decay": 5e-4}
    assert AUTHORS.optimisation.schedule.model_dump() == {"kind": "cosine", "final": 0.2}
    assert AUTHORS.optimisation.average.kind == "ema"
    projection = AUTHORS.projection
    assert projection.assigner == RatioMatch(anchor_t=4.0)
    assert projection.coding == SquaredSigmoidCoding()
    assert (projection.box_loss.kind, projection.box_loss.weight) == ("ciou", 0.05)
    assert (projection.objectness.target, projection.objectness.weight) == ("iou", 1.0)
    assert projection.objectness.fine_weight == 4.0
    assert projection.classification.weight == 0.5
    assert (projection.normalisation, projection.vote) == ("mean", "positive")
    augmentation = AUTHORS.augmentation
    assert (augmentation.mosaic.probability, augmentation.mixup.probability) == (1.0, 0.0)
    assert (augmentation.affine.scale, augmentation.affine.translate) == (0.5, 0.0)
    assert augmentation.hsv.model_dump() == {"kind": "uniform", "hue": 0.015, "saturation": 0.7, "value": 0.4}


def test_presets_have_not_changed_unnoticed() -> None:
    assert json.loads(GOLDEN.read_text()) == {name: p.model_dump(mode="json") for name, p in PRESETS.items()}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    save_strategy(PRESETS[name], path)
    assert load_strategy(str(path)) == PRESETS[name] == load_strategy(name)
    assert load(Strategy, json.loads(path.read_text())["strategy"]) == PRESETS[name]
