"""The kind of database: the only place where PostgreSQL and SQLite are distinguished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection as default_connection

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


def is_postgresql(connection: BaseDatabaseWrapper | None = None) -> bool:
    """Return True for a connection to PostgreSQL, False for one to SQLite.

    The default is this thread's connection to the default database.
    """
    return (connection or default_connection).vendor == "postgresql"
