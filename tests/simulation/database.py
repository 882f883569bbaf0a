"""Calls of the ORM that other simulated processes interrupt between transactions.

A call executes in a greenlet. Before each statement outside of a transaction, and before
each transaction, it gives control back to the event loop for a random time.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import OperationalError, connection
from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from tests.simulation.world import World

Result = TypeVar("Result")

CUT = "simulated: the connection was cut"
LOST = "simulated: the connection was cut before the reply"


class Database:
    """The connection of all simulated processes, and its faults."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._suspended: list[greenlet] = []  # kept: collecting one would continue it
        self.is_away = False

    async def call(self, function: Callable[[], Result]) -> Result:
        """Execute a function; other processes execute between its transactions."""
        call: Any = greenlet(function)
        call.gr_context = contextvars.copy_context()
        self._suspended.append(call)
        result = call.switch()
        while not call.dead:
            await asyncio.sleep(result)
            result = call.switch()
        self._suspended.remove(call)
        return result  # type: ignore[no-any-return]

    def pause(self, seconds: float) -> None:
        """Let simulated time pass inside a call."""
        parent = getcurrent().parent
        if parent is not None:
            parent.switch(seconds)

    def install(self) -> None:
        """Interrupt calls and inject faults on this thread's connection."""
        connection.execute_wrappers.append(self._execute)
        wrapper: Any = connection
        self._set_autocommit = wrapper.set_autocommit
        self._commit = wrapper._commit  # noqa: SLF001 - the place of the fault
        wrapper.set_autocommit = self._begin
        wrapper._commit = self._commit_or_lose  # noqa: SLF001

    def uninstall(self) -> None:
        """Restore the connection."""
        connection.execute_wrappers.remove(self._execute)
        wrapper: Any = connection
        del wrapper.set_autocommit, wrapper._commit  # noqa: SLF001

    def _begin(self, autocommit: bool, *args: Any, **kwargs: Any) -> None:
        if not autocommit:
            self._interrupt()
        self._set_autocommit(autocommit, *args, **kwargs)

    def _execute(
        self,
        execute: Callable[..., Any],
        sql: str,
        params: Any,
        many: bool,
        context: dict[str, Any],
    ) -> Any:
        is_alone = not connection.in_atomic_block and not sql.startswith("BEGIN")
        if is_alone:
            self._interrupt()
        result = execute(sql, params, many, context)
        if is_alone:
            self._lose_reply()
        return result

    def _commit_or_lose(self) -> None:
        self._commit()
        self._lose_reply()

    def _interrupt(self) -> None:
        if getcurrent().parent is None:
            return  # outside of the schedule
        self.pause(self._world.latency())
        if self.is_away or self._world.happens("cut"):
            raise OperationalError(CUT)

    def _lose_reply(self) -> None:
        if getcurrent().parent is not None and self._world.happens("lost reply"):
            raise OperationalError(LOST)
