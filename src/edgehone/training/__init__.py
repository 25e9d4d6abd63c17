"""The training loop, in plain sight.

A run is described by a :class:`Job` and is a function of it and of the data: batches and augmentation are
drawn from the seed and the step's number, so a run that was interrupted goes on from its checkpoint as if it
had not been.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import torch

from edgehone.batches import BatchSource
from edgehone.data import Sample
from edgehone.interruption import stop_if_asked
from edgehone.training.imitation import imitable
from edgehone.training.job import (
    Diverged,
    Job,
    Progress,
    StartWeights,
    Trained,
    graph_flops,
    image_flops,
    training_flops,
)
from edgehone.training.preparation import detector_info, picture_cache, teacher_answers, truth_sides_px
from edgehone.training.state import State
from edgehone.types import Lattice, Size

__all__ = [
    "Diverged",
    "Job",
    "Progress",
    "StartWeights",
    "Trained",
    "detector_info",
    "graph_flops",
    "image_flops",
    "imitable",
    "picture_cache",
    "train",
    "training_flops",
    "truth_sides_px",
]

CHECKPOINT_SECONDS = 15.0
RECOUNTED = 20
"""Batches, the last of the run, from which statistics are counted anew."""


def train(
    job: Job,
    class_names: Sequence[str],
    samples: Sequence[Sample],
    *,
    checkpoint: Path | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train to the end, or on from ``checkpoint`` if that file exists.

    Args:
        job: what to do.
        class_names: of the data.
        samples: the training split.
        checkpoint: where to keep the state every few seconds; removed by the caller.
        watch: called after every step; may raise to interrupt; what came after the last saved state is then done again.

    Raises:
        Diverged: the loss is not finite.
        UsageError: the strategy asks for a teacher, and there is none.
        EdgehoneError: the teacher's classes are others.
    """
    torch.set_num_threads(job.threads)
    said = teacher_answers(job, class_names, samples)
    torch.manual_seed(job.seed)  # after the teacher, so that a run starts from the same weights with any and with none
    info = detector_info(job.model, job.strategy, class_names, samples)
    state = State.fresh(job, info)
    if checkpoint is not None and checkpoint.is_file():
        state.restore(checkpoint)
    cache = picture_cache(samples, job.strategy)
    source = BatchSource(
        job.strategy, cache, job.seed, job.steps, job.batch_size, job.painter, said=said, device=job.device
    )

    @functools.cache
    def lattice_at(size: Size) -> Lattice:
        return info.lattice(size).to(job.device)

    started = saved = time.monotonic()
    before = state.seconds
    with closing(source.stream(state.step, job.loader_workers)) as batches:
        while state.step < job.steps:
            stop_if_asked()
            batch = next(batches)
            terms = state.take_step(job, batch, lattice_at((batch.pixels.shape[2], batch.pixels.shape[3])))
            state.seconds = before + time.monotonic() - started
            state.note(job, terms)
            if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS:
                state.save(checkpoint)
                saved = time.monotonic()
            if watch is not None:
                watch(Progress(state.step, job.steps, terms.values(), time.monotonic() - started))
    if job.strategy.optimisation.average.recounts:
        again = source.stream(max(0, job.steps - RECOUNTED), job.loader_workers)
        with closing(again) as batches:
            state.recount(job, islice(batches, min(RECOUNTED, job.steps)))
    return Trained(state.result(job).eval(), info, state.curve, state.seconds, state.plan)
