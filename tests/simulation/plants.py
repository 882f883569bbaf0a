"""Faults planted into the product, to show that the simulation finds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID

from workflows.audit import seal_rows
from workflows.execution import event_delivery, queue
from workflows.execution.sql import NewRun, Offer, sqlite
from workflows.execution.sql.record_statements import IS_HELD, RECORD_RUNS


def _without_fence() -> Any:
    """Let a worker write for runs that another worker holds."""
    fenced = sqlite._MOVE_RUN  # noqa: SLF001 - the statement of the fault
    held = IS_HELD.format(run=f"{RECORD_RUNS.name}.", new="new.")
    assert held in fenced
    free = fenced.replace(held, f"{RECORD_RUNS.name}.id = new.id")
    return patch.object(sqlite, "_MOVE_RUN", free)


def _without_key() -> Any:
    """Forget the idempotency key of a launch."""
    insert = queue.insert

    def forget(
        launches: Sequence[NewRun], offer: Offer | None = None
    ) -> dict[UUID, str]:
        for launch in launches:
            launch.run.idempotency_key = None
        return insert(launches, offer)

    return patch.object(queue, "insert", forget)


def _without_seals() -> Any:
    """Do not seal the steps that a lost worker left."""
    return patch.object(
        seal_rows, "_sealed_stage", lambda _stage, _key, head: (None, head)
    )


def _without_withdrawal() -> Any:
    """Leave the other waits of a run open when the first of them is over."""
    return patch.object(event_delivery, "withdraw", lambda _runs, _reason: None)


PLANTS = {
    "fence": _without_fence,
    "key": _without_key,
    "seal": _without_seals,
    "withdrawal": _without_withdrawal,
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Execute the block with a fault in the product; "" is none."""
    if not name:
        yield
        return
    with PLANTS[name]():
        yield
