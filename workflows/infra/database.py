"""The kind of database: the only place where PostgreSQL and SQLite are distinguished."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import connection as default_connection
from django.db import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper


def is_postgresql(connection: BaseDatabaseWrapper | None = None) -> bool:
    """Return True for a connection to PostgreSQL, False for one to SQLite.

    The default is this thread's connection to the default database.
    """
    return (connection or default_connection).vendor == "postgresql"


@contextmanager
def snapshot() -> Iterator[None]:
    """Make all reads of the block see one state of the database, without locking rows.

    PostgreSQL reads in a read-only REPEATABLE READ transaction. SQLite reads in the usual
    transaction, which also holds its write lock. Inside another transaction the block
    joins that one and has its isolation level.
    """
    is_outermost = not default_connection.in_atomic_block
    with transaction.atomic():
        if is_outermost and is_postgresql():
            with default_connection.cursor() as cursor:
                cursor.execute(
                    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
                )
        yield
