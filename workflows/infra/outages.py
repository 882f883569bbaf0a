"""Outages of the database, Redis or the storage: logged at their beginning and their end.

Nothing is lost by waiting for the end of an outage, so there is no traceback for each try,
but one log line when it begins and one when it is over.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError

from workflows.engine.errors import describe
from workflows.infra import process_metrics

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1  # doubled up to the last during an outage of the database
LAST_PAUSE_SECONDS = 5.0

# SQLSTATEs of connections that PostgreSQL closed, independent of the class that the driver raises:
# idle in a transaction, shut down, crashed, starting.
_CLOSED_STATES = {"25P03", "57P01", "57P02", "57P03"}
_CONFLICT_STATES = {"40001", "40P01"}  # a serialization failure, a deadlock
_STUCK_STATES = {"53100", "25006"}  # the disk is full, the transaction read-only
# messages of SQLite, and of the operating system through either database
_DISK_FULL_MESSAGES = (
    "disk is full",
    "disk i/o error",
    "no space left",
    "readonly database",
    "read-only file system",
)


def is_unavailable(error: BaseException) -> bool:
    """Return True if waiting may help: the server is gone or the file is locked."""
    if (
        isinstance(error, DatabaseError | InterfaceError)
        and _state(error) in _CLOSED_STATES
    ):
        return True
    return (
        isinstance(error, OperationalError | InterfaceError)
        and not is_stuck(error)
        and not is_conflict(error)
        and "no such table" not in describe(error)
    )


def is_conflict(error: BaseException) -> bool:
    """Return True for a transaction that was aborted because of a conflict with another.

    There is no outage and no error: a retry succeeds.
    """
    return isinstance(error, DatabaseError) and _state(error) in _CONFLICT_STATES


def is_temporary(error: BaseException) -> bool:
    """Return True for an outage or a conflict: the same statements may succeed later."""
    return is_conflict(error) or of(error) is not None


def is_stuck(error: BaseException) -> bool:
    """Return True if the database can be read but not written to.

    There is no retry for this: the run fails with a message of its own, and can be resumed
    once the disk has space or the database is writable again.
    """
    if not isinstance(error, DatabaseError):
        return False
    text = describe(error).lower()
    return _state(error) in _STUCK_STATES or any(
        word in text for word in _DISK_FULL_MESSAGES
    )


def _state(error: BaseException) -> str | None:
    return getattr(error.__cause__, "sqlstate", None)


class ChannelLayerUnavailable(Exception):
    """The channel layer could not be reached."""


class Outage:
    """Whether a service is failing now; logs when that changes."""

    def __init__(
        self,
        name: str,
        began: str,
        ended: str,
        calm: float = 0.0,
        consequence: str = "retrying",
    ) -> None:
        """Take its label in metrics, and the texts of its log lines.

        It ends with the first success that comes `calm` seconds after a failure.
        """
        self._name, self._began_text, self._ended_text = name, began, ended
        self._calm, self._consequence = calm, consequence
        self._since: float | None = None
        self._failed = 0.0  # time of the last failure
        self._ended: float | None = None
        self.count = 0  # outages so far

    def report_failure(self, error: BaseException) -> None:
        """Count a failure; the first one is logged."""
        self._failed = time.monotonic()
        if self._since is None:
            self._since = time.monotonic()
            self.count += 1
            process_metrics.OUTAGES.labels(self._name).inc()
            logger.warning(
                "%s (%s); %s.", self._began_text, _line(error), self._consequence
            )

    def report_success(self) -> None:
        """Count a success; the first one after an outage is logged."""
        if self._since is None or time.monotonic() < self._failed + self._calm:
            return
        since, self._since, self._ended = self._since, None, time.monotonic()
        logger.warning("%s after %.1f s.", self._ended_text, self._ended - since)

    def reset(self) -> None:
        """Reset all outages; for tests."""
        self._since = self._ended = None

    def is_recent(self, seconds: float) -> bool:
        """Return True during an outage and for these seconds after it."""
        if self._since is not None:
            return True
        return self._ended is not None and time.monotonic() < self._ended + seconds


class Backoff:
    """Delays between retries, doubled up to a limit during an outage of the database."""

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE_SECONDS

    def next_delay(self, error: BaseException) -> float | None:
        """Return the seconds to wait after a failure, None if waiting does not help.

        0 after a conflict with another transaction.
        """
        if is_conflict(error):
            return 0.0
        if not is_unavailable(error):
            return None
        database.report_failure(error)
        pause, self._pause = self._pause, min(self._pause * 2, LAST_PAUSE_SECONDS)
        return pause


def _line(error: BaseException) -> str:
    """Return the first line of the message: those of drivers have several."""
    message = describe(error).strip() or type(error).__name__
    return message.splitlines()[0]


# One per process: all its threads and tasks have the same outage.
database: Final = Outage("database", "Database unavailable", "Database available again")
# A disk that is nearly full accepts small changes and refuses others.
changes: Final = Outage(
    "changes", "Database refuses writes", "Database accepts writes again", calm=5.0
)
messages: Final = Outage(
    "messages", "Channel layer unavailable", "Channel layer available again"
)
# Nothing waits for the end of this one: each page or node that needs a file tries once.
storage: Final = Outage(
    "storage",
    "Document storage unavailable",
    "Document storage available again",
    calm=5.0,
    consequence="pages and nodes that need a file report it",
)


def of(error: BaseException) -> Outage | None:
    """Return the outage that an error belongs to, None if it is another kind of error."""
    if is_unavailable(error):
        return database
    if is_stuck(error):
        return changes
    if isinstance(error, ChannelLayerUnavailable) or _is_from_redis(error):
        return messages
    return None


def _is_from_redis(error: BaseException) -> bool:
    """Return True for an error of Redis, which is imported only where it is configured."""
    module = sys.modules.get("redis.exceptions")
    return module is not None and isinstance(error, module.RedisError)
