"""How often one person, or one address, may do what is cheap to ask for and dear to do.

Counted in Redis where there is one, so by all web processes together; without Redis one
process is the whole installation, and counts for itself. While Redis is away each counts
for itself too: nobody is kept out because a counter is.
"""

from __future__ import annotations

import logging
import time
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from django.conf import settings
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter

from workflows.errors import RateLimited
from workflows.pages.requests import HtmxRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http.response import HttpResponseBase

    Given = ParamSpec("Given")
    View = Callable[Concatenate[HtmxRequest, Given], HttpResponseBase]

logger = logging.getLogger(__name__)

UNIX = "unix://"
WHAT = {
    "login": "tries to sign in from here",
    "launch": "launches",
    "upload": "uploads",
}
"""What is limited: the names of settings.RATES, and what is said of them."""


def limited(what: str) -> Callable[[View[Given]], View[Given]]:
    """Return a decorator: posts of members count, and too many raise RateLimited."""

    def decorate(view: View[Given]) -> View[Given]:
        def respond(
            request: HtmxRequest, /, *args: Given.args, **kwargs: Given.kwargs
        ) -> HttpResponseBase:
            if request.method == "POST":
                count(what, f"person {request.user.pk}")
            return view(request, *args, **kwargs)

        update_wrapper(respond, view)
        return respond

    return decorate


def count(what: str, who: str) -> None:
    """Count one more. Raises RateLimited when that is more than a minute allows."""
    most = settings.RATES[what]
    if not most:
        return
    rate = RateLimitItemPerMinute(most, namespace="signalbox")
    try:
        left = _hit(shared() if settings.REDIS_URL else own(), rate, what, who)
    except StorageError as error:
        logger.warning("Redis does not count, each process does: %s", error)
        left = _hit(own(), rate, what, who)
    if left is not None:
        raise RateLimited(WHAT[what], most, seconds=left)


def _hit(
    limiter: FixedWindowRateLimiter, rate: RateLimitItemPerMinute, what: str, who: str
) -> int | None:
    """Count one; return the seconds until the next may be, None if this one may."""
    if limiter.hit(rate, what, who):
        return None
    ends = limiter.get_window_stats(rate, what, who).reset_time
    return max(1, round(ends - time.time()))


@cache
def own() -> FixedWindowRateLimiter:
    """Return what counts for this process."""
    return FixedWindowRateLimiter(MemoryStorage())


@cache
def shared() -> FixedWindowRateLimiter:
    """Return what counts for all processes."""
    address = settings.REDIS_URL
    if address.startswith(UNIX):
        address = f"redis+{address}"
    options: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2}
    storage = RedisStorage(address, wrap_exceptions=True, **options)
    return FixedWindowRateLimiter(storage)
