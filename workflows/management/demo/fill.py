"""Fills an installation with a week of demo data, and removes it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import Group, User
from django.utils import timezone

from workflows.audit import audit_events
from workflows.documents.service import delete_document, store_document
from workflows.errors import InUse
from workflows.execution import hourly_counts
from workflows.execution.worker import Worker
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.management.demo import past, story
from workflows.management.demo.model_server import MODEL, model_server
from workflows.models import Agent, DemoData, Document, Price, Provider, Run, Status
from workflows.models import Schedule as ScheduleRow
from workflows.samples import samples
from workflows.schedules import service as schedules
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

PROVIDER: Final = "Demo model"
AGENT: Final = "demo"
POLL_SECONDS: Final = 0.05
EVENT_SECONDS: Final = 120  # for the runs that an event moves; then the demo fails
REASON: Final = "Demo data is removed."

Write = Callable[[str], object]


def fill(*, by: User, events: Sequence[story.Event], write: Write) -> DemoData:
    """Execute the events one after another, and move what they recorded to their times."""
    demo = DemoData.objects.create()
    timeline = past.Timeline()
    with model_server() as url:
        world = story.World(_people(demo), _documents(demo, by))
        provider = _model(demo, url, by)
        try:
            asyncio.run(_execute(events, world, demo, timeline, write))
        finally:
            with audit_events.changing("save provider", provider, by=by):
                provider.is_enabled = False  # its server ends with this command
                provider.save()
    ended = timezone.now()
    past.move(_runs(demo), timeline, ended)
    hourly_counts.count_all()
    _schedules(demo, world)
    _leave_pending(demo, world)
    return demo


def _leave_pending(demo: DemoData, world: story.World) -> None:
    """Launch a run that the next worker executes."""
    world.launch(
        "pending",
        "classify-document",
        "mei",
        document=world.documents[story.PILOT_BOAT],
    )
    demo.add("runs", world.runs["pending"].pk)


def _people(demo: DemoData) -> dict[str, User]:
    """Create the people, who cannot sign in; names in use get a number."""
    people = {}
    for name, role in story.PEOPLE.items():
        free, number = name, 2
        while User.objects.filter(username=free).exists():
            free, number = f"{name}{number}", number + 1
        person = User.objects.create_user(free)  # without a password
        person.groups.set(Group.objects.filter(name=role))
        demo.add("people", person.pk)
        people[name] = person
    return people


def _documents(demo: DemoData, by: User) -> dict[str, str]:
    """Return the sample documents by name; store those that are missing."""
    found = {}
    for sample in samples():
        document = Document.objects.filter(name=sample.name).first()
        if document is None:
            document = store_document(sample.name, io.BytesIO(sample.data), by=by)
            demo.add("documents", document.pk)
        found[sample.name] = str(document.pk)
    return found


def _model(demo: DemoData, url: str, by: User) -> Provider:
    """Create the provider of the demo, its agent and the price of its model."""
    is_default = not Agent.objects.filter(is_default=True).exists()
    provider = Provider(name=_free(PROVIDER, Provider), base_url=url, tries=1)
    agent = Agent(
        name=_free(AGENT, Agent), provider=provider, model=MODEL, is_default=is_default
    )
    price = Price(
        model=MODEL, per_million_in=Decimal("2.5"), per_million_out=Decimal(10)
    )
    for kind, row in (("provider", provider), ("agent", agent), ("price", price)):
        if kind == "price" and Price.objects.filter(model=MODEL).exists():
            continue
        with audit_events.changing(f"save {kind}", row, by=by):
            row.save()
        demo.add(f"{kind}s", row.pk)
    return provider


def _free(name: str, model: type[Provider] | type[Agent]) -> str:
    number, free = 2, name
    while model.objects.filter(name=free).exists():
        free, number = f"{name} {number}", number + 1
    return free


# Execution ------------------------------------------------------------------------------


async def _execute(
    events: Sequence[story.Event],
    world: story.World,
    demo: DemoData,
    timeline: past.Timeline,
    write: Write,
) -> None:
    """Let a worker of this process execute what each event moves, before the next one."""
    worker = Worker(capacity=2)
    working = asyncio.create_task(worker.run())
    try:
        for number, event in enumerate(events, 1):
            await run_in_db(_act, event, world, demo, timeline)
            async with asyncio.timeout(EVENT_SECONDS):
                while await run_in_db(_is_busy, demo):  # noqa: ASYNC110 - rows change
                    await asyncio.sleep(POLL_SECONDS)
            write(f"{number} of {len(events)}")
    finally:
        await worker.drain()
        await working


def _act(
    event: story.Event, world: story.World, demo: DemoData, timeline: past.Timeline
) -> None:
    timeline.mark(timezone.now(), event.at)
    before = set(world.runs)
    with past.runs_created_at(event.at):
        event.act(world)
    new = [world.runs[name].pk for name in world.runs if name not in before]
    if new:
        demo.add("runs", *new)


def _runs(demo: DemoData) -> list[UUID]:
    return list(
        Run.objects.filter(pk__in=demo.rows.get("runs", [])).values_list(
            "pk", flat=True
        )
    )


def _is_busy(demo: DemoData) -> bool:
    active = (Status.PENDING, Status.RUNNING)
    runs = Run.objects.filter(pk__in=demo.rows.get("runs", []))
    return runs.filter(status__in=active).exists()


def _schedules(demo: DemoData, world: story.World) -> None:
    """Create two schedules and pause a third one."""
    plans = (
        ("reconcile-payments", "Every morning", "30 7 * * 1-5", {
            "account": "main", "invoices": story.INVOICES, "payments": "", "wait": False,
        }),
        ("classify-document", "Monday report", "0 9 * * 1", {
            "document": world.documents[story.TIDE_GATE],
        }),
    )  # fmt: skip
    made: list[ScheduleRow] = []
    for workflow, name, cron, params in plans:
        plan = schedules.Plan(name, cron, "Europe/Berlin", params)
        made.append(schedules.create(workflow, plan, by=world.people["olga"]))
        demo.add("schedules", made[-1].pk)
    schedules.pause(
        made[-1].pk, by=world.people["amir"], reason="The report is late this month."
    )


# Removal --------------------------------------------------------------------------------


def remove(*, write: Write) -> int:
    """Remove all demo data; return the number of runs. Their audit events are kept.

    What people added to it since, such as their own runs of its agent, is kept.
    """
    count = 0
    for demo in DemoData.objects.all():
        for row in ScheduleRow.objects.filter(pk__in=demo.rows.get("schedules", [])):
            with audit_events.changing("delete schedule", row, by=None):
                row.delete()
        for run in Run.objects.filter(pk__in=demo.rows.get("runs", [])):
            _remove_run(run)
            count += 1
        _remove_model(demo)
        for document in Document.objects.filter(pk__in=demo.rows.get("documents", [])):
            with suppress(InUse):  # by a run that someone else has launched
                delete_document(document, by=None, reason=REASON)
        User.objects.filter(pk__in=demo.rows.get("people", [])).delete()
        demo.delete()
    hourly_counts.count_all()
    notifications.lists_changed_on_commit()
    write(f"{count} runs removed.")
    return count


def _remove_run(run: Run) -> None:
    """Cancel a run that has not ended, and delete it."""
    if not run.is_ended:
        run = system.cancel(run.pk, by=None, reason=REASON)
    if run.is_ended:
        system.delete_run(run.pk, by=None, reason=REASON)


def _remove_model(demo: DemoData) -> None:
    agents = Agent.objects.filter(pk__in=demo.rows.get("agents", []))
    providers = Provider.objects.filter(pk__in=demo.rows.get("providers", []))
    prices = Price.objects.filter(pk__in=demo.rows.get("prices", []))
    kept = providers.filter(agents__isnull=False).exclude(agents__in=agents)
    for kind, rows in (
        ("agent", agents),
        ("provider", providers.exclude(pk__in=list(kept.values_list("pk", flat=True)))),
        ("price", prices),
    ):
        for row in rows:
            with audit_events.changing(f"delete {kind}", row, by=None):
                row.delete()
