"""Follows a stream of events over any number of connections; each event comes once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx

from signalbox.client import BUSY, backoff, wait_of
from signalbox.failures import Failure, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from signalbox.client import Api

NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    kind: str
    id: str
    data: Any


def parsed(lines: Iterator[str]) -> Iterator[Event]:
    """Yield the events of a stream's lines; an incomplete one at its end is dropped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            data = json.loads(fields["data"])
            yield Event(fields.get("event", "message"), fields.get("id", ""), data)
        fields = {}


@dataclass(slots=True)
class Follower:
    """Reads a stream and connects again, behind the last event, until it is complete."""

    api: Api
    path: str
    report: Callable[[str], object]  # gets a sentence about each lost connection
    last: str = ""
    _failures: int = 0
    _is_over: bool = False

    def events(self) -> Iterator[Event]:
        """Yield the events. Raises Failure when the server ends the stream for good."""
        while not self._is_over:
            wait = 0.0
            try:
                headers = {"Last-Event-ID": self.last} if self.last else {}
                with self.api.stream(self.path, headers) as response:
                    if response.status_code in BUSY:
                        self._failures += 1
                        wait = wait_of(response, self._failures)
                    else:
                        wait = yield from self._read(response)
            except httpx.TransportError:
                self._failures += 1
                wait = backoff(self._failures)
                self.report(f"Connection lost. Connecting again in {wait:g} s.")
            if not self._is_over:
                self.api.sleep(wait)

    def _read(self, response: httpx.Response) -> Generator[Event, None, float]:
        """Yield the events of a connection; return the seconds to wait for the next one."""
        if response.status_code == NO_CONTENT:
            self._is_over = True
            return 0.0
        if not response.is_success:
            response.read()
            raise failure_of(response)
        for event in parsed(response.iter_lines()):
            self._failures = 0
            if event.kind == "closed":
                return self._closed(event.data)
            self.last = event.id or self.last
            yield event
        self._failures += 1
        return backoff(self._failures)

    def _closed(self, closed: Any) -> float:
        """Return the seconds to wait. Raises Failure."""
        if closed["code"] == "run_ended":
            self._is_over = True
            return 0.0
        if closed["retry_seconds"] is None:
            raise Failure(str(closed["detail"]))
        return float(closed["retry_seconds"])
