"""Limits on the bodies of requests, enforced while they arrive.

Django reads a body to its end before it looks at the session. Clients without
an account must not fill the disk: without a session, only a body of the size of a form is
read, and all such bodies together have a limit. A refused body is read to its end and
discarded: a browser shows no response that it receives while it is still sending.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from project import refusal_statuses
from project.refusal_statuses import Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

FORM_BYTES = 1_000_000  # of a request beside the file it carries
BYTES_PER_SECOND = 8_000  # a body that is slower is refused, after the grace period
BODIES = 64  # incomplete ones at once
BODIES_PER_ADDRESS = 16


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Limits on bodies, in bytes and seconds."""

    upload_bytes: int  # a file
    form_bytes: int  # a body without a session
    unverified_bytes: int = 25_000_000  # all bodies without a session, together
    grace_seconds: float = 10.0

    @property
    def body_bytes(self) -> int:
        """Maximum of any body."""
        return self.upload_bytes + FORM_BYTES


class Bodies:
    """The bodies that one process is reading."""

    def __init__(
        self,
        limits: BodyLimits,
        is_signed_in: Callable[[MutableMapping[str, Any]], Awaitable[bool]],
    ) -> None:
        """`is_signed_in` looks up the session of a request's scope."""
        self.limits, self.is_signed_in = limits, is_signed_in
        self.unverified = 0  # bytes of requests whose session is not verified yet
        self.incomplete: Counter[str] = Counter()  # by address

    @contextmanager
    def body(self, scope: MutableMapping[str, Any], receive: Receive) -> Iterator[Body]:
        """Give the body of a request, whose bytes count until the end of the block."""
        body = Body(self, scope, receive)
        try:
            yield body
        finally:
            body.end()


class Body:
    """The body of one request."""

    def __init__(
        self, bodies: Bodies, scope: MutableMapping[str, Any], receive: Receive
    ) -> None:
        self._bodies, self._limits, self._scope = bodies, bodies.limits, scope
        self._receive = receive
        self._began = asyncio.get_running_loop().time()
        self._announced = _content_length(scope)
        self._received = self._unverified = 0
        self.is_complete = self._is_verified = self._is_counted = False

    async def receive(self) -> Message:
        """Return the next part. Raises Refusal."""
        if self.is_complete:
            return await self._receive()
        message = await self._next()
        try:
            await self._check(message)
        except Refusal:
            await self._discard()
            raise
        return message

    def end(self) -> None:
        """Count the body no longer."""
        self._bodies.unverified -= self._unverified
        self._unverified = 0
        self._set_counted(False)

    async def _next(self) -> Message:
        """Return the next part; raise Refusal if it is late."""
        late = self._limits.grace_seconds + self._received / BYTES_PER_SECOND
        try:
            async with asyncio.timeout_at(self._began + late):
                message = await self._receive()
        except TimeoutError:
            raise refusal_statuses.too_slow() from None
        self._received += len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            self.is_complete = True
            self._set_counted(False)
        return message

    async def _check(self, message: Message) -> None:
        if not self.is_complete:
            self._count_incomplete()
        size = max(self._received, self._announced)
        if size > self._limits.body_bytes:
            raise refusal_statuses.too_large(self._limits.upload_bytes)
        if self._is_verified:
            return
        if size > self._limits.form_bytes:
            if not await self._bodies.is_signed_in(self._scope):
                raise refusal_statuses.signed_out()
            self._is_verified = True
            self._bodies.unverified -= self._unverified
            self._unverified = 0
            return
        added = len(message.get("body", b""))
        if added and self._bodies.unverified + added > self._limits.unverified_bytes:
            raise refusal_statuses.busy()
        self._unverified += added
        self._bodies.unverified += added

    def _count_incomplete(self) -> None:
        """Count a body that is still arriving; raise Refusal if there are too many."""
        if self._is_counted:
            return
        incomplete = self._bodies.incomplete
        address = self._address
        if incomplete.total() >= BODIES or incomplete[address] >= BODIES_PER_ADDRESS:
            raise refusal_statuses.busy()
        self._set_counted(True)

    def _set_counted(self, is_counted: bool) -> None:
        if self._is_counted == is_counted:
            return
        self._is_counted = is_counted
        incomplete = self._bodies.incomplete
        incomplete[self._address] += 1 if is_counted else -1
        if not incomplete[self._address]:
            del incomplete[self._address]

    @property
    def _address(self) -> str:
        client = self._scope.get("client")
        return client[0] if client else ""

    async def _discard(self) -> None:
        """Read the rest and keep nothing; a body without end is given up."""
        while not self.is_complete and self._received <= 2 * self._limits.body_bytes:
            await self._next()


def _content_length(scope: MutableMapping[str, Any]) -> int:
    """Return the announced size, 0 if there is none; the server has checked its form."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
