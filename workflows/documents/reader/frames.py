"""What a pool and its children say to each other: a head in JSON, then bytes.

4 bytes: length of the head │ 8 bytes: length of the body │ head │ body
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from collections.abc import Iterator
from typing import Any

_LENGTHS = struct.Struct(">IQ")
_CHUNK = 1 << 20
MOST_HEAD, MOST_BODY = 64 << 20, 512 << 20  # bytes

Head = dict[str, Any]


class Gone(Exception):
    """The other side has closed its end."""


class TooLate(Exception):
    """The other side did not answer in time."""


def packed(head: Head, body: bytes = b"") -> Iterator[bytes]:
    """Yield the parts of a frame."""
    told = json.dumps(head, separators=(",", ":")).encode()
    yield _LENGTHS.pack(len(told), len(body)) + told
    if body:
        yield body


def send(place: int, head: Head, body: bytes = b"", *, by: float | None = None) -> None:
    """Write a frame to a file descriptor.

    With `by`, a moment of the monotonic clock, it does not block for longer; the
    descriptor must be non-blocking then. Raises Gone, TooLate.
    """
    for part in packed(head, body):
        left = memoryview(part)
        while left:
            _wait(place, select.POLLOUT, by)
            try:
                left = left[os.write(place, left[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise Gone from error


def receive(place: int, *, by: float | None = None) -> tuple[Head, bytes]:
    """Read a frame. Raises Gone, TooLate."""
    head_size, body_size = _LENGTHS.unpack(_read(place, _LENGTHS.size, by))
    if head_size > MOST_HEAD or body_size > MOST_BODY:
        raise Gone  # no frame of ours
    head = json.loads(_read(place, head_size, by))
    if not isinstance(head, dict):
        raise Gone
    return head, _read(place, body_size, by)


def _read(place: int, size: int, by: float | None) -> bytes:
    got = bytearray()
    while len(got) < size:
        _wait(place, select.POLLIN, by)
        try:
            part = os.read(place, min(size - len(got), _CHUNK))
        except BlockingIOError:
            continue
        except OSError as error:
            raise Gone from error
        if not part:
            raise Gone
        got += part
    return bytes(got)


def _wait(place: int, what: int, by: float | None) -> None:
    """Return when the descriptor is ready. Raises TooLate."""
    if by is None:
        return  # it blocks by itself
    poll = select.poll()
    poll.register(place, what)
    left = by - time.monotonic()
    if left <= 0 or not poll.poll(left * 1000):
        raise TooLate
