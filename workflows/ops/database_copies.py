"""Copies of the whole database: SQLite's online backup, or PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Final

from django.db import connection

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
MEMBERS: Final = {SQLITE: "database.sqlite3", POSTGRESQL: "database.sql"}
# libpq reads these, so that no password is an argument that other users can see.
VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}


class CopyFailed(Exception):
    """The database could not be copied or replaced; the message says why."""


def kind() -> str:
    """Return the kind of this installation's database."""
    return POSTGRESQL if is_postgresql() else SQLITE


def dump(to: Path) -> None:
    """Write the database as of one moment to a file, while others use it."""
    if is_postgresql():
        _execute("pg_dump", "--no-owner", "--no-privileges", "--file", str(to))
        return
    connection.ensure_connection()
    with closing(sqlite3.connect(to)) as copy:
        connection.connection.backup(copy)


def load(copy: Path) -> None:
    """Replace the database by a copy, completely or not at all."""
    if is_postgresql():
        connection.close()
        schema = "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public"
        quiet = ("--no-psqlrc", "--quiet", "--output", os.devnull)
        checked = ("--single-transaction", "--set", "ON_ERROR_STOP=1")
        _execute("psql", *quiet, *checked, "--command", schema, "--file", str(copy))
        return
    connection.ensure_connection()
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as source:
        source.backup(connection.connection)
    connection.close()


def _execute(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise CopyFailed(
            f"`{program}` is not installed here: install the client programs of your"
            " PostgreSQL (on Debian, the package postgresql-client)."
        )
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL
        [found, *arguments],
        env=os.environ | _environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CopyFailed(f"`{program}` failed: {_message(done.stderr.splitlines())}")


def _environment() -> dict[str, str]:
    parameters = connection.get_connection_params()
    known = {name: parameters[name] for name in VARIABLES if parameters.get(name)}
    return {VARIABLES[name]: str(value) for name, value in known.items()}


def _message(lines: Sequence[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())[:2_000]
