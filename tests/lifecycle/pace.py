"""Time for the nodes of a script: it passes while the script waits, and stands otherwise.

A script that cancels a run while its node sleeps 200 ms means the cancel to come in time,
however slow the machine is. So every node begins by waiting for time to pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """Holds each node until the script waits for something else than its start."""

    def __init__(self) -> None:
        self._stands = True
        self._held = ""  # the node that is held although time passes
        self._changed = asyncio.Event()

    async def hold(self, node: str) -> None:
        """Return once time passes for this node."""
        while self._stands or node == self._held:
            await self._changed.wait()

    @contextmanager
    def passing(self, *, held: str = "") -> Iterator[None]:
        """Within, time passes, but for one node."""
        before = self._stands, self._held
        self._set(stands=False, held=held)
        try:
            yield
        finally:
            self._set(stands=before[0], held=before[1])

    def _set(self, *, stands: bool, held: str) -> None:
        self._stands, self._held = stands, held
        self._changed.set()
        self._changed = asyncio.Event()
