"""What every journal must do, a file or a database: keep everything in order, for one driver at a time.

The database is a real server, started for these tests where its programs are found.
"""

from __future__ import annotations

import glob
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from edgehone.errors import EdgehoneError, UsageError
from edgehone.search import postgres_journal
from edgehone.search.journal import AnyJournal, Journal
from edgehone.search.plan import FINAL, Rung
from edgehone.search.postgres_journal import TABLE, PostgresJournal, check_study, connect, encrypted
from edgehone.search.searcher import stable_seed
from edgehone.search.searchers import make_searcher
from edgehone.search.study import Study, Terms, Trial, Worth
from edgehone.space import SearchSpace
from edgehone.strategy import Strategy
from edgehone.types import Json

SPACE = SearchSpace(Strategy()).keep_only(("optimisation.optimizer", "projection.box_loss", "augmentation"))
RUNGS = (Rung(name="short", share=1 / 4, trials=6), Rung(name=FINAL, share=1.0, trials=2))
EVENTS: list[Json] = [
    {"terms": {"seed": 5}},
    {"asked": [{"number": 0, "lr": 1e-05, "text": 'ä " \\ %s :study $1 \n'}]},
    {"told": [{"values": [0.1 + 0.2, 1.0, 5e-324], "big": 2**60}]},
    {"asked": ["x" * 1_000_000]},
]
KILLS = 30

Opener = Callable[[], Any]


def worth(trial: Trial) -> Worth:
    value = stable_seed(trial.seed, "worth") % 1000 / 1e3
    return Worth(number=trial.number, values=(value,), diverged=value < 0.1)


def study(journal: AnyJournal | None) -> Study:
    terms = Terms(seed=5, searcher="random", rungs=RUNGS)
    return Study(terms, SPACE, make_searcher("random", SPACE, 5), journal)


class Killed(Exception):
    """The driver is gone."""


def drive(one: Study, lives: Iterator[int]) -> None:
    """Batches, as a deterministic search; the driver may go before or after anything is written."""
    while batch := one.pending or one.ask_batch(3):
        for found in ([], [worth(trial) for trial in batch], []):
            if next(lives) == 0:
                raise Killed
            if found:
                one.tell(found)


class JournalConformance:
    """Inherited by every journal."""

    @pytest.fixture
    def opened(self) -> Opener:
        """Opens the same journal each time."""
        raise NotImplementedError

    def vanish(self, journal: Any) -> None:
        """The driver is gone without a word."""
        raise NotImplementedError

    def test_events_come_back_as_they_were_in_order(self, opened: Opener) -> None:
        with opened() as journal:
            assert journal.events == []
            for event in EVENTS[:2]:
                journal.add(event)
        with opened() as journal:
            assert journal.events == EVENTS[:2]
            for event in EVENTS[2:]:
                journal.add(event)
        with opened() as journal:
            assert journal.events == EVENTS

    def test_what_is_no_json_is_refused_and_leaves_nothing(self, opened: Opener) -> None:
        with opened() as journal:
            with pytest.raises(ValueError):
                journal.add({"told": float("nan")})
            journal.add(EVENTS[0])
        with opened() as journal:
            assert journal.events == EVENTS[:1]

    def test_one_driver_at_a_time(self, opened: Opener) -> None:
        with opened() as journal:
            journal.add(EVENTS[0])
            with pytest.raises(EdgehoneError, match="another process writes"):
                opened()
            journal.add(EVENTS[1])
        with opened() as journal:
            assert journal.events == EVENTS[:2]

    def test_a_driver_that_vanished_lets_go_and_what_it_wrote_is_there(self, opened: Opener) -> None:
        journal = opened()
        journal.add(EVENTS[0])
        self.vanish(journal)
        until = time.monotonic() + 20
        while True:
            try:
                with opened() as again:
                    assert again.events == EVENTS[:1]
                    return
            except EdgehoneError:
                assert time.monotonic() < until
                time.sleep(0.1)

    def test_killed_at_random_instants_a_study_equals_one_in_memory(self, opened: Opener) -> None:
        calm = study(None)
        drive(calm, iter(lambda: 1, 0))
        rng = random.Random(3)
        kills = 0
        while True:
            with opened() as journal:
                one = study(journal)
                try:
                    drive(one, iter([1] * rng.randrange(3) + ([0] if kills < KILLS else [1] * 1000)))
                    break
                except Killed:
                    kills += 1
        assert kills >= 5
        assert one.trials == calm.trials
        assert one.worth == calm.worth
        with opened() as journal:
            told = [each["number"] for event in journal.events for each in event.get("told", ())]
            asked = [each["number"] for event in journal.events for each in event.get("asked", ())]
        assert sorted(told) == asked == list(range(len(calm.trials))), "nothing lost, nothing doubled"


class TestFile(JournalConformance):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opener:
        return lambda: Journal(tmp_path / "study.jsonl")

    def vanish(self, journal: Any) -> None:
        os.close(journal._file)


