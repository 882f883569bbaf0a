"""`python -m bench.pages [--rounds N] [--admin | --only WORKFLOW]`: pages over many runs.

Asks the pages of the database that DATABASE_URL names, in this process, as an operator
would: everything from the request to the last byte, without a network. Fill the database
before: `python -m bench.history --runs 1000000 --decisions 10000000`. With `--admin`, the
lists of Django admin; with `--only`, as a person who may see one workflow only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGES = {
    "home": "/",
    "workflows": "/workflows/",
    "workflow": "/workflows/made-up-intake/",
    "runs": "/runs/",
    "runs, deep": "/runs/?before={middle}",
    "runs of a workflow": "/runs/?workflow=made-up-review",
    "runs of a rare workflow": "/runs/?workflow=made-up-archive",
    "runs, none of that workflow": "/runs/?workflow=nowhere",
    "runs, failed": "/runs/?status=failed",
    "runs, failed of a rare workflow": "/runs/?workflow=made-up-archive&status=failed",
    "runs, running": "/runs/?status=running",
    "runs of a person": "/runs/?who=made-up-3",
    "runs, failed of a person and workflow": "/runs/?who=made-up-3&status=failed"
    "&workflow=made-up-billing",
    "runs of a day": "/runs/?from={day}&to={day}",
    "runs, failed of a day": "/runs/?from={day}&to={day}&status=failed",
    "runs with a label": "/runs/?label=audit",
    "runs with a label of a rare workflow": "/runs/?label=audit"
    "&workflow=made-up-archive",
    "runs by a common value": "/runs/?where=result.label+%3D+secret",
    "runs by a rare value": "/runs/?where=params.document+%3D+doc-77",
    "runs by two values": "/runs/?where=result.label+%3D+secret+and+result.pages+%3D+7",
    "runs by a value nobody has": "/runs/?where=result.label+%3D+nowhere",
    "runs by value, of a rare workflow": "/runs/?workflow=made-up-archive"
    "&where=result.label+%3D+secret",
    "runs by text in errors": "/runs/?text=refused",
    "runs by a rare text in errors": "/runs/?text=page+77+is",
    "runs by a text nobody has": "/runs/?text=nowhere",
    "runs, columns": "/runs/?fields=params.threshold,result.label&column=labels,by",
    "runs by an expression": "/runs/?q=status+%3D+failed+and+duration+%3E+1m",
    "runs by alternatives": "/runs/?q=status+%3D+failed+or+result.label+%3D+secret",
    "runs by a text": "/runs/?q=refused",
    "runs, longest first": "/runs/?sort=-duration",
    "search": "/search/?q=refused",
    "palette": "/search/palette/?q=launch",
    "decisions": "/decisions/",
    "decisions, deep": "/decisions/?before=5000000",
    "decisions of a workflow": "/decisions/?workflow=made-up-review",
    "decisions of a rare workflow": "/decisions/?workflow=made-up-archive",
    "decisions of an edge": "/decisions/?workflow=made-up-intake&edge={edge}",
    "decisions of an edge, rejected": "/decisions/?workflow=made-up-intake&edge={edge}"
    "&outcome=rejected",
    "decisions of an edge of a rare workflow": "/decisions/?workflow=made-up-archive"
    "&edge={edge}",
    "decisions of a condition": "/decisions/?predicate=was_approved",
    "decisions of a person": "/decisions/?who=made-up-3",
    "decisions of a person about an edge": "/decisions/?who=made-up-3&workflow=made-up-archive"
    "&edge={edge}",
    "decisions of a day": "/decisions/?from={day}&to={day}",
    "decisions of a day, rejected, of an edge": "/decisions/?from={day}&to={day}"
    "&workflow=made-up-review&edge={edge}&outcome=rejected",
    "decisions, the last 90 days of a workflow": "/decisions/?workflow=made-up-intake"
    "&when=90d",
    "decisions by a value": "/decisions/?where=confidence+%3D+0.931",
    "decisions by a value nobody read": "/decisions/?where=confidence+%3D+7",
    "decisions by a value, of an edge": "/decisions/?workflow=made-up-archive&edge={edge}"
    "&where=confidence+%3D+0.931",
    "approvals": "/approvals/",
    "workers": "/workers/",
    "compare": "/compare/?a={middle}&b={other}",
}

ADMIN = {
    "runs": "run/",
    "runs, the last page that is counted": "run/?p=200",
    "runs, failed": "run/?status__exact=failed",
    "runs of a rare workflow": "run/?workflow_name=made-up-archive",
    "runs, failed, of a rare workflow": "run/?workflow_name=made-up-archive"
    "&status__exact=failed",
    "runs by id": "run/?q={middle}",
    "runs by a text": "run/?q=made-up-archive",
    "runs by a text nobody has": "run/?q=nowhere",
    "runs of today": "run/?created_at__gte={day}",
    "a run": "run/{middle}/change/",
    "what people did to a run": "run/{middle}/history/",
    "attempts": "attempt/",
    "stages": "stage/",
    "stages of a run": "stage/?q={middle}",
    "stages that failed": "stage/?status__exact=failed",
    "decisions": "decision/",
    "decisions of a run": "decision/?q={middle}",
    "decisions that were taken": "decision/?taken__exact=1",
    "checkpoints": "checkpoint/",
    "approvals": "approval/",
    "audit events": "auditevent/",
    "audit events of a run": "auditevent/?q={middle}",
    "calls": "agentcall/",
    "documents": "document/",
    "workers": "worker/",
    "jobs": "bulkjob/",
    "what retention would let go": "retention/preview/",
}


def main() -> None:
    """Print a line a page: median and slowest, queries, bytes."""
    parser = argparse.ArgumentParser(prog="python -m bench.pages", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--admin", action="store_true", help="the lists of Django admin")
    which.add_argument("--only", default="", help="as who sees this workflow only")
    given = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django  # noqa: PLC0415 - after the environment is set

    django.setup()
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["testserver"]
    for name in ("made-up-intake", "made-up-review", "made-up-archive"):
        register(name)
    client = Client()
    client.force_login(narrow(given.only) if given.only else operator())
    facts = samples()
    print("| Page | Median | Slowest | Queries | kB |")  # noqa: T201 - its output
    print("| --- | ---: | ---: | ---: | ---: |")  # noqa: T201
    begin = "/admin/workflows/" if given.admin else ""
    for name, rest in (ADMIN if given.admin else PAGES).items():
        address = begin + rest.format(**facts)
        print(measured(client, name, address, given.rounds))  # noqa: T201


def operator() -> User:
    """Return a person who may do everything."""
    from django.contrib.auth.models import User  # noqa: PLC0415

    person, _ = User.objects.get_or_create(
        username="bench", defaults={"is_staff": True, "is_superuser": True}
    )
    return person


def narrow(workflow: str) -> User:
    """Return a person who may see the runs of one workflow, where rights are closed."""
    from django.conf import settings  # noqa: PLC0415
    from django.contrib.auth.models import Group, User  # noqa: PLC0415

    from workflows.models import WorkflowPermission  # noqa: PLC0415

    settings.DEFAULT_ACCESS = "closed"
    person, _ = User.objects.get_or_create(username="bench-narrow")
    group, _ = Group.objects.get_or_create(name="bench-narrow")
    WorkflowPermission.objects.get_or_create(
        workflow_name=workflow,
        group=group,
        defaults={"can_view": True, "can_read": True},
    )
    person.groups.set([group])
    return person


def register(name: str) -> None:
    """Install a workflow whose graph is that of the made-up runs."""
    from workflows.engine import State, Workflow, node, otherwise, predicate, when  # noqa: PLC0415
    from workflows.registry import registry  # noqa: PLC0415

    def stay(state: State) -> State:
        return state

    def no(_state: State) -> bool:
        return False

    read, judge, review, publish = (
        node(name=name)(stay) for name in ("read", "judge", "review", "publish")
    )
    incomplete, confident, approved = (
        predicate(name=name)(no)
        for name in ("is_incomplete", "is_confident", "was_approved")
    )
    registry.register(
        Workflow(
            name,
            state=State,
            start=read,
            routes={
                read: judge,
                judge: [
                    when(incomplete, read),
                    when(confident, publish),
                    otherwise(review),
                ],
                review: [when(approved, publish), otherwise(judge)],
            },
        )
    )


def samples() -> dict[str, str]:
    """Return the values to insert into the addresses."""
    from workflows.models import Run  # noqa: PLC0415

    first, last = (
        Run.objects.order_by("pk").first(),
        Run.objects.order_by("-pk").first(),
    )
    if first is None or last is None:
        raise SystemExit("The database is empty: python -m bench.history fills it.")
    middle = first.created_at + (last.created_at - first.created_at) / 2
    from workflows.models.id_ranges import run_id_at  # noqa: PLC0415

    two = Run.objects.filter(pk__gte=run_id_at(middle)).order_by("pk")[:2]
    return {
        "middle": str(two[0].pk),
        "other": str(two[1].pk),
        "day": middle.date().isoformat(),
        "edge": quote_plus("judge→review"),
    }


def measured(client: object, name: str, address: str, rounds: int) -> str:
    """Return one line of the table."""
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    times, size = [], 0
    for _ in range(rounds):
        began = time.perf_counter()
        answer = client.get(address)  # type: ignore[attr-defined]
        size = len(answer.content)
        times.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:  # noqa: PLR2004
            return f"| {name} | answers {answer.status_code} | | | |"
    with CaptureQueriesContext(connection) as queries:
        client.get(address)  # type: ignore[attr-defined]
    middle, most = statistics.median(times), max(times)
    return f"| {name} | {middle:.0f} ms | {most:.0f} ms | {len(queries)} | {size / 1000:.0f} |"


if __name__ == "__main__":
    main()
