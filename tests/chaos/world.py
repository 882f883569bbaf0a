"""A small history without faults, with one worker in this process and one user.

`python -m tests.chaos.world DIRECTORY` executes one run of most workflows, each ended in its
way, and writes ledger and journal to the directory, as clients do in the suite. The tests of
the invariants damage copies of it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 - needs Django set up

from tests.chaos import ledger  # noqa: E402 - likewise
from tests.support.workers import ended, reaches, working  # noqa: E402 - likewise
from workflows import bulk  # noqa: E402 - likewise
from workflows.execution import hourly_counts  # noqa: E402 - likewise
from workflows.infra.database_threads import run_in_db  # noqa: E402 - likewise
from workflows.models import Run, Stage  # noqa: E402 - likewise
from workflows.system import system  # noqa: E402 - likewise

if TYPE_CHECKING:
    from uuid import UUID

PLAIN = ("sequence", "items", "parent", "timer", "retries", "thread", "approval")
ANSWER = {"kind": "answer of server", "path": "/", "status": 200}
EXIT = {"kind": "exit", "process": "worker", "code": -9}


class Person:
    """Sends requests and logs their responses."""

    def __init__(self, directory: Path) -> None:
        self._user = User.objects.create_superuser("admin")
        self._directory = directory
        self._orders = 0

    def note(self, kind: str, run_id: UUID, **given: Any) -> None:
        """Append to the journal."""
        line = {"kind": kind, "run": run_id.hex, "reply": "accepted", "sends": 1}
        ledger.append(self._directory / "journal", line | given)

    def launch(self, name: str) -> UUID:
        """Launch a run."""
        self._orders += 1
        params = {
            "order": f"order-{self._orders}",
            "ledger": str(self._directory / "ledger"),
            "pace": 0,
        }
        run = system.execute(f"chaos-{name}", params, by=self._user)
        self.note("launch", run.pk, order=params["order"])
        return run.pk

    def cancel(self, run_id: UUID) -> None:
        """Cancel a run."""
        system.cancel(run_id, by=self._user, reason="cancel-1")
        self.note("cancel", run_id, reason="cancel-1")

    def resume(self, run_id: UUID) -> None:
        """Resume a run."""
        system.resume(run_id, by=self._user, reason="resume-1")
        self.note("resume", run_id, reason="resume-1", attempt=1)

    def respond(self, run_id: UUID) -> None:
        """Respond to an approval."""
        outcome = {"outcome": "publish"}
        system.respond(run_id, outcome, by=self._user, comment="respond-1")
        self.note("respond", run_id, reason="respond-1", outcome="publish")

    def resume_all(self, run_ids: list[UUID]) -> None:
        """Resume some runs in one operation."""
        runs = Run.objects.filter(pk__in=run_ids)
        action = bulk.BULK_ACTIONS["resume"]
        bulk.start(action, runs, by=self._user, reason="bulk-1")
        for run_id in run_ids:
            self.note("bulk", run_id, reason="bulk-1")

    def watch(self, run_id: UUID) -> None:
        """Record what a page of a run would have shown."""
        run = Run.objects.get(pk=run_id)
        steps = Stage.objects.filter(run=run, status="completed")
        shown = [*steps.values_list("sequence", flat=True)]
        statuses = ["running", run.status]
        self.note("watch", run_id, statuses=statuses, steps=shown, stayed=True)


async def build(directory: Path) -> None:
    """Execute the history."""
    person = await run_in_db(Person, directory)
    async with working():
        runs = {name: await run_in_db(person.launch, name) for name in PLAIN}
        failing = [await run_in_db(person.launch, "failing") for _ in range(3)]
        cancelled = await run_in_db(person.launch, "approval")
        for run_id in failing:
            await reaches(run_id, "failed")
        await run_in_db(person.resume, failing[0])
        await run_in_db(person.resume_all, [failing[1]])
        await reaches(cancelled, "waiting")
        await run_in_db(person.cancel, cancelled)
        await reaches(runs["approval"], "waiting")
        await run_in_db(person.respond, runs["approval"])
        limited = [await run_in_db(person.launch, "limited") for _ in range(3)]
        branches = await run_in_db(person.launch, "branches")
        undone = await run_in_db(person.launch, "undo")
        for run_id in [*runs.values(), *failing, *limited, branches, undone]:
            await ended(run_id)
    for run_id in [*runs.values(), cancelled]:
        await run_in_db(person.watch, run_id)
    await run_in_db(hourly_counts.count_all)
    ledger.append(directory / "journal", ANSWER)
    ledger.append(directory / "journal", EXIT)


if __name__ == "__main__":
    asyncio.run(build(Path(sys.argv[1])))
