"""A finished search as an entry of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgehone.analysis import Profile
from edgehone.data import Dataset
from edgehone.errors import EdgehoneError
from edgehone.files import write_text
from edgehone.results import Entry, Results
from edgehone.search.ladder import Ladder
from edgehone.search.likeness import Identity, Likeness, model_name
from edgehone.search.scope import Scope
from edgehone.search.starts import Start
from edgehone.search.store import Provenance, Store, StoredStrategy, StoreEntry, store_text
from edgehone.search.trial import Outcome
from edgehone.space import Prior, fingerprint

ENTRY = "store.jsonl"
"""In a run's folder: its own entry, as a store that can be imported elsewhere."""

KEPT = 3
"""Strategies of a search that are kept: the found one and other finalists."""


def keep(store: Store, entry: StoreEntry, folder: Path) -> str:
    """Add a finished search; say what became of it. A store that is broken by now must not break the run."""
    write_text(folder / ENTRY, store_text([entry]))
    later = f"edgehone store import {folder / ENTRY} does it later"
    if store.path is None:
        return f"was not kept in a store; {later}"
    try:
        new = store.add([entry])
    except EdgehoneError as error:
        return f"could not be kept: {error}; {later}"
    return f"was kept in {store.path}" if new else f"was kept in {store.path} before"


def learnt_on(scope: Scope, priors: Sequence[Prior], begun: Sequence[Start]) -> tuple[str, ...]:
    """Names of the data sets that had a part in a search: through its rules, or through those it started from."""
    rules = [name for prior in priors if scope.advised and prior.kind == "prefer" for name in prior.learnt_on]
    return tuple(sorted({*rules, *(name for start in begun for name in start.learnt_on)}))


def entry_of(
    dataset: Dataset, profile: Profile, model: str, ladder: Ladder, provenance: Provenance, results: Results | None
) -> StoreEntry:
    """What a finished search leaves to others.

    Args:
        dataset: for its identity; nothing of its labels is kept but fingerprints, class names and statistics.
        profile: what was measured.
        model: the architecture.
        ladder: of the search.
        provenance: of its strategies; the data set itself does not count as another.
        results: of the proof; None where there was none.
    """
    identity = Identity.of(dataset)
    gain = None if results is None else results.gain
    return StoreEntry(
        data=identity,
        model=model_name(model),
        likeness=Likeness.of(profile),
        strategies=_strategies(ladder.finalists, results),
        trials=len(ladder.outcomes),
        gain=None if gain is None else gain.ap,
        gain_interval95=None if gain is None else gain.interval95,
        provenance=provenance.model_copy(
            update={"learnt_on": tuple(name for name in provenance.learnt_on if name != identity.name)}
        ),
    )


def _strategies(finalists: Sequence[Outcome], results: Results | None) -> tuple[StoredStrategy, ...]:
    """The best finalists, and what a proof adds: the test split's word on the first, and the presets."""
    if results is None:
        return tuple(map(_finalist, finalists[:KEPT]))
    rest = [o for o in finalists if fingerprint(o.task.job.strategy) != fingerprint(results.found.strategy)]
    found = [_tested(results.found, found=True, origin="found"), *map(_finalist, rest)][:KEPT]
    presets = [_tested(entry, found=False, origin=f"preset {name}") for name, entry in results.presets.items()]
    return (*found, *presets)


def _tested(entry: Entry, *, found: bool, origin: str) -> StoredStrategy:
    return StoredStrategy(
        strategy=entry.strategy.model_dump(mode="json"),
        found=found,
        origin=origin,
        validation_ap=entry.validation.ap,
        test_ap=entry.test.ap,
        interval95=entry.interval95.get("ap"),
        steps=entry.steps,
    )


def _finalist(outcome: Outcome) -> StoredStrategy:
    return StoredStrategy(
        strategy=outcome.task.job.strategy.model_dump(mode="json"),
        found=True,
        origin=f"finalist: {outcome.task.origin}",
        validation_ap=outcome.ap,
        steps=outcome.task.job.steps,
    )
