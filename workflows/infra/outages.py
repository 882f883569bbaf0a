"""The database or Redis, away for a while: told once, and told once when it is back.

An outage is no error of anybody's: nothing is lost by waiting, so there is no traceback
for each try, but one line when it begins and one when it is over.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from django.db import DatabaseError, InterfaceError, OperationalError
from redis.exceptions import RedisError

from workflows.engine.errors import describe
from workflows.infra import metrics

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.1  # doubled up to the last while the database is away
LAST_PAUSE_SECONDS = 5.0

# What PostgreSQL says of a connection that it ended, whatever class the driver gives it:
# idle in a transaction, shut down, crashed, starting.
_ENDED = {"25P03", "57P01", "57P02", "57P03"}
_CROSSED = {"40001", "40P01"}  # a serialization failure, a deadlock
_STUCK_STATES = {"53100", "25006"}  # the disk is full, the transaction read-only
# what SQLite says, and what an operating system says through either
_DISK_FULL_MESSAGES = (
    "disk is full",
    "disk i/o error",
    "no space left",
    "readonly database",
    "read-only file system",
)


def is_away(error: BaseException) -> bool:
    """Tell whether waiting may help: the server is gone or the file is locked."""
    if isinstance(error, DatabaseError | InterfaceError) and _state(error) in _ENDED:
        return True
    return (
        isinstance(error, OperationalError | InterfaceError)
        and not is_stuck(error)
        and not is_crossed(error)
        and "no such table" not in describe(error)
    )


def is_crossed(error: BaseException) -> bool:
    """Tell whether two transactions waited for each other, and this one was given up.

    Nothing is away and nothing is wrong: done again it goes through.
    """
    return isinstance(error, DatabaseError) and _state(error) in _CROSSED


def is_stuck(error: BaseException) -> bool:
    """Tell whether the database can be read but not written to.

    Waiting is left to people here: it stops the run with its own message, and the run
    can be resumed once the disk has room or the database is writable again.
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
    """Whether something is amiss just now; says so when that changes."""

    def __init__(
        self,
        name: str,
        what: str,
        over: str,
        calm: float = 0.0,
        then: str = "trying again",
    ) -> None:
        """Take its name in figures, and what is said when it begins and is over.

        It is over with the first success that comes `calm` seconds after a failure.
        """
        self._name, self._what, self._over, self._calm = name, what, over, calm
        self._then = then
        self._since: float | None = None
        self._failed = 0.0  # when a try failed last
        self._ended: float | None = None
        self.count = 0  # outages so far

    def met(self, error: BaseException) -> None:
        """Note that a try failed; the first one is told."""
        self._failed = time.monotonic()
        if self._since is None:
            self._since = time.monotonic()
            self.count += 1
            metrics.OUTAGES.labels(self._name).inc()
            logger.warning("%s (%s); %s.", self._what, _line(error), self._then)

    def over(self) -> None:
        """Note that a try succeeded; the first one after an outage is told."""
        if self._since is None or time.monotonic() < self._failed + self._calm:
            return
        since, self._since, self._ended = self._since, None, time.monotonic()
        logger.warning("%s after %.1f s.", self._over, self._ended - since)

    def forget(self) -> None:
        """Be as if nothing had ever been amiss."""
        self._since = self._ended = None

    def is_recent(self, seconds: float) -> bool:
        """Tell whether it is amiss, or was within so many seconds."""
        if self._since is not None:
            return True
        return self._ended is not None and time.monotonic() < self._ended + seconds


class Backoff:
    """How long to wait before the next try: ever longer while the database is away."""

    def __init__(self) -> None:
        """Begin with a short wait."""
        self._pause = FIRST_PAUSE_SECONDS

    def next_delay(self, error: BaseException) -> float | None:
        """Return the seconds to wait after a failure, None if waiting does not help.

        0 stands for at once: another transaction was in the way.
        """
        if is_crossed(error):
            return 0.0
        if not is_away(error):
            return None
        database.met(error)
        pause, self._pause = self._pause, min(self._pause * 2, LAST_PAUSE_SECONDS)
        return pause


def _line(error: BaseException) -> str:
    """Return the first line of what is said of it: drivers like to go on."""
    said = describe(error).strip() or type(error).__name__
    return said.splitlines()[0]


# One a process: its threads and tasks all meet the same outage.
database: Final = Outage("database", "The database is away", "The database is back")
# A disk that is all but full takes small changes and refuses others.
changes: Final = Outage(
    "changes", "The database takes no changes", "It takes changes again", calm=5.0
)
messages: Final = Outage(
    "messages", "The channel layer is away", "The channel layer is back"
)
# Nobody waits for this one: each page, or node, that needs a file tries once.
storage: Final = Outage(
    "storage",
    "The storage of documents fails",
    "The storage of documents works again",
    calm=5.0,
    then="whoever needs a file is told",
)


def of(error: BaseException) -> Outage | None:
    """Return the outage that an error stands for, None if it stands for something else."""
    if is_away(error):
        return database
    if is_stuck(error):
        return changes
    return messages if isinstance(error, ChannelLayerUnavailable | RedisError) else None
