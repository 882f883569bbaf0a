"""The protocol of a pool and its children: a JSON header, then bytes.

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
MAX_HEAD_BYTES, MAX_BODY_BYTES = 64 << 20, 512 << 20  # bytes

Head = dict[str, Any]


class ConnectionClosed(Exception):
    """The other side closed the pipe."""


class DeadlineExceeded(Exception):
    """The deadline passed."""


def encode(head: Head, body: bytes = b"") -> Iterator[bytes]:
    """Yield the parts of a frame."""
    header = json.dumps(head, separators=(",", ":")).encode()
    yield _LENGTHS.pack(len(header), len(body)) + header
    if body:
        yield body


def send(
    fd: int, head: Head, body: bytes = b"", *, deadline: float | None = None
) -> None:
    """Write a frame to a file descriptor.

    With `deadline`, in monotonic seconds, it does not block for longer; the
    descriptor must be non-blocking then. Raises ConnectionClosed, DeadlineExceeded.
    """
    for part in encode(head, body):
        remaining = memoryview(part)
        while remaining:
            _wait_until_ready(fd, select.POLLOUT, deadline)
            try:
                remaining = remaining[os.write(fd, remaining[:_CHUNK]) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise ConnectionClosed from error


def receive(fd: int, *, deadline: float | None = None) -> tuple[Head, bytes]:
    """Read a frame. Raises ConnectionClosed, DeadlineExceeded."""
    head_size, body_size = _LENGTHS.unpack(_read(fd, _LENGTHS.size, deadline))
    if head_size > MAX_HEAD_BYTES or body_size > MAX_BODY_BYTES:
        raise ConnectionClosed  # not a frame
    head = json.loads(_read(fd, head_size, deadline))
    if not isinstance(head, dict):
        raise ConnectionClosed
    return head, _read(fd, body_size, deadline)


def _read(fd: int, size: int, deadline: float | None) -> bytes:
    received = bytearray()
    while len(received) < size:
        _wait_until_ready(fd, select.POLLIN, deadline)
        try:
            part = os.read(fd, min(size - len(received), _CHUNK))
        except BlockingIOError:
            continue
        except OSError as error:
            raise ConnectionClosed from error
        if not part:
            raise ConnectionClosed
        received += part
    return bytes(received)


def _wait_until_ready(fd: int, event: int, deadline: float | None) -> None:
    """Wait until the descriptor is ready. Raises DeadlineExceeded."""
    if deadline is None:
        return  # blocking descriptor
    poll = select.poll()
    poll.register(fd, event)
    remaining = deadline - time.monotonic()
    if remaining <= 0 or not poll.poll(remaining * 1000):
        raise DeadlineExceeded
