"""SQL of the queue and of the step records: one driver class per database.

tables.py      columns of the tables written in bulk, and the parts of a statement
statements.py  texts that both databases share
launches.py    the insert of new runs
driver.py      what a driver does
postgresql.py  one statement, one round trip, per method
binary.py      statements sent to PostgreSQL by libpq
encoders.py    their parameters in binary format
sqlite.py      several statements in one transaction
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS, connections

from workflows.execution.sql.driver import Claimed
from workflows.execution.sql.launches import NewRun, Offer
from workflows.execution.sql.postgresql import PostgreSQLDriver
from workflows.execution.sql.sqlite import SQLiteDriver
from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    from workflows.execution.sql.driver import Driver

__all__ = ["Claimed", "NewRun", "Offer", "driver"]


def driver() -> Driver:
    """Return the driver for this thread's connection."""
    connection = connections[DEFAULT_DB_ALIAS]
    return (PostgreSQLDriver if is_postgresql(connection) else SQLiteDriver)(connection)