def programs() -> Path | None:
    """Where a PostgreSQL server's programs are."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += [Path(place) for place in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    return next((folder for folder in folders if (folder / "initdb").is_file()), None)


def server_user() -> dict[str, Any]:
    """A server refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a throw-away server."""
    pytest.importorskip("pg8000", reason="pg8000 is not installed: pip install 'edgehone[postgres]'")
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("no PostgreSQL server is installed here (initdb is not found)")
    home = Path(tempfile.mkdtemp(prefix="edgehone-postgres-"))
    if os.getuid() == 0:
        shutil.chown(home, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common: dict[str, Any] = {"cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **server_user()}
    make = [bin_folder / "initdb", "-D", home / "data", "-A", "trust", "-U", "edgehone", "--no-sync", "-E", "UTF8"]
    subprocess.run([*make, "--locale=C"], check=True, **common)
    settings = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB"]
    run = [bin_folder / "postgres", "-D", home / "data", "-k", home, "-p", str(port), *settings]
    process = subprocess.Popen(run, **common)
    address = f"postgresql://edgehone@127.0.0.1:{port}/postgres"
    try:
        wait_for(address)
        yield address
    finally:
        process.send_signal(signal.SIGINT)  # at once, whoever is connected
        process.wait(60)
        shutil.rmtree(home)


def wait_for(address: str) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            connect(address).close()
            return
        except EdgehoneError:
            assert time.monotonic() < until
            time.sleep(0.2)


class TestPostgres(JournalConformance):
    @pytest.fixture
    def opened(self, server: str) -> Opener:
        name = uuid.uuid4().hex
        return lambda: PostgresJournal(server, name)

    def vanish(self, journal: Any) -> None:
        with suppress(OSError):
            journal._connection._usock.shutdown(socket.SHUT_RDWR)
        journal._connection._usock.close()

    def test_studies_of_one_database_know_nothing_of_each_other(self, server: str) -> None:
        with PostgresJournal(server, "one") as one, PostgresJournal(server, "two") as two:
            one.add(EVENTS[0])
            two.add(EVENTS[1])
        with PostgresJournal(server, "one") as one, PostgresJournal(server, "two") as two:
            assert (one.events, two.events) == (EVENTS[:1], EVENTS[1:2])

    @pytest.mark.parametrize("change", ["UPDATE {} SET event = ''", "DELETE FROM {}", "TRUNCATE {}"])
    def test_rows_are_only_ever_added(self, server: str, opened: Opener, change: str) -> None:
        with opened() as journal:
            journal.add(EVENTS[0])
        admin = connect(server)
        with pytest.raises(Exception, match="only ever added to"):
            admin.run(change.format(TABLE))
        admin.close()
        with opened() as journal:
            assert journal.events == EVENTS[:1]

    def test_a_driver_that_lost_its_lock_cannot_add_and_is_told(self, server: str, opened: Opener) -> None:
        with opened() as journal:
            journal.add(EVENTS[0])
            admin = connect(server)
            others = "application_name = 'edgehone' AND pid <> pg_backend_pid()"
            admin.run(f"SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE {others}")
            admin.close()
            with opened() as another:
                another.add(EVENTS[1])
                with pytest.raises(EdgehoneError, match="give the same command again"):
                    journal.add(EVENTS[2])
        with opened() as again:
            assert again.events == EVENTS[:2]

    def test_no_number_is_there_twice(self, opened: Opener) -> None:
        """Even if two drivers should ever be at work."""
        with opened() as journal:
            journal.add(EVENTS[0])
            journal._next = 0
            with pytest.raises(EdgehoneError, match="duplicate key"):
                journal.add(EVENTS[1])

    def test_what_the_server_refuses_is_told(self, server: str) -> None:
        with pytest.raises(EdgehoneError, match='database "nowhere" does not exist'):
            PostgresJournal(server.replace("/postgres", "/nowhere"), "one")


def test_nobody_answers() -> None:
    pytest.importorskip("pg8000")
    with pytest.raises(EdgehoneError, match="names a database that answers"):
        connect("postgresql://someone@127.0.0.1:1/nothing")


@pytest.mark.parametrize(
    "address",
    ["mysql://a@b/c", "postgresql://a@b", "postgresql:///c", "postgresql://a@b:x/c", "postgresql://a@b/c?sslmode=allow",
     "postgresql://a@b/c?passfile=p", "study.jsonl"],
)  # fmt: skip
def test_what_is_no_address_is_told_at_once(address: str) -> None:
    with pytest.raises(UsageError, match="postgresql://USER@HOST"):
        check_study(address)


def test_passwords_stay_out_of_addresses() -> None:
    with pytest.raises(UsageError, match="PGPASSWORD") as told:
        check_study("postgresql://a:secret@b/c")
    assert "secret" not in str(told.value)
    with pytest.raises(UsageError) as told:
        check_study("postgresql://a:secret@b")
    assert "secret" not in str(told.value)


def test_what_leaves_this_machine_is_encrypted_unless_told() -> None:
    assert encrypted(check_study("postgresql://a@db.example/c"))
    assert not encrypted(check_study("postgresql://a@db.example/c?sslmode=disable"))
    assert not encrypted(check_study("postgresql://a@localhost/c"))
    assert encrypted(check_study("postgresql://a@localhost/c?sslmode=verify-full"))


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pg8000.native", None)
    with pytest.raises(UsageError, match=r"edgehone\[postgres\]"):
        postgres_journal.pg8000()
