"""A study in PostgreSQL: a row for each thing that happened, only ever added to.

For folders whose file system cannot lock, as many that are shared between machines. The lock is the server's, held by
the connection: it goes when the connection goes, however that ends. Rows are numbered, and no number can be there
twice: a driver that has lost its lock without knowing cannot add what another has added.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib
import json
import os
import ssl
from types import TracebackType
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from edgehone.errors import EdgehoneError, UsageError
from edgehone.types import Json

TABLE = "edgehone_journal"
PORT = 5432
CONNECT_SECONDS = 20
CREATION = 0x6564676568
"""Key of the lock under which the table is made."""

SCHEMA = (
    f"CREATE TABLE {TABLE} (study text NOT NULL, number bigint NOT NULL, event text NOT NULL, "
    "at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (study, number))",
    f"CREATE FUNCTION {TABLE}_stays() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'a journal is only ever added to'; END $$",
    f"CREATE TRIGGER stays BEFORE UPDATE OR DELETE OR TRUNCATE ON {TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_stays()",
)


class PostgresJournal:
    """The rows of one study; one process at a time."""

    def __init__(self, address: str, study: str) -> None:
        """Open, or begin; read :attr:`events` once.

        Args:
            address: ``postgresql://user@host:port/database``; the password is taken from PGPASSWORD.
            study: its name, unique in the database.

        Raises:
            UsageError: the address cannot be used, or the driver is not installed.
            EdgehoneError: another process has the study open, or the server refuses.
        """
        self.address, self.study = address, study
        self._errors = _errors(pg8000())
        self._connection = connect(address)
        try:
            self._create()
            self._lock()
            self.events = self._read()
        except BaseException:
            self.close()
            raise

    def add(self, event: Json) -> None:
        """Write an event; when this returns it has happened."""
        text = json.dumps(event, separators=(",", ":"), allow_nan=False)
        insert = f"INSERT INTO {TABLE} (study, number, event) VALUES (:study, :number, :event)"
        self._run(insert, study=self.study, number=self._next, event=text)
        self._next += 1

    def close(self) -> None:
        """Let others write."""
        try:
            self._connection.close()
        except self._errors:
            return  # the server has closed it

    def __enter__(self) -> PostgresJournal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _create(self) -> None:
        self._run("SET synchronous_commit TO on")
        if self._there():
            return
        self._run("START TRANSACTION")
        self._run("SELECT pg_advisory_xact_lock(:key)", key=CREATION)
        for statement in () if self._there() else SCHEMA:
            self._run(statement)
        self._run("COMMIT")

    def _there(self) -> bool:
        return self._run("SELECT to_regclass(:name)::text", name=TABLE)[0][0] is not None

    def _lock(self) -> None:
        key = int.from_bytes(hashlib.sha256(self.study.encode()).digest()[:8], "big", signed=True)
        if not self._run("SELECT pg_try_advisory_lock(:key)", key=key)[0][0]:
            raise EdgehoneError(
                f"another process writes to the study {self.study} in {self.address}; wait for it or choose another "
                "--out"
            )

    def _read(self) -> list[Json]:
        select = f"SELECT number, event FROM {TABLE} WHERE study = :study ORDER BY number"
        rows = self._run(select, study=self.study)
        self._next = len(rows)
        if [int(number) for number, _ in rows] != list(range(len(rows))):
            raise EdgehoneError(f"rows of a study are numbered from 0, but some of {self.study} are gone; begin again")
        return [json.loads(text) for _, text in rows]

    def _run(self, statement: str, **values: Any) -> list[list[Any]]:
        try:
            return list(self._connection.run(statement, **values) or ())
        except self._errors as error:
            raise EdgehoneError(
                f"the study {self.study} in {self.address} cannot be read or written: {_words(error)}; what is written "
                "is kept: give the same command again to go on"
            ) from None


def pg8000() -> Any:
    """The driver.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module("pg8000.native")
    except ModuleNotFoundError:
        raise UsageError("--study needs the pg8000 package: pip install 'edgehone[postgres]'") from None


def connect(address: str) -> Any:
    """A connection.

    Raises:
        UsageError: not an address.
        EdgehoneError: nobody answers, or one who refuses.
    """
    driver, parts = pg8000(), check_study(address)
    host = parts.hostname or ""
    try:
        return driver.Connection(
            unquote(parts.username or getpass.getuser()),
            host=host,
            port=parts.port or PORT,
            database=unquote(parts.path[1:]),
            password=os.environ.get("PGPASSWORD"),
            timeout=CONNECT_SECONDS,
            ssl_context=ssl.create_default_context() if encrypted(parts) else None,
            application_name="edgehone",
        )
    except _errors(driver) as error:
        raise EdgehoneError(
            f"--study names a database that answers, but {address} does not: {_words(error)}; the password is taken "
            "from PGPASSWORD, and ?sslmode=disable is for networks that you trust"
        ) from None


def check_study(address: str) -> SplitResult:
    """The parts of an address.

    Raises:
        UsageError: not one, or one with a password: addresses are kept in a run's folder and its report.
    """
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UsageError(f"--study takes postgresql://USER@HOST:PORT/DATABASE: {error}") from None
    try:
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        port_is_right = False
    query = parse_qs(parts.query, keep_blank_values=True)
    modes = query.pop("sslmode", [])
    right = parts.scheme in ("postgresql", "postgres") and parts.hostname and parts.path[1:] and port_is_right
    if not right or query or parts.fragment or not set(modes) <= {"disable", "verify-full"}:
        raise UsageError(
            "--study takes postgresql://USER@HOST:PORT/DATABASE, with ?sslmode=disable or ?sslmode=verify-full if need "
            f"be; got {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()!r}"
        )
    if parts.password is not None:
        raise UsageError("--study is kept in the run's folder and shown in its report: give the password in PGPASSWORD")
    return parts


def encrypted(parts: SplitResult) -> bool:
    """Whether the connection is, with the server's certificate verified: by default where it leaves this machine."""
    modes = parse_qs(parts.query).get("sslmode")
    return modes[-1] == "verify-full" if modes else parts.hostname not in ("localhost", "127.0.0.1", "::1")


def _errors(driver: Any) -> tuple[type[BaseException], ...]:
    """What is raised where the server refuses or the network fails."""
    return (driver.Error, OSError, UnicodeError)


def _words(error: BaseException) -> str:
    """What a server said, for people."""
    said: Any = error.args[0] if error.args else error
    return str(said["M"]) if isinstance(said, dict) and "M" in said else str(error)  # pyright: ignore[reportUnknownArgumentType]
