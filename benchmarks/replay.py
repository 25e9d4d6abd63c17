"""How much training does each searcher need to find a good strategy? Replayed on a stand-in for real trainings.

python benchmarks/replay.py DATA [DATA ...] [--replays 200] [--studies 4 8 16 32 64 128]
    [--searchers informed random] [--out benchmarks/recorded]

Searchers choose over the dimensions of ``recorded_trainings.py``; what they ask is answered by a surrogate fitted to
the recorded trainings of the data set, with resampled noise (``surrogate.py``). Studies are those of a run: so many
trials at the shortest length, promotion by measured trust, variations of the augmentation, the best quarter in full.
What counts is the noiseless score of what is chosen in the end, held against the best of the space. Prints, for each
searcher and study, the compute in full trainings and the median distance to the best in AP points with its
quartiles; the least compute at which the median is within one point; and how much sooner ``informed`` is where each
other searcher ends. ``informed`` uses the rules' preferences, or none (blind), or their opposites (wrong).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from neps_searcher import Search, priorband
from recorded_trainings import RUNGS, preferences, space_of
from surrogate import Surrogate
from trainings import RECORDED, Table

from edgehone.data import Dataset, read_dataset
from edgehone.files import read_json, write_json
from edgehone.search.finalists import SEED_NOISE, standings
from edgehone.search.plan import Rung, promotions, search_shares
from edgehone.search.scope import TRUST
from edgehone.search.searchers import make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth, without_augmentation
from edgehone.space import Choice, Prefer, SearchSpace, Span, dimensions
from edgehone.strategy import Strategy

FULL = RUNGS[-1]
BATCH = 8
DRAWN, ROUNDS, PARENTS, CHILDREN, CHANGED = 3000, 25, 20, 10, (0.25, 0.1)
"""How the best of the space is looked for."""
WITHIN = 0.01

Replays = dict[str, list[dict[str, Any]]]
"""Searcher to a row for each study."""


def opposite(prior: Prefer) -> Prefer:
    """A preference for another choice, or for the other end of the span."""
    domain = next(d.domain for d in dimensions(Strategy) if d.path == prior.path)
    if isinstance(domain, Span):
        return prior.model_copy(update={"value": domain.low if domain.unit(float(prior.value)) > 0.5 else domain.high})
    assert isinstance(domain, Choice)
    return prior.model_copy(update={"value": next(v for v in reversed(domain.values) if v != prior.value)})


def rungs_of(study: str) -> tuple[Rung, ...]:
    """The trials at each length: of ``16`` short ones, or of ``16,8,4,2``: short, middle, variations of these, full.

    A fifth number is not for this: seeds of each of the best finalists.
    """
    first, *others = (int(count) for count in study.split(","))
    middle, varied, finalists = others[:3] or promotions(first)
    counts = zip(RUNGS, (first, middle, finalists), (0, varied, 0), strict=True)
    return tuple(Rung(name=f"rung{k}", share=s, trials=n, varied=v) for k, (s, n, v) in enumerate(counts))


def repeats_of(study: str) -> int:
    """Seeds of each of the best finalists: the fifth number, else one."""
    return int((study.split(",")[4:] or ["1"])[0])


def compute(study: str) -> float:
    """Of a study, in full trainings."""
    *rungs, top = rungs_of(study)
    return search_shares(rungs, top.trials, repeats_of(study))


def searched(name: str, space: SearchSpace, surrogate: Surrogate) -> Search:
    """A search by a study of some size, with a seed: compute in full trainings, and the strategy that is chosen."""

    def search(size: str, seed: int) -> tuple[float, Strategy]:
        terms = Terms(seed=seed, searcher=name, rungs=rungs_of(size), repeats=repeats_of(size))
        study = Study(terms, space, make_searcher(name, without_augmentation(space), seed, terms.rungs[0].trials))
        cost = 0.0
        while trials := study.ask_batch(BATCH):
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


def searches(dataset: Dataset, surrogate: Surrogate) -> dict[str, Search]:
    """Name to a search."""
    rules = preferences(dataset)
    print(f"{dataset.name}: rules prefer " + ", ".join(f"{p.path}={p.value} ({p.confidence})" for p in rules))
    blind = space_of([], 0.0)
    informed, wrong = (space_of(each, TRUST) for each in (rules, [opposite(p) for p in rules]))
    found = {
        "informed": searched("informed", informed, surrogate),
        "informed, blind": searched("informed", blind, surrogate),
        "informed, wrong rules": searched("informed", wrong, surrogate),
        **{name: searched(name, blind, surrogate) for name in ("random", "evolution", "authors", "tpe", "gp")},
    }
    try:
        spaces = {"PriorBand": informed, "PriorBand, blind": blind, "PriorBand, wrong rules": wrong}
        return {**found, **{name: priorband(space, surrogate, compute) for name, space in spaces.items()}}
    except ImportError:
        print("without PriorBand: neural-pipeline-search is not installed (see neps_searcher.py)")
        return found


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


def replayed(search: Search, study: str, replays: int, surrogate: Surrogate, best: float) -> dict[str, Any]:
    """Compute and distances to the best over seeds."""
    costs, chosen = zip(*(search(study, seed) for seed in range(replays)), strict=True)
    distance = best - surrogate.mean(chosen, FULL)
    low, median, high = np.quantile(distance, [0.25, 0.5, 0.75])
    cost = float(np.mean(costs))
    cost, ends = round(cost, 2), [float(low), float(high)]
    return {"study": study, "replays": replays, "cost": cost, "median": float(median), "quartiles": ends}


def savings(found: Replays) -> Iterator[str]:
    """What it costs informed searches to be where each other searcher ends after its longest."""
    for searcher, rows in found.items():
        end = rows[-1]
        enough = [row["cost"] for row in found.get("informed", ()) if row["median"] <= end["median"]]
        if searcher != "informed" and enough:
            share = min(enough) / end["cost"]
            yield f"informed is where {searcher} ends after {end['cost']} full trainings, after {share:.2f} of that"


def keep(found: Replays, path: Path) -> None:
    """Write what was found into a file, beside what it holds of other searchers and studies."""
    held: Replays = read_json(path) if path.is_file() else {}
    for searcher, rows in found.items():
        by_study = {row["study"]: row for row in (*held.get(searcher, ()), *rows)}
        held[searcher] = sorted(by_study.values(), key=lambda row: row["cost"])
    write_json(path, held)


def main() -> None:
    """Replay every search on every data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--replays", type=int, default=200)
    parser.add_argument("--studies", nargs="+", default=["4", "8", "16", "32", "64", "128"], help="see rungs_of")
    parser.add_argument("--searchers", nargs="+", help="only these; default: all")
    parser.add_argument("--out", type=Path, default=RECORDED)
    given = parser.parse_args()
    for source in given.data:
        table = Table(read_dataset(source), given.out)
        surrogate = Surrogate.of(table)
        best = best_of_space(surrogate)
        trust = ", ".join(f"{share:.3f}: {rho:.2f}" for share, rho in surrogate.trustworthiness().items())
        print(
            f"{table.dataset.name}: {len(surrogate.x)} trials; Spearman of unseen predictions {trust}; best {best:.3f}"
        )
        found: Replays = {}
        known = searches(table.dataset, surrogate)
        for searcher in given.searchers or known:
            search = known[searcher]
            found[searcher] = [replayed(search, n, given.replays, surrogate, best) for n in given.studies]
            for row in found[searcher]:
                low, high = (100 * end for end in row["quartiles"])
                points = f"{100 * row['median']:.1f} [{low:.1f}, {high:.1f}]"
                print(f"| {searcher} | {row['study']} | {row['cost']} | {points} |")
            reached = next((row["cost"] for row in found[searcher] if row["median"] <= WITHIN), None)
            print(f"{searcher}: within one AP point of the best at {reached} full trainings", flush=True)
        print("\n".join(savings(found)), flush=True)
        keep(found, given.out / f"replay-{table.dataset.name}.json")


if __name__ == "__main__":
    main()
