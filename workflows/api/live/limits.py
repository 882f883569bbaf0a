"""How many streams a process and a person have, and their end at a shutdown."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

from django.conf import settings

from workflows.errors import TooManyStreams

if TYPE_CHECKING:
    from collections.abc import Callable

    from workflows.api.live.viewers import Viewer


class Drainable(Protocol):
    """An open stream."""

    def drain(self) -> None:
        """End the stream soon; call it on the event loop of the stream."""


class Streams:
    """The streams of this process; 0 sets no limit of their number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_person: Counter[int] = Counter()
        self._open: weakref.WeakSet[Drainable] = weakref.WeakSet()
        self.is_draining = False

    @property
    def used(self) -> int:
        """The number of streams."""
        return self._by_person.total()

    def acquire(self, viewer: Viewer, owner: object) -> Callable[[], object]:
        """Count a stream until the function returned is called, or `owner` is collected.

        The latter ends the count of a response that is never read, because the client
        disconnected first. Raises TooManyStreams.
        """
        person = int(viewer.user.pk)
        with self._lock:
            if _is_full(self._by_person.total(), settings.MAX_STREAMS):
                raise TooManyStreams("The server")
            if _is_full(self._by_person[person], settings.MAX_STREAMS_PER_PERSON):
                raise TooManyStreams("Your account")
            self._by_person[person] += 1
        return weakref.finalize(owner, self._release, person)

    def _release(self, person: int) -> None:
        with self._lock:
            self._by_person[person] -= 1
            if not self._by_person[person]:
                del self._by_person[person]

    def add(self, stream: Drainable) -> None:
        """Close a stream with the others at a shutdown."""
        self._open.add(stream)
        if self.is_draining:
            stream.drain()

    def drain(self) -> None:
        """Close all streams, and those that begin from now on, on their event loop."""
        self.is_draining = True
        for stream in tuple(self._open):
            stream.drain()


def _is_full(used: int, most: int) -> bool:
    return bool(most) and used >= most


streams: Final = Streams()
