"""`manage.py demo`: a week of runs that verify, in an empty database, and their removal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.support.factories import make_run
from tests.support.sealed_runs import found, sealed_run
from workflows.management.demo import fill, past, story
from workflows.models import (
    Agent,
    Approval,
    AuditEvent,
    DemoData,
    Document,
    Provider,
    Run,
    RunLabel,
    RunTally,
    Schedule,
    Stage,
    Status,
)

DAY = dt.timedelta(days=1)


def written(admin: User, events: Sequence[story.Event]) -> DemoData:
    """Return demo data of these events."""
    return fill.fill(by=admin, events=events, write=lambda _: None)


def short_story(now: dt.datetime) -> list[story.Event]:
    """Return a failed run, one that waits for a second vote, and a label."""

    def one(days: float, act: object) -> story.Event:
        return story.Event(now - days * DAY, act)  # type: ignore[arg-type]

    return [
        one(
            6,
            lambda world: world.launch(
                "archive", "summarize", "mei", text="Minutes of the archive."
            ),
        ),
        one(
            3,
            lambda world: world.launch(
                "ropes", "onboard-supplier", "jonas", company="Ropes", country="EE"
            ),
        ),
        one(
            2,
            lambda world: world.answer(
                *("ropes", "olga", "Checked."),
                decision="accept",
                credit_limit=5,
                payment_days=30,
            ),
        ),
    ]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_demo_runs_are_in_the_past_verify_and_can_be_removed(admin: User) -> None:
    now, documents = timezone.now(), Document.objects.count()
    demo = written(admin, short_story(now))
    failed, waiting, pending = Run.objects.order_by("pk")
    assert (failed.status, waiting.status) == (Status.FAILED, Status.WAITING)
    assert pending.status == Status.PENDING
    second = dt.timedelta(seconds=20)
    assert abs(failed.created_at - (now - 6 * DAY)) < second
    assert failed.completed_at is not None
    assert abs(failed.completed_at - (now - 6 * DAY)) < 3 * second
    stages = Stage.objects.filter(run=failed).values_list("created_at", flat=True)
    assert stages
    assert all(moment < now - 5 * DAY for moment in stages)
    approval = Approval.objects.get(run=waiting)
    assert approval.expires_at is not None
    assert abs(approval.expires_at - approval.created_at - 14 * DAY) < 3 * second
    vote = AuditEvent.objects.get(run=waiting, action="respond")
    assert abs(vote.created_at - (now - 2 * DAY)) < second
    assert RunTally.objects.get(status="failed").hour < now - 5 * DAY
    assert found() == []

    assert not Provider.objects.get().is_enabled
    assert Schedule.objects.count() == 2
    assert User.objects.count() == 1 + len(story.PEOPLE)
    assert not any(
        person.has_usable_password() for person in User.objects.exclude(pk=admin.pk)
    )
    assert demo.rows["runs"] == [str(run.pk) for run in (failed, waiting, pending)]

    call_command("demo", remove=True, stdout=StringIO())
    for model in (Run, Provider, Agent, Schedule, DemoData, RunLabel):
        assert not model._default_manager.exists(), model  # noqa: SLF001
    assert Document.objects.count() == documents
    assert list(User.objects.all()) == [admin]
    assert found() == []


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(600)
def test_the_whole_week_has_every_workflow_and_verifies(admin: User) -> None:
    demo = written(admin, story.events(timezone.localtime()))
    runs = Run.objects.all()
    assert runs.count() == len(demo.rows["runs"]) > 30
    assert set(runs.values_list("workflow_name", flat=True)) == {
        *("classify-document", "onboard-supplier", "reconcile-payments"),
        *("summarize", "reasoning"),
    }
    statuses = set(runs.values_list("status", flat=True))
    assert statuses == set(Status.values) - {Status.RUNNING}
    assert Approval.objects.filter(status="open").count() > 2
    created = list(runs.order_by("pk").values_list("created_at", flat=True))
    assert created == sorted(created)
    assert found() == []


@pytest.mark.django_db
def test_a_database_with_runs_is_refused_unless_forced(admin: User) -> None:
    make_run()
    with pytest.raises(CommandError, match="--force"):
        call_command("demo")
    assert not DemoData.objects.exists()


@pytest.mark.django_db
def test_a_database_without_a_superuser_is_refused() -> None:
    with pytest.raises(CommandError, match=r"manage\.py prepare"):
        call_command("demo")


def test_the_week_is_in_order_and_not_in_the_future() -> None:
    now = dt.datetime(2026, 11, 30, 6, 0, tzinfo=dt.UTC)
    times = [event.at for event in story.events(now)]
    assert times == sorted(times)
    assert now - 8 * DAY < times[0] < times[-1] < now


@pytest.mark.django_db
def test_a_moved_run_verifies(admin: User) -> None:
    now, timeline = timezone.now(), past.Timeline()
    timeline.mark(now, now - 6 * DAY)
    with past.runs_created_at(now - 6 * DAY):
        run = sealed_run(by=admin)
    past.move([run.pk], timeline, timezone.now())
    run.refresh_from_db()
    assert now - 6 * DAY <= run.created_at < now - 5 * DAY
    assert all(
        moment < now - 5 * DAY
        for moment in Stage.objects.values_list("created_at", flat=True)
    )
    assert found() == []


def test_times_are_moved_with_the_event_before_them() -> None:
    now, timeline = timezone.now(), past.Timeline()
    assert timeline.start is None
    timeline.mark(now, now - 6 * DAY)
    timeline.mark(now + DAY, now - 2 * DAY)
    assert timeline.shift(now - DAY) == dt.timedelta()
    assert timeline.shift(now) == timeline.shift(now + DAY / 2) == -6 * DAY
    assert timeline.shift(now + 2 * DAY) == -3 * DAY


def test_new_runs_get_ids_of_the_time_only_inside_the_block() -> None:
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    before = Run().pk
    with past.runs_created_at(moment):
        inside = Run().pk
    assert inside.version == 7
    assert inside < before < Run().pk
