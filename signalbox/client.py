"""Requests to the API: errors as sentences, repetitions where they are safe."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from signalbox.failures import UNREACHABLE, Failure, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from signalbox.servers import Server

ROOT: Final = "/api/v1"
TIMEOUT_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
STREAM_SECONDS: Final = 40.0  # without a byte; the server sends a comment every 15 s
MAX_TRIES: Final = 4
MAX_WAIT_SECONDS: Final = 30.0
BUSY: Final = frozenset({429, 503})  # refused; Retry-After says when to try again
REPEATABLE: Final = frozenset({"GET", "PUT", "DELETE"})
PAGE_ROWS: Final = 200


@dataclass(slots=True)
class Api:
    """The API of one server."""

    server: Server
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], object] = time.sleep
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        """Open the client."""
        self.client = httpx.Client(
            base_url=self.server.url + ROOT,
            headers={
                "Authorization": f"Bearer {self.server.token}",
                "User-Agent": "signalbox-cli",
            },
            timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
            transport=self.transport,
        )

    def get(self, path: str, **params: Any) -> Any:
        """Return the body of a GET request. Raises Failure."""
        return self.request("GET", path, params=_given(params)).json()

    def post(self, path: str, body: Mapping[str, Any], **headers: str) -> Any:
        """Return the body of the response to a POST request. Raises Failure."""
        return self.request("POST", path, json=body, headers=headers).json()

    def rows(self, path: str, limit: int | None = None, **params: Any) -> Iterator[Any]:
        """Yield the rows of all pages of a list, up to a number. Raises Failure."""
        cursor, left = "", limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
            page = self.get(path, **params, limit=size, cursor=cursor)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page["next"]
            if cursor is None:
                return

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; repeat it while that is safe and the server is busy or away.

        A request with an idempotency key may be repeated. Raises Failure.
        """
        is_safe = method in REPEATABLE or "Idempotency-Key" in options.get(
            "headers", {}
        )
        tries = MAX_TRIES if is_safe else 1
        for number in range(1, tries + 1):
            try:
                response = self.client.request(method, path, **options)
            except httpx.TransportError as error:
                if number == tries:
                    raise self.unreachable(error) from error
                self.sleep(backoff(number))
                continue
            if response.status_code not in BUSY or number == tries:
                break
            self.sleep(wait_of(response, number))
        if not response.is_success:
            raise failure_of(response)
        return response

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Open a stream of events. Raises httpx.TransportError."""
        timeout = httpx.Timeout(STREAM_SECONDS, connect=CONNECT_SECONDS)
        with self.client.stream(
            "GET", path, headers=dict(headers), timeout=timeout
        ) as response:
            yield response

    def unreachable(self, error: Exception) -> Failure:
        """Return the error of a server that could not be reached."""
        why = str(error) or type(error).__name__
        return Failure(f"{self.server.url} can’t be reached: {why}.", UNREACHABLE)


def backoff(number: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return float(min(2.0 ** (number - 1), MAX_WAIT_SECONDS))


def wait_of(response: httpx.Response, number: int) -> float:
    """Return the seconds that a busy server asks to wait."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_WAIT_SECONDS) if value.isdigit() else backoff(number)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, "")}
