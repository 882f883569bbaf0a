"""Command of the tests on the database of the processes under test.

python -m tests.crash.drive launch '{"count": 5, "params": {…}}'   → run ids
python -m tests.crash.drive report                                → rows of all runs
python -m tests.crash.drive act '{"do": "cancel", "run": "…"}'
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from asgiref.sync import async_to_sync, sync_to_async  # noqa: E402 - likewise
from django.contrib.auth.models import User  # noqa: E402
from django.core.serializers.json import DjangoJSONEncoder  # noqa: E402 - needs Django set up

from workflows import bulk  # noqa: E402
from workflows.audit.verifier import Checker  # noqa: E402
from workflows.deliveries import following  # noqa: E402
from workflows.deliveries import service as destinations  # noqa: E402
from workflows.engine.errors import RequestError  # noqa: E402
from workflows.infra import clock, notifications  # noqa: E402
from workflows.models import (  # noqa: E402
    Attempt,
    Checkpoint,
    Decision,
    Run,
    StageItem,
    Worker,
    with_current,
)
from workflows.schedules import due_moments, service  # noqa: E402
from workflows.services.fork_plans import ForkRequest  # noqa: E402
from workflows.services.golden_runs import Expectation  # noqa: E402
from workflows.system import system  # noqa: E402
from workflows.webhooks import service as webhooks  # noqa: E402

STAGE_FIELDS = ("run_id", "attempt", "sequence", "node_name", "status", "undoes")


def launch(count: int, name: str, params: dict[str, Any]) -> list[str]:
    """Launch `count` runs of a workflow; return their ids."""
    return [str(system.execute(name, params).pk) for _ in range(count)]


def launch_each(names: list[str], params: dict[str, Any]) -> list[str]:
    """Launch a run of each of these workflows; return their ids."""
    return [str(system.execute(name, params).pk) for name in names]


def report() -> dict[str, Any]:
    """Return the rows of all runs."""
    return {
        "runs": list(
            Run.objects.order_by("id").values(
                "id",
                "status",
                "attempt",
                "sequence",
                "recoveries",
                "worker",
                "error_message",
                "closing",
                "steps_to_undo",
                "steps_undone",
            )
        ),
        "results": {str(run.pk): run.result for run in Run.objects.all()},
        "stages": [
            {name: getattr(stage, name) for name in STAGE_FIELDS}
            for run in Run.objects.order_by("id")
            for stage in with_current(run, run.stages.order_by("id"))
        ],
        "decisions": list(
            Decision.objects.order_by("id").values(
                "run_id", "attempt", "sequence", "edge_index", "to_node", "taken"
            )
        ),
        "checkpoints": list(
            Checkpoint.objects.order_by("id").values(
                "run_id", "attempt", "sequence", "node_name"
            )
        ),
        "attempts": list(
            Attempt.objects.order_by("id").values(
                "run_id", "number", "worker", "outcome"
            )
        ),
        "items": StageItem.objects.count(),
        "not_as_recorded": [str(finding) for finding in Checker().everything()],
        "workers": list(Worker.objects.values("name", "stopped_at", "running")),
    }


def act(do: str, run: str, **given: Any) -> dict[str, str]:
    """Perform an action on a run through System; return the outcome."""
    try:
        done = getattr(system, do)(run, by=None, **given)
    except RequestError as error:
        return {"refused": str(error)}
    return {"status": done.status}


def vote(
    run: str, name: str, kill: str = "", value: dict[str, Any] | None = None
) -> dict[str, str]:
    """Respond as this person; with `kill`, this process is killed before or after the commit."""
    by, _ = User.objects.get_or_create(username=name, is_superuser=True)
    if kill == "before":
        setattr(notifications, "changed_on_commit", _die)  # noqa: B010 - in this process only
    done = system.respond(run, value or {"ok": True}, by=by, comment="fine")
    if kill == "after":
        _die()
    return {"status": done.status}


def fork(run: str, step: int, kill: str = "") -> str:
    """Fork a run, once; with `kill`, this process is killed before or after the commit."""
    if kill == "before":
        setattr(notifications, "changed_on_commit", _die)  # noqa: B010 - in this process only
    made = system.fork(run, ForkRequest(step), by=None, idempotency_key="fork")
    if kill == "after":
        _die()
    return str(made.pk)


def mark_golden(run: str) -> None:
    """Mark a run golden by its path."""
    system.mark_golden(run, Expectation(), by=None)


def send_numbers(messages: list[tuple[str, int]]) -> int:
    """Send events, each with its key and number, one after another; return their number."""
    for key, number in messages:
        system.send("number", key, {"number": number}, by=None)
    return len(messages)


def post(url: str, number: int) -> dict[str, Any]:
    """Answer a callback, as its address does; return what was accepted or refused."""
    try:
        system.receive_callback(url.rpartition("/")[2], {"number": number})
    except RequestError as error:
        return {"refused": str(error)}
    return {"accepted": number}


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def delete_many(count: int) -> int:
    """Start a bulk operation that deletes `count` cancelled runs; return the total."""
    superuser = User.objects.create_superuser("boss")
    for run_id in launch(count, "count", {"trace": os.devnull}):
        system.cancel(run_id, by=None)
    event = bulk.BULK_ACTIONS["delete"]
    return bulk.start(
        event, Run.objects.order_by("id"), by=superuser, reason="too old"
    ).total


def add_schedules(count: int, params: dict[str, Any], moments: int) -> None:
    """Create schedules of every minute with a number of missed moments."""
    superuser = User.objects.create_superuser("boss")
    for number in range(count):
        plan = service.Plan(
            f"schedule {number}",
            "* * * * *",
            "UTC",
            params=params,
            overlap="allow",
            catch_up="all",
            jitter_seconds=0,
        )
        schedule = service.create("count", plan, by=superuser)
        due_moments.plan(schedule, after=clock.now() - dt.timedelta(minutes=moments))
        schedule.save()


def add_destinations(urls: list[str]) -> None:
    """Create a webhook destination for each URL, for all events."""
    superuser = User.objects.create_superuser("boss")
    for number, url in enumerate(urls):
        destinations.create(destinations.Plan(f"receiver {number}", url), by=superuser)


def add_boss() -> None:
    """Create the superuser who launches batches."""
    User.objects.create_superuser("boss")


def add_webhook(secret: str) -> str:
    """Create an incoming webhook in GitHub's style; return its path."""
    plan = webhooks.Plan(
        "orders",
        style="github",
        secret=secret,
        mapping=[
            {"param": "trace", "source": "body", "value": "trace"},
            {"param": "rounds", "source": "constant", "value": "0"},
        ],
    )
    superuser = User.objects.create_superuser("boss")
    endpoint, _ = webhooks.create("count", plan, by=superuser)
    return endpoint.path


def follow_by_mail(address: str) -> None:
    """Let a person get a mail about each end of a run."""
    person = User.objects.create_superuser("boss", email=address)
    following.follow("workflow", "count", by=person, mail="each")


def main() -> None:
    """Execute the command line and print JSON."""
    event, given = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    events: dict[str, Callable[..., Any]] = {
        "launch": launch,
        "launch_each": launch_each,
        "report": report,
        "act": act,
        "vote": vote,
        "fork": fork,
        "mark_golden": mark_golden,
        "send_numbers": send_numbers,
        "post": post,
        "add_schedules": add_schedules,
        "add_destinations": add_destinations,
        "add_boss": add_boss,
        "add_webhook": add_webhook,
        "follow_by_mail": follow_by_mail,
        # One event loop: otherwise each action opens a separate connection to Redis.
        "delete_many": async_to_sync(sync_to_async(delete_many)),
    }
    answer = events[event](**given)
    json.dump(answer, sys.stdout, cls=DjangoJSONEncoder)


if __name__ == "__main__":
    main()
