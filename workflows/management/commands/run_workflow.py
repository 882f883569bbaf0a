"""`manage.py run_workflow NAME`: launch a run from a shell."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.files import File
from django.core.management.base import BaseCommand
from django.core.serializers.json import DjangoJSONEncoder

from workflows.documents.service import store_document
from workflows.engine.errors import RequestError
from workflows.execution import workers
from workflows.execution.worker import Worker
from workflows.infra.database_threads import run_in_db
from workflows.models import Document, Run, Status
from workflows.pages.forms.launch_form import MAX_KEY_LENGTH
from workflows.runtime.errors import ProviderError
from workflows.services.entry_rules import MAX_PRIORITY
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from uuid import UUID

BAD_INPUT = 2
EXIT_CODES = {
    Status.COMPLETED: 0,
    Status.FAILED: 1,
    Status.WAITING: 3,  # for an approval
    Status.CANCELLED: 4,
}
STAGE_FIELDS = (
    "attempt", "sequence", "node_name", "iteration", "tries", "status", "duration_ms",
    "error_message", "created_at",
)  # fmt: skip
POLL_SECONDS = 0.2  # another process may execute the run


class Command(BaseCommand):
    """Launch a run; with --wait, follow it and exit with a code for its status."""

    help = (
        "Launch a run of a workflow. With --wait: exits 0 completed, 1 failed, 2 bad"
        " input, 3 waiting for an approval, 4 cancelled."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the workflow, its params and the options."""
        parser.add_argument("name", help="name of the workflow")
        parser.add_argument(
            "--param",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="a parameter as JSON or else text; KEY=@FILE uploads a file",
        )
        parser.add_argument(
            "--profile",
            help="profile of the workflow, '' for its defaults; by weight if omitted",
        )
        parser.add_argument(
            "--priority",
            type=int,
            default=0,
            choices=range(-MAX_PRIORITY, MAX_PRIORITY + 1),
            metavar=f"-{MAX_PRIORITY}…{MAX_PRIORITY}",
            help="pending runs with a higher priority start first",
        )
        parser.add_argument(
            "--deadline",
            type=float,
            metavar="SECONDS",
            help="the run fails after this time, also while it waits",
        )
        parser.add_argument(
            "--key",
            help="idempotency key: the same launch with the same key returns the same run",
        )
        parser.add_argument(
            "--wait", action="store_true", help="follow the run until it ends or waits"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Launch, follow, report."""
        try:
            params = dict(_param(text) for text in options["param"])
            run = system.execute(
                options["name"],
                params,
                profile=options["profile"],
                priority=options["priority"],
                deadline=_deadline(options["deadline"]),
                idempotency_key=_key(options["key"]),
            )
        except (RequestError, ProviderError, ValueError) as error:
            self._fail(str(error), as_json=options["json"])
        if options["wait"]:
            quiet = options["json"]
            run = asyncio.run(self._follow(run.pk, quiet=quiet))
        self._report(run, as_json=options["json"])
        if options["wait"]:
            sys.exit(EXIT_CODES[Status(run.status)])

    def _fail(self, message: str, *, as_json: bool) -> None:
        self.stderr.write(self.style.ERROR(message))
        if as_json:
            self.stdout.write(json.dumps({"error": message}))
        sys.exit(BAD_INPUT)

    async def _follow(self, run_id: UUID, *, quiet: bool) -> Run:
        """Follow the run until it ends or waits for an approval.

        Embeds a worker for this time if no worker is alive.
        """
        worker, working = None, None
        if not await run_in_db(workers.any_alive):
            worker = Worker(capacity=1)
            working = asyncio.create_task(worker.run())
        try:
            return await self._watch(run_id, quiet=quiet)
        finally:
            if worker and working:
                await worker.drain()
                await working

    async def _watch(self, run_id: UUID, *, quiet: bool) -> Run:
        printed: set[str] = set()
        while True:
            run = await run_in_db(system.find_run, run_id)
            if not quiet:
                for line in await run_in_db(_progress, run):
                    if line not in printed:
                        printed.add(line)
                        self.stderr.write(line)
            if run.is_ended or (
                run.status == Status.WAITING and run.waiting_for == "approval"
            ):
                return run
            await asyncio.sleep(POLL_SECONDS)

    def _report(self, run: Run, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(_as_json(run), cls=DjangoJSONEncoder))
            return
        self.stdout.write(f"Run {run.pk} is {run.get_status_display().lower()}.")
        if run.error_message:
            self.stdout.write(run.error_message)
        if run.undo_text:
            self.stdout.write(f"Completed steps: {run.undo_text}.")
        if run.status == Status.WAITING:
            approval = run.approvals.order_by("-sequence").first()
            self.stdout.write(approval.question if approval else "The run is waiting.")
        if run.result is not None:
            outcome = run.result.get(
                "result", run.result
            )  # a field of that name, if any
            self.stdout.write(json.dumps(outcome, indent=2))


def _deadline(seconds: float | None) -> dt.timedelta | None:
    """Return a deadline. Raises ValueError for one that is not a time."""
    try:
        return None if seconds is None else dt.timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise ValueError("The deadline is not a number of seconds.") from error


def _key(text: str | None) -> str | None:
    """Return an idempotency key. Raises ValueError for an empty or a long one."""
    if text is not None and not 0 < len(text) <= MAX_KEY_LENGTH:
        raise ValueError(f"--key takes 1 to {MAX_KEY_LENGTH} characters.")
    return text


def _param(text: str) -> tuple[str, Any]:
    """Return one parameter's name and value. Raises ValueError, ProviderError."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"“{text}” is not a parameter: use --param KEY=VALUE.")
    if value.startswith("@"):
        return key, str(_uploaded(Path(value[1:])).pk)
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):  # not JSON: text
        return key, value


def _uploaded(path: Path) -> Document:
    """Store a file. Raises ValueError if it cannot be read, ProviderError."""
    try:
        with path.open("rb") as file:
            return store_document(path.name, File(file))
    except OSError as error:
        raise ValueError(
            f"The file {path} cannot be read: {error.strerror}."
        ) from error


def _progress(run: Run) -> list[str]:
    """Return the progress as lines of text."""
    lines = [
        f"  {stage.sequence:>3}. {stage.node_name}: {stage.get_status_display().lower()}"
        for stage in system.get_stages(run.pk)
    ]
    lines += [
        f"       {decision.from_node} → {decision.to_node}: {decision.reason or 'always'}"
        for decision in system.get_decisions(run.pk)
        if decision.taken
    ]
    return lines


def _as_json(run: Run) -> dict[str, Any]:
    """Return the run, its stages and its decisions as plain values."""
    return {
        "run": {
            "id": run.pk,
            "workflow": run.workflow_name,
            "status": run.status,
            "params": run.params,
            "result": run.result,
            "error_code": run.error_code,
            "error_message": run.error_message,
            "created_at": run.created_at,
            "started_at": run.started_at,
            "completed_at": run.completed_at,
        },
        "stages": [
            {name: getattr(stage, name) for name in STAGE_FIELDS}
            for stage in system.get_stages(run.pk)
        ],
        "decisions": list(
            system.get_decisions(run.pk).values(
                "attempt", "sequence", "edge_index", "from_node", "to_node",
                "predicate_name", "predicate_result", "reason", "values", "taken",
                "decided_by__username", "comment", "created_at",
            )
        ),
    }  # fmt: skip
