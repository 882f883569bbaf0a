"""When a destination is tried again, when it is suspended, and when a message is given up.

Messages are delivered in order, so the delay belongs to the destination: the message that
failed is the next one. A receiver that refuses one message for its content must not
delay the others for days: such a message is given up after a few attempts.
"""

from __future__ import annotations

import datetime as dt
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workflows.deliveries.webhook_requests import Result

FIRST_DELAY: Final = dt.timedelta(seconds=5)  # after the first failure, then doubled
MAX_DELAY: Final = dt.timedelta(hours=1)
SUSPEND_AFTER: Final = 5  # failures in a row open the circuit breaker
GIVE_UP_AFTER: Final = dt.timedelta(days=3)  # from the creation of a message
MAX_REFUSALS: Final = 5  # attempts of a message that the receiver refuses
# The receiver says that it is this message which it can't accept
REFUSALS: Final = frozenset({400, 411, 413, 414, 415, 422, 431})
GONE: Final = 410  # the receiver wants no more messages


def delay(failures: int, retry_after: float | None = None) -> dt.timedelta:
    """Return the time to the next attempt after so many failures in a row.

    A random part of up to a half keeps destinations that failed together apart. A
    receiver may ask for a longer delay, up to MAX_DELAY.
    """
    doubled: dt.timedelta = FIRST_DELAY * 2 ** min(failures - 1, 20)
    most = min(doubled, MAX_DELAY)
    chosen = most * (0.5 + random.random() / 2)  # noqa: S311 - no secret
    requested = dt.timedelta(seconds=min(retry_after or 0, MAX_DELAY.total_seconds()))
    return max(chosen, requested)


def is_given_up(result: Result, attempts: int, age: dt.timedelta) -> bool:
    """Return whether a message that failed is given up, after so many attempts."""
    if result.response_status in REFUSALS:
        return attempts >= MAX_REFUSALS
    return age >= GIVE_UP_AFTER
