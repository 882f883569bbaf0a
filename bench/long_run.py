"""A run of many steps as its rows, without running it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.utils import timezone

from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Outcome,
    Run,
    Stage,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("draft", "check", "score", "revise")
STRAY = 37  # every so many steps the loop is left for another one
FAILS = 499  # every so many steps one fails
GRAPH = {
    "entry": NODES[0],
    "exits": [],
    "nodes": [{"name": name, "kind": "node"} for name in (*NODES, "stray")],
    "edges": [
        {"source": source, "target": target, "index": index, "predicate": "is_ready"}
        for source in (*NODES, "stray")
        for index, target in enumerate((*NODES, "stray"))
    ],
}


def make_long_run(steps: int) -> Run:
    """Return a running run with this many steps, in loops of different lengths."""
    now = timezone.now()
    run = Run.objects.create(
        workflow_name="bench-long",
        status=Status.RUNNING,
        graph=GRAPH,
        created_at=now - dt.timedelta(seconds=steps),
        started_at=now - dt.timedelta(seconds=steps),
        lease_expires_at=now + dt.timedelta(hours=1),
        attempt=1,
        worker="bench",
        sequence=steps,
    )
    Attempt.objects.create(run=run, number=1, worker="bench", outcome="")
    Attempt.objects.update(outcome="" if run.status == Status.RUNNING else Outcome.LOST)
    Stage.objects.bulk_create(stages(run, steps), batch_size=500)
    Decision.objects.bulk_create(decisions(run, steps), batch_size=500)
    LogLine.objects.bulk_create(
        (
            LogLine(
                run=run, attempt=1, number=n, sequence=n, level=20, message=f"line {n}"
            )
            for n in range(1, steps + 1)
        ),
        batch_size=500,
    )
    Checkpoint.objects.bulk_create(checkpoints(run, steps), batch_size=500)
    return run


def node_of(number: int) -> str:
    """Return the node of a step."""
    return "stray" if number % STRAY == 0 else NODES[number % len(NODES)]


def stages(run: Run, steps: int) -> Iterator[Stage]:
    """Yield a stage for each step."""
    for n in range(1, steps + 1):
        is_wrong = n % FAILS == 0
        yield Stage(
            run=run,
            attempt=1,
            sequence=n,
            node_name=node_of(n),
            iteration=n,
            status="failed" if is_wrong else "completed",
            error_message="The service did not answer." if is_wrong else "",
            duration_ms=float(n % 90),
            created_at=run.created_at + dt.timedelta(seconds=n),
        )


def decisions(run: Run, steps: int) -> Iterator[Decision]:
    """Yield two ways out of each step, the second taken."""
    for n in range(1, steps + 1):
        for index in (0, 1):
            yield Decision(
                run=run,
                workflow_name=run.workflow_name,
                attempt=1,
                sequence=n,
                edge_index=index,
                from_node=node_of(n),
                to_node=node_of(n + index),
                predicate_name="is_ready",
                predicate_result=bool(index),
                reason=f"confidence {n % 100}%, threshold 80%",
                values={"confidence": n / 100},
                taken=bool(index),
            )


def checkpoints(run: Run, steps: int) -> Iterator[Checkpoint]:
    """Yield the state after each step: a whole one now and then, changes in between."""
    for n in range(steps + 1):
        is_whole = n % 50 == 0
        data = (
            f'{{"n":{n},"text":"{"x" * 2_000}"}}'
            if is_whole
            else f'[{{"op":"replace","path":"/n","value":{n}}}]'
        )
        yield Checkpoint(
            run=run,
            attempt=1,
            sequence=n,
            node_name=node_of(n) if n else "",
            kind="full" if is_whole else "delta",
            data=data,
            bytes=len(data),
        )
