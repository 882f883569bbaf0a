"""Rate limits per user or client address.

Counters are shared by all web processes in Redis. Without Redis there is a single web
process, which counts in memory; so does each process while Redis is unavailable, since
an outage of the counter must not lock users out.
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
LIMITED = {
    "reset_mail": "mails that reset the password of this address",
    "chat": "changes and tests of this chat",
    "login": "sign-in attempts from this address",
    "api": "requests to the API",
    "api_failure": "requests with an invalid API token from this address",
    "launch": "launches",
    "webhook": "deliveries to this webhook",
    "webhook_failure": "requests with an invalid signature from this address",
    "upload": "uploads",
}
"""Names of settings.RATES with their plural for messages."""


def limited(what: str) -> Callable[[View[Given]], View[Given]]:
    """Return a decorator that counts POST requests per user and raises RateLimited."""

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
    """Count one request. Raises RateLimited above the limit per minute."""
    limit = settings.RATES[what]
    if not limit:
        return
    rate = RateLimitItemPerMinute(limit, namespace="signalbox")
    try:
        left = _hit(shared() if settings.REDIS_URL else own(), rate, what, who)
    except StorageError as error:
        logger.warning("Rate limits are counted per process, Redis failed: %s", error)
        left = _hit(own(), rate, what, who)
    if left is not None:
        raise RateLimited(LIMITED[what], limit, seconds=left)


def _hit(
    limiter: FixedWindowRateLimiter, rate: RateLimitItemPerMinute, what: str, who: str
) -> int | None:
    """Count one request; return the seconds to wait, None if it is allowed."""
    if limiter.hit(rate, what, who):
        return None
    ends = limiter.get_window_stats(rate, what, who).reset_time
    return max(1, round(ends - time.time()))


@cache
def own() -> FixedWindowRateLimiter:
    """Return the in-memory limiter of this process."""
    return FixedWindowRateLimiter(MemoryStorage())


@cache
def shared() -> FixedWindowRateLimiter:
    """Return the Redis limiter of all processes."""
    address = settings.REDIS_URL
    if address.startswith(UNIX):
        address = f"redis+{address}"
    options: dict[str, Any] = {"socket_connect_timeout": 2, "socket_timeout": 2}
    storage = RedisStorage(address, wrap_exceptions=True, **options)
    return FixedWindowRateLimiter(storage)
