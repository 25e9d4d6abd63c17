"""What earlier searches found, kept in a file, so that a new search begins where similar ones ended.

A store is a text file of JSON lines: a first line that says what the file is, then one line a search. It is only ever
written whole, beside its place, under a lock, and renamed: nobody sees half of it, and several searches may add at the
same time. A file that is not in order is left as it is, and the error says which line is wrong.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from edgehone.errors import EdgehoneError, UsageError
from edgehone.files import write_text
from edgehone.search.likeness import Identity, Likeness
from edgehone.space import Settings
from edgehone.types import Json

FORMAT = "edgehone store"
SCHEMA = 1
ENVIRONMENT = "EDGEHONE_STORE"
NONE = "none"
SHIPPED = "shipped_store.jsonl"
"""Comes with the package; only read."""


class StoredStrategy(Settings):
    """One strategy and what it was worth.

    Attributes:
        strategy: in its JSON form: a store outlives the version of the settings that wrote it.
        found: by the search; else it is a preset.
        origin: how it came about.
        validation_ap: AP on validation.
        test_ap: AP on the test split, ``interval95`` over its pictures; None where it was not tested.
        steps: of its training.
    """

    strategy: Json
    found: bool
    origin: str
    validation_ap: float
    test_ap: float | None = None
    interval95: tuple[float, float] | None = None
    steps: int


class Provenance(Settings):
    """Where an entry comes from.

    Attributes:
        edgehone: version.
        date: of the end of the search.
        hardware: that it ran on.
        command: that repeats it, with budget and seed, without places of the machine.
        learnt_on: names of other data sets that had a part in it: through the rules, or through earlier searches from
            which it started, and theirs.
    """

    edgehone: str
    date: str
    hardware: str
    command: str
    learnt_on: tuple[str, ...] = ()


class StoreEntry(Settings):
    """A finished search.

    Attributes:
        data: which data set.
        model: name of the architecture.
        likeness: the facts by which searches are compared.
        strategies: fully trained ones, the best on validation first.
        trials: of the search, all rungs together.
        gain: AP of the found strategy over the default on the test split; None without a proof.
        gain_interval95: of it.
        provenance: who found it, when, with what.
    """

    data: Identity
    model: str
    likeness: Likeness
    strategies: tuple[StoredStrategy, ...]
    trials: int
    gain: float | None = None
    gain_interval95: tuple[float, float] | None = None
    provenance: Provenance

    def key(self) -> str:
        """The same search, added again, has the same key: the date does not count."""
        content = self.model_dump(mode="json")
        del content["provenance"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


WAYS_OUT = f"name another file with --store or {ENVIRONMENT}, or go without with --store {NONE}"
WAYS_OUT_OF_IMPORT = "name an export, or store.jsonl of a run's folder"


class Store:
    """A store in a file. It need not exist yet.

    Attributes:
        path: of the file; None for one that holds nothing and keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    @staticmethod
    def at(place: str | None) -> Store:
        """The store that a user means: a file, ``none``, or where nothing is said :func:`default_place`."""
        named = place if place is not None else os.environ.get(ENVIRONMENT) or str(default_place())
        return Store(None if named == NONE else Path(named).expanduser())

    def entries(self, way_out: str = WAYS_OUT) -> list[StoreEntry]:
        """Everything in it, the oldest first.

        Args:
            way_out: what an error advises to do instead.

        Raises:
            EdgehoneError: the file is not a store, is of another schema, or a line is damaged.
        """
        if self.path is None or not self.path.is_file():
            return []
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise EdgehoneError(
                f"a store is a UTF-8 text file, but {self.path} cannot be read: {error}; {way_out}"
            ) from None
        return parse_store(text, str(self.path), way_out)

    def add(self, new: Iterable[StoreEntry]) -> int:
        """Add searches that are not in it yet; return how many were new.

        Raises:
            EdgehoneError: the file is not in order (it is left as it is) or cannot be written.
        """
        if self.path is None:
            return 0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path):
                there = {entry.key(): entry for entry in self.entries()}
                fresh = {key: entry for entry in new if (key := entry.key()) not in there}
                if fresh or not self.path.is_file():
                    write_text(self.path, store_text([*there.values(), *fresh.values()]))
                return len(fresh)
        except OSError as error:
            raise EdgehoneError(f"cannot write the store {self.path}: {error}; {WAYS_OUT}") from None


def default_place() -> Path:
    """``edgehone/store.jsonl`` in the user's data folder (XDG)."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "edgehone" / "store.jsonl"


def shipped_entries() -> list[StoreEntry]:
    """What the package brings along."""
    return parse_store(files("edgehone.search").joinpath(SHIPPED).read_text(encoding="utf-8"), SHIPPED)


def known_searches(store: Store) -> list[StoreEntry]:
    """What the user's store holds and what the package brings along; nothing where the user wants no store.

    A search that is in both counts once.

    Raises:
        EdgehoneError: the user's store is not in order.
    """
    if store.path is None:
        return []
    shipped = {entry.key(): entry for entry in shipped_entries()}
    return [*(entry for entry in store.entries() if entry.key() not in shipped), *shipped.values()]


def store_text(entries: Sequence[StoreEntry], about: str = "searches of edgehone, one a line") -> str:
    """The content of a store's file."""
    head = {"format": FORMAT, "schema": SCHEMA, "about": about}
    lines = [head, *(entry.model_dump(mode="json") for entry in entries)]
    return "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)


def parse_store(text: str, name: str, way_out: str = WAYS_OUT) -> list[StoreEntry]:
    """The entries of a store's file.

    Raises:
        EdgehoneError: not a store, another schema, or a damaged line; nothing is skipped in silence.
    """
    lines = text.split("\n")
    first = _json(lines[0])
    head = cast(dict[str, Any], first) if isinstance(first, dict) else {}
    if head.get("format") != FORMAT:
        raise EdgehoneError(f"the first line of a store says that it is one; {name} is something else; {way_out}")
    schema = head.get("schema")
    if schema != SCHEMA:
        raise EdgehoneError(
            f"this edgehone reads stores of schema {SCHEMA}, but {name} is of schema {schema}; use the edgehone that "
            f"wrote it to export what is there, or {way_out}"
        )
    if lines[-1]:
        raise EdgehoneError(
            f"every line of a store ends, but line {len(lines)} of {name} does not: it was cut short while it was "
            f"copied or edited; restore the file, or delete that line, or {way_out}"
        )
    return [_entry(line, k, name, way_out) for k, line in enumerate(lines[1:-1], 2)]


def _entry(line: str, number: int, name: str, way_out: str) -> StoreEntry:
    content = _json(line)
    try:
        return StoreEntry.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the line"
        raise EdgehoneError(
            f"every line of a store is a search, but in line {number} of {name} {where}: {first['msg']}; restore the "
            f"file, or delete that line, or {way_out}"
        ) from None


def _json(line: str) -> Json:
    """Parsed; None where it is no JSON."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def read_foreign(path: Path) -> list[StoreEntry]:
    """The entries of a store that somebody hands over.

    Raises:
        UsageError: there is no such file.
        EdgehoneError: it is not in order.
    """
    if not path.is_file():
        raise UsageError(f"there is no store at {path}")
    return Store(path).entries(WAYS_OUT_OF_IMPORT)


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """One writer at a time; others wait. The lock is a file beside the store, which is itself replaced."""
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
