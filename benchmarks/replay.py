"""How much training does each searcher need to find a good strategy? Replayed on a stand-in for real trainings.

python benchmarks/replay.py DATA [DATA ...] [--replays 200] [--studies 4 8 16 32 64 128] [--searchers informed random]
    [--workers 2] [--minutes 60]

Searchers choose over the dimensions of ``recorded_trainings.py``; what they ask is answered by a surrogate fitted to
the recorded trainings of the data set, with resampled noise (``surrogate.py``). Studies are those of a run: so many
trials at the shortest length, promotion by measured trust, variations of the augmentation, the best quarter in full,
and for ``informed`` the compute of more than 32 of them in new strategies at once, two or three seeds of the best three
from 32 on; the lengths are those that were recorded, 1/8, 1/4 and 1 of a full training, where a run has 1/6, 1/3 and 1.
What counts is the noiseless score of what is chosen in the end, held against the best of the space and of what was
recorded. ``informed`` uses the rules' preferences without what they learnt on this very set, or none (blind), or their
opposites (wrong). ``tpe`` and ``gp`` are asked for one strategy at a time, since each answer teaches them; of
their first a quarter are random, ten at most. All others are asked for two at a time, as a run with two workers does.

Each (set, searcher, study) is recorded when it is replayed, in ``recorded/replay/DATA.json``, with a fingerprint of
what its first replays chose and scored. What is there is replayed anew where fewer replays were asked for then, or
where these first replays come out otherwise: the code, the rules or the recorded trainings have changed. Prints the
replays that are planned, works for ``--minutes`` on ``--workers`` cores and goes on where it was when it is given
again; exit 3 while replays are left. Then prints the tables and what the acceptance says (``replay_table.py``).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from evidence import RECORDED, Row, Slice, SliceOver, pool, record, recorded, stamp, stop
from neps_searcher import Search, priorband
from recorded_trainings import RUNGS, preferences, space_of
from replay_table import packed, replay_table, savings
from surrogate import Surrogate
from trainings import Table

from edgehone.data import read_dataset
from edgehone.search.finalists import SEED_NOISE, standings
from edgehone.search.likeness import Identity
from edgehone.search.placement import WORKERS
from edgehone.search.plan import MOST_SHORT, Rung, promotions, search_shares
from edgehone.search.scope import TRUST
from edgehone.search.searchers import ADVISED, make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import Choice, Prefer, SearchSpace, Span, dimensions
from edgehone.strategy import Strategy

FULL = RUNGS[-1]
BATCH, ONE_BY_ONE = WORKERS, ("tpe", "gp")
DRAWN, ROUNDS, PARENTS, CHILDREN, CHANGED = 3000, 25, 20, 10, (0.25, 0.1)
"""How the best of the space is looked for."""

SEARCHERS = (
    *("informed", "informed, blind", "informed, wrong rules", "random", "evolution", "authors", "tpe", "gp"),
    *("PriorBand", "PriorBand, blind", "PriorBand, wrong rules"),
)
TOLD = 3
"""Replays that a fingerprint is made of."""


def opposite(prior: Prefer) -> Prefer:
    """A preference for another choice, or for the other end of the span."""
    domain = next(d.domain for d in dimensions(Strategy) if prior.about(d))
    if isinstance(domain, Span):
        return prior.model_copy(update={"value": domain.low if domain.unit(float(prior.value)) > 0.5 else domain.high})
    assert isinstance(domain, Choice)
    return prior.model_copy(update={"value": next(v for v in reversed(domain.values) if v != prior.value)})


def rungs_of(study: str, *, learns: bool = False) -> tuple[Rung, ...]:
    """The trials at each length, as a run plans them.

    Args:
        study: ``64``, short ones and what follows them; or ``32,12,6,8,16``: short, middle, variations of these,
            promoted to full, and full at once.
        learns: the searcher does: the compute of more than so many short ones goes to full trainings at once.
    """
    first, *others = (int(count) for count in study.split(","))
    kept = min(first, MOST_SHORT) if learns and not others else first
    middle, varied, finalists, *more = others or promotions(kept)
    counts = zip(RUNGS, (kept, middle, finalists), (0, varied, 0), strict=True)
    rungs = tuple(Rung(name=f"rung{k}", share=s, trials=n, varied=v) for k, (s, n, v) in enumerate(counts))
    fresh = more[0] if more else round(shares(rungs_of(study)) - shares(rungs)) if kept < first else 0
    return (*rungs[:-1], rungs[-1].model_copy(update={"fresh": fresh}))


def repeats_of(study: str) -> int:
    """Seeds of each of the best finalists, as a run plans them: of 32 short trainings two, of more three."""
    return 1 + sum(int(study.split(",")[0]) >= least for least in (MOST_SHORT, MOST_SHORT + 1))


def shares(rungs: Sequence[Rung], repeats: int = 1) -> float:
    """Compute of a study, in full trainings."""
    *shorter, top = rungs
    return search_shares(shorter, top.trials, repeats, top.fresh)


def compute(study: str) -> float:
    """What a search of other making may spend, in full trainings."""
    return shares(rungs_of(study), repeats_of(study))


def searched(name: str, space: SearchSpace, surrogate: Surrogate) -> Search:
    """A search by a study of some size, with a seed: compute in full trainings, and the strategy that is chosen."""

    def search(size: str, seed: int) -> tuple[float, Strategy]:
        rungs = rungs_of(size, learns=name == ADVISED)
        terms = Terms(seed=seed, searcher=name, rungs=rungs, repeats=repeats_of(size))
        study = Study(terms, space, make_searcher(name, space, seed, terms.rungs[0].trials))
        cost = 0.0
        while trials := study.ask_batch(1 if name in ONE_BY_ONE else BATCH):
            for share, group in by_share(trials).items():
                roots = [root(study, trial) for trial in group]
                scores = surrogate.answers([trial.strategy for trial in group], share, roots, seed)
                cost += share * len(group)
                study.tell([Worth(number=t.number, values=(v,)) for t, v in zip(group, scores, strict=True)])
        return cost, study.trials[standings(study, SEED_NOISE)[0].trial].strategy

    return search


def by_share(trials: Sequence[Trial]) -> dict[float, list[Trial]]:
    """Share of the full length to its trials."""
    found: dict[float, list[Trial]] = {}
    for trial in trials:
        found.setdefault(RUNGS[trial.rung], []).append(trial)
    return found


def root(study: Study, trial: Trial) -> int:
    """Number of the first trial of this strategy, whose noise is theirs; another seed has noise of its own."""
    while trial.parent is not None and trial.kind != "repeated":
        trial = study.trials[trial.parent]
    return trial.number


@dataclass(frozen=True)
class Bench:
    """One data set: what answers for its trainings, what the rules say without it, and the best of the space."""

    name: str
    surrogate: Surrogate
    rules: tuple[Prefer, ...]
    best: float

    def search(self, searcher: str) -> Search:
        """A search by its name.

        Raises:
            ImportError: PriorBand, and its package is not there.
        """
        blind, rules = space_of([], 0.0), list(self.rules)
        wrong = [opposite(prior) for prior in rules]
        method, _, kind = searcher.partition(", ")
        informed = method in ("informed", "PriorBand")
        priors = {"": rules, "wrong rules": wrong}.get(kind) if informed else None
        space = blind if priors is None else space_of(priors, TRUST)
        return priorband(space, self.surrogate, compute) if method == "PriorBand" else searched(
            method, space, self.surrogate
        )  # fmt: skip

    def replayed(self, searcher: str, study: str, seeds: Sequence[int]) -> Row:
        """Compute, distances to the best, and what the first of them were."""
        search = self.search(searcher)
        costs, chosen = zip(*(search(study, seed) for seed in seeds), strict=True)
        distances = self.best - self.surrogate.mean(chosen, FULL)
        told = [f"{cost:.4f} {distance:.4f}" for cost, distance in zip(costs[:TOLD], distances[:TOLD], strict=True)]
        return {
            "replays": len(seeds),
            "cost": round(float(np.mean(costs)), 2),
            "fingerprint": hashlib.sha256("\n".join(told).encode()).hexdigest()[:16],
            "distances_e4": packed(distances),
        }


@functools.cache
def bench_of(source: str) -> Bench:
    """Of a data set, once in each process."""
    warnings.simplefilter("ignore")  # of a Gaussian process whose kernel ends at the edge of its span
    dataset = read_dataset(source)
    surrogate = Surrogate.of(Table(dataset))
    rules = preferences(dataset, (Identity.of(dataset).name,))
    return Bench(dataset.name, surrogate, tuple(rules), best_of_space(surrogate))


def best_of_space(surrogate: Surrogate) -> float:
    """The best noiseless score that many draws, and the changing of the best of them, come upon."""
    rng = np.random.default_rng(0)
    space = space_of([], 0.0)
    drawn = [cast(Strategy, space.sample(rng)) for _ in range(DRAWN)]
    scores = surrogate.mean(drawn, FULL)
    for turn in range(ROUNDS):
        best, rate = [drawn[k] for k in np.argsort(-scores)[:PARENTS]], CHANGED[turn % 2]
        drawn = best + [cast(Strategy, space.mutate(each, rng, rate)) for each in best for _ in range(CHILDREN)]
        scores = surrogate.mean(drawn, FULL)
    return float(scores.max())


@dataclass(frozen=True)
class Piece:
    """The replays of one searcher and study on one data set; ``known`` is what is recorded of them."""

    source: str
    searcher: str
    study: str
    replays: int
    known: Row | None
    end: float

    @property
    def enough(self) -> bool:
        """Whether as many are recorded as are asked for."""
        return self.known is not None and self.known["replays"] >= self.replays

    def row(self) -> Row | None:
        """New replays; what is known, where it is enough and comes out the same; None after the end of the slice."""
        if time.monotonic() > self.end:
            return None
        bench = bench_of(self.source)
        if self.known is not None and self.enough:
            first = bench.replayed(self.searcher, self.study, range(TOLD))
            if first["fingerprint"] == self.known["fingerprint"]:
                return self.known
        return {**bench.replayed(self.searcher, self.study, range(self.replays)), "stamp": stamp()}


REPLAY_S = 0.07
"""Of a replay, for each short training of its search, on one core of 2026 by informed searches; others are faster."""


def row_of(piece: Piece) -> Row | None:
    """In a process of its own."""
    return piece.row()


def head_of(bench: Bench) -> Row:
    """What a table of replays says of its stand-in."""
    return {
        "data": bench.name,
        "trials": len(bench.surrogate.x),
        "in_full_alone": len(bench.surrogate.more_x),
        "second_seeds": bench.surrogate.second_seeds(),
        "spearman": {f"{share:g}": round(rho, 3) for share, rho in bench.surrogate.trustworthiness().items()},
        "seed_noise": round(bench.surrogate.seed_noise, 4),
        "best": round(bench.best, 4),
        "best_recorded": round(bench.surrogate.best_recorded(), 4),
        "rules": {prior.path: [prior.value, prior.confidence, list(prior.learnt_on)] for prior in bench.rules},
    }


def replay(pieces: Sequence[Piece], workers: int, keep: Callable[[Piece, Row], None]) -> None:
    """Every piece, as many side by side as there are workers, kept as it ends.

    Raises:
        SliceOver: some are left.
    """
    over = False
    with pool(workers) as processes:
        running = {processes.submit(row_of, piece): piece for piece in pieces}
        for future in as_completed(running):
            row = future.result()
            over = over or row is None
            if row is not None:
                keep(running[future], row)
    if over:
        raise SliceOver


def there(searcher: str) -> bool:
    """Whether what a searcher needs is installed."""
    try:
        if searcher.startswith("PriorBand"):
            import neps  # noqa: F401  # pyright: ignore
        return True
    except ImportError:
        print(f"without {searcher}: neural-pipeline-search is not installed (see neps_searcher.py)")
        return False


def main() -> None:
    """Replay every search on every data set, within the slice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--studies", nargs="+", default=["4", "8", "16", "32", "64", "128"], help="see rungs_of")
    parser.add_argument("--searchers", nargs="+", default=list(SEARCHERS), choices=SEARCHERS, metavar="NAME")
    parser.add_argument("--recorded", type=Path, default=RECORDED)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--minutes", type=float, default=60.0)
    given = parser.parse_args()
    end = Slice(given.minutes).end
    paths = {source: given.recorded / "replay" / f"{read_dataset(source).name}.json" for source in given.data}
    contents = {source: recorded(path) or {"rows": {}} for source, path in paths.items()}
    searchers = [searcher for searcher in given.searchers if there(searcher)]
    pieces = [
        Piece(source, searcher, study, given.replays, contents[source]["rows"].get(searcher, {}).get(study), end)
        for study in given.studies
        for searcher in searchers
        for source in given.data
    ]
    new = sum(not piece.enough for piece in pieces)
    lengths = sum(int(piece.study.split(",")[0]) for piece in pieces if not piece.enough)
    print(
        f"planned: {new} x {given.replays} replays, some {lengths * given.replays * REPLAY_S / 3600:.1f} core-hours; "
        f"{len(pieces) - new} recorded ones are looked at",
        flush=True,
    )

    def keep(piece: Piece, row: Row) -> None:
        content = contents[piece.source]
        if row != piece.known:
            content["rows"].setdefault(piece.searcher, {})[piece.study] = row
            record(paths[piece.source], {**content, "stamp": stamp()})
            median = np.median([int(each) for each in row["distances_e4"].split()]) / 100
            print(f"{content.get('data')}: {piece.searcher}, {piece.study}: {median:.1f} points", flush=True)

    for source, content in contents.items():
        head = head_of(bench_of(source))
        contents[source] = {**content, **head}
        if contents[source] != content and content["rows"]:
            record(paths[source], {**contents[source], "stamp": stamp()})
        print(f"{head['data']}: Spearman of unseen predictions {head['spearman']}; best {head['best']:.3f}", flush=True)
    try:
        replay(pieces, given.workers, keep)
    except SliceOver:
        stop()
    for content in contents.values():
        print("\n".join([*replay_table(content), "", *savings(content)]))


if __name__ == "__main__":
    main()
