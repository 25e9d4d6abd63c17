"""A region to ignore neither teaches nor punishes, and disturbs nothing else."""

from __future__ import annotations

import torch

from edgehone.projection.ignored import excuse_regions, objects_only
from edgehone.strategy import AUTHORS, DARKNET, PRESETS
from edgehone.training import detector_info
from edgehone.types import IGNORED, Targets

SIZE = 64


def targets(*rows: tuple[int, tuple[float, float, float, float]]) -> Targets:
    boxes = torch.tensor([box for _, box in rows]).reshape(-1, 4)
    classes = torch.tensor([label for label, _ in rows], dtype=torch.long)
    return Targets(boxes, classes, torch.zeros(len(rows), dtype=torch.long), 2)


OBJECT = (1, (4.0, 4.0, 30.0, 28.0))
REGION = (IGNORED, (32.0, 32.0, 64.0, 64.0))


def test_a_region_takes_its_cells_out_of_the_objectness_loss() -> None:
    for preset in PRESETS.values():
        info = detector_info("yolov4-tiny", preset, ("a", "b"), ())
        lattice = info.lattice()
        network = info.network().train()
        torch.manual_seed(0)
        size = info.strategy.input.size
        scale = size / SIZE
        pixels = torch.rand(2, 3, size, size)
        heads = [head.detach().requires_grad_() for head in network(pixels)]

        def scaled(*rows: tuple[int, tuple[float, float, float, float]], scale: float = scale) -> Targets:
            return targets(*((label, tuple(v * scale for v in box)) for label, box in rows))

        with_region = info.strategy.projection.loss(heads, scaled(OBJECT, REGION), lattice)
        gradients = torch.autograd.grad(with_region.total, heads)
        without = info.strategy.projection.loss(heads, scaled(OBJECT), lattice)
        before = torch.autograd.grad(without.total, heads)
        assert with_region.positives == without.positives
        fields = 5 + 2
        for gradient, other, head in zip(gradients, before, heads, strict=True):
            rows, columns = head.shape[2:]
            objectness = gradient.view(2, -1, fields, rows, columns)[0, :, 4]
            others = other.view(2, -1, fields, rows, columns)[0, :, 4]
            inside = objectness[:, rows // 2 :, columns // 2 :]
            assert (inside == 0).all()
            assert (others[:, rows // 2 :, columns // 2 :] != 0).all()
            assert (objectness[:, : rows // 4, : columns // 4] != 0).any()


def test_only_objects_are_assigned_and_positives_stay() -> None:
    batch = targets(OBJECT, REGION)
    assert objects_only(batch).classes.tolist() == [1]
    plain = targets(OBJECT)
    assert objects_only(plain) is plain
    info = detector_info("yolov4-tiny", DARKNET, ("a", "b"), ())
    lattice = info.lattice()
    heads = info.network().eval()(torch.rand(2, 3, *info.strategy.input.shape))
    projection = AUTHORS.projection
    predictions = projection.predictions(heads, lattice)
    assignment = projection.assigner.assign(plain, lattice, predictions)
    everywhere = targets(OBJECT, (IGNORED, (0.0, 0.0, 416.0, 416.0)))
    excused = excuse_regions(assignment, everywhere, lattice, predictions)
    assert not excused.ignored[assignment.images, assignment.slots].any()
    assert int((~excused.ignored[0]).sum()) == len(torch.unique(assignment.slots))
    assert not excused.ignored[1].any()
    assert excuse_regions(assignment, plain, lattice, predictions) is assignment
