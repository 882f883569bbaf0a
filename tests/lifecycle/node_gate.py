"""Blocks the nodes of a script until the script waits for their result.

A script that cancels a run while its node sleeps 200 ms expects the cancel to arrive in
time on any machine. Therefore every node first waits until the gate is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class NodeGate:
    """Blocks each node until the script waits for something other than its start."""

    def __init__(self) -> None:
        self._closed = True
        self._held = ""  # the node that stays blocked while the gate is open
        self._changed = asyncio.Event()

    async def hold(self, node: str) -> None:
        """Return when the gate is open for this node."""
        while self._closed or node == self._held:
            await self._changed.wait()

    @contextmanager
    def opened(self, *, held: str = "") -> Iterator[None]:
        """Open the gate for all nodes except `held`."""
        before = self._closed, self._held
        self._set(closed=False, held=held)
        try:
            yield
        finally:
            self._set(closed=before[0], held=before[1])

    def _set(self, *, closed: bool, held: str) -> None:
        self._closed, self._held = closed, held
        self._changed.set()
        self._changed = asyncio.Event()
