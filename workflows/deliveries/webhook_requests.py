"""The signed HTTP request of a message, as Standard Webhooks describes it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

A response is untrusted: its size and its time are limited, it is not decompressed, and a
redirect is a failure, since it could lead to an address that was not checked.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx
from cryptography.fernet import InvalidToken
from django.conf import settings
from standardwebhooks import Webhook

from workflows.infra.addresses import AddressRefused, Guard
from workflows.infra.outbound import transport_to
from workflows.infra.text import clean
from workflows.models.destinations import MAX_EXCERPT_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Delivery, Destination

MAX_RESPONSE_BYTES: Final = 4 * MAX_EXCERPT_LENGTH  # read; the rest is discarded
SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - the prefix of all secrets
SUCCESS, REDIRECT, CLIENT_ERROR = 200, 300, 400


@dataclass(frozen=True, slots=True)
class Result:
    """What came of an attempt."""

    error: str  # a sentence; "" = delivered
    response_status: int | None = None
    excerpt: str = ""
    duration_ms: int = 0
    retry_after: float | None = None  # seconds, if the receiver asks for it

    @property
    def is_delivered(self) -> bool:
        """Return whether the receiver accepted the message."""
        return not self.error


def new_secret() -> str:
    """Return a random secret in the form of Standard Webhooks."""
    return SECRET_PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def guard() -> Guard:
    """Return the guard of the addresses of destinations."""
    return Guard(settings.ALLOW_PRIVATE_WEBHOOKS, "ALLOW_PRIVATE_WEBHOOKS")


def headers_of(
    delivery: Delivery, signing: list[str], now: dt.datetime
) -> dict[str, str]:
    """Return the headers of a message; a signature for each secret, the newest first."""
    signatures = [
        Webhook(secret).sign(delivery.webhook_id, now, delivery.body)
        for secret in signing
    ]
    return {
        "Content-Type": "application/json",
        "User-Agent": "Signalbox-Webhooks",
        "Accept-Encoding": "identity",
        "webhook-id": delivery.webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Sends messages to one destination over a kept connection."""

    def __init__(self, destination: Destination) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
        self._client = httpx.AsyncClient(
            transport=transport_to(destination.url, guard(), limits),
            trust_env=False,  # the transport reads the proxies; .netrc holds foreign keys
            follow_redirects=False,
            timeout=httpx.Timeout(settings.WEBHOOK_SECONDS),
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def send(self, destination: Destination, delivery: Delivery) -> Result:
        """Send a message; whatever fails is a result."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(settings.WEBHOOK_SECONDS):
                result = await self._post(destination, delivery)
        except TimeoutError:
            result = Result(f"No response within {settings.WEBHOOK_SECONDS:g} s.")
        except InvalidToken:
            result = Result(
                "The signing secret can’t be decrypted: SECRET_KEY has changed. Rotate"
                " the secret of the destination."
            )
        except AddressRefused as error:
            result = Result(str(error))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            result = Result(f"The request failed: {_describe(error)}.")
        return _timed(result, started)

    async def _post(self, destination: Destination, delivery: Delivery) -> Result:
        now = dt.datetime.now(dt.UTC)
        headers = headers_of(delivery, destination.open_secrets(), now)
        content = delivery.body.encode()
        async with self._client.stream(
            "POST", destination.url, content=content, headers=headers
        ) as response:
            status = response.status_code
            try:
                excerpt = await _read_start(response)
            except httpx.HTTPError as error:
                # an accepted message is not sent again for the rest of its response
                excerpt = f"(The response broke off: {_describe(error)})"
            return Result(
                _problem(status),
                status,
                excerpt,
                retry_after=_retry_after(response.headers),
            )


async def _read_start(response: httpx.Response) -> str:
    """Return the begin of a response as text, without decompressing it."""
    read = b""
    async for part in response.aiter_raw():
        read += part[: MAX_RESPONSE_BYTES - len(read)]
        if len(read) >= MAX_RESPONSE_BYTES:
            break
    return clean(read.decode(errors="replace"))[:MAX_EXCERPT_LENGTH]


def _problem(status: int) -> str:
    """Return why a status is no success, "" if it is one."""
    if SUCCESS <= status < REDIRECT:
        return ""
    if REDIRECT <= status < CLIENT_ERROR:
        return (
            f"The receiver responded with a redirect ({status}), which is not followed."
            " Enter the final address."
        )
    return f"The receiver responded with status {status}."


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of Retry-After; a date is ignored."""
    text = headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdecimal() else None


def _describe(error: Exception) -> str:
    text = clean(str(error)).strip().rstrip(".")
    return text[:200] or type(error).__name__


def _timed(result: Result, started: float) -> Result:
    duration = int((time.monotonic() - started) * 1000)
    return Result(
        result.error,
        result.response_status,
        result.excerpt,
        duration,
        result.retry_after,
    )
