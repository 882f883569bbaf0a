"""Schedules as people use them, and the runs that workers launch for them."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from tests.support.factories import make_document, make_role, make_user
from workflows.engine import State, Workflow, node
from workflows.errors import (
    InvalidParams,
    InvalidSchedule,
    NotAllowed,
    ReasonMissing,
    ScheduleNotFound,
)
from workflows.models import (
    AuditEvent,
    MomentResult,
    Run,
    Schedule,
    ScheduleMoment,
    Status,
)
from workflows.registry import registry
from workflows.schedules import due_moments, service
from workflows.schedules.service import Plan
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import Settings

NIGHTLY = "nightly"
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
DAILY = "30 2 * * *"  # in the hour that clock changes skip or repeat


class Count(State):
    """State of the scheduled workflow."""

    limit: int = 3


@pytest.fixture(autouse=True)
def scheduled_workflow(db: None) -> Iterator[None]:
    """Install a workflow that takes a limit."""

    @node
    async def work(state: Count) -> Count:
        return state

    registry.register(Workflow(NIGHTLY, state=Count, start=work, routes={}))
    yield
    registry.unregister(NIGHTLY)


@pytest.fixture
def clock() -> Iterator[Any]:
    """Set the clock of the schedules to START; `clock.return_value` moves it."""
    with mock.patch("workflows.infra.clock.now", return_value=START) as now:
        yield now


def schedule_of(user: User, **fields: Any) -> Schedule:
    plan = {"name": "every hour", "cron": "0 * * * *", "zone": "UTC", **fields}
    return service.create(NIGHTLY, Plan(**plan), by=user)


def results(schedule: Schedule) -> list[str]:
    return list(schedule.moments.order_by("moment").values_list("result", flat=True))


def finish_runs() -> None:
    Run.objects.exclude(status=Status.COMPLETED).update(
        status=Status.COMPLETED, completed_at=timezone.now(), lease_expires_at=None
    )


# Launches -------------------------------------------------------------------------------


def test_a_moment_launches_one_run_with_the_params_of_the_schedule(
    alice: User, clock: Any
) -> None:
    schedule = schedule_of(alice, params={"limit": 7})
    due_moments.launch_due()
    assert not Run.objects.exists()
    clock.return_value = START + HOUR
    for _ in range(3):
        due_moments.launch_due()
    run = Run.objects.get()
    assert run.params == {"limit": 7}
    assert run.launched_by == alice
    assert run.scheduled_for == START + HOUR
    assert schedule.moments.get().run_id == run.pk
    schedule.refresh_from_db()
    assert schedule.next_moment == START + 2 * HOUR


def test_a_clock_that_is_set_back_repeats_no_moment(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice)
    for hours in (1, 2, 0, 1, 2, 3):
        clock.return_value = START + hours * HOUR
        due_moments.launch_due()
        finish_runs()
    moments = schedule.moments.order_by("moment").values_list("moment", flat=True)
    assert list(moments) == [START + hours * HOUR for hours in (1, 2, 3)]
    assert Run.objects.count() == 3


@pytest.mark.parametrize(
    ("overlap", "expected", "statuses"),
    [
        ("skip", ["launched", "skipped"], ["pending"]),
        ("queue", ["launched", "queued"], ["pending"]),
        ("replace", ["launched", "launched"], ["cancelled", "pending"]),
        ("allow", ["launched", "launched"], ["pending", "pending"]),
    ],
)
def test_a_moment_during_an_earlier_run_follows_the_overlap_rule(
    alice: User, clock: Any, overlap: str, expected: list[str], statuses: list[str]
) -> None:
    schedule = schedule_of(alice, overlap=overlap)
    for hours in (1, 2):
        clock.return_value = START + hours * HOUR
        due_moments.launch_due()
    assert results(schedule) == expected
    found = Run.objects.order_by("id").values_list("status", flat=True)
    assert list(found) == statuses


def test_queued_moments_are_launched_one_after_another(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice, overlap="queue")
    for hours in (1, 2, 3):
        clock.return_value = START + hours * HOUR
        due_moments.launch_due()
    assert results(schedule) == ["launched", "queued", "queued"]
    for expected in (["launched", "launched", "queued"], ["launched"] * 3):
        finish_runs()
        due_moments.launch_due()
        assert results(schedule) == expected


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("none", ["missed", "missed", "missed", "launched"]),
        ("last", ["missed", "missed", "launched", "launched"]),
        ("all", ["launched", "launched", "launched", "launched"]),
    ],
)
def test_moments_that_passed_without_a_worker_follow_the_catch_up_rule(
    alice: User, clock: Any, catch_up: str, expected: list[str]
) -> None:
    schedule = schedule_of(alice, catch_up=catch_up, overlap="allow")
    clock.return_value = START + 4 * HOUR + dt.timedelta(seconds=30)
    due_moments.launch_due()
    assert results(schedule) == expected


def test_moments_that_are_made_up_wait_for_each_other(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice, catch_up="all", overlap="skip")
    clock.return_value = START + 3 * HOUR + dt.timedelta(minutes=30)
    due_moments.launch_due()
    assert results(schedule) == ["launched", "queued", "queued"]


def test_a_launch_that_is_refused_is_recorded_and_the_schedule_continues(
    alice: User, clock: Any, settings: Settings
) -> None:
    schedule = schedule_of(alice)
    settings.DEFAULT_ACCESS = "closed"
    clock.return_value = START + HOUR
    due_moments.launch_due()
    moment = schedule.moments.get()
    assert moment.result == MomentResult.REFUSED
    assert "not found" in moment.message
    settings.DEFAULT_ACCESS = "open"
    clock.return_value = START + 2 * HOUR
    due_moments.launch_due()
    assert results(schedule) == ["refused", "launched"]


def test_the_schedule_of_an_inactive_account_launches_nothing(
    alice: User, clock: Any
) -> None:
    schedule = schedule_of(alice)
    alice.is_active = False
    alice.save()
    clock.return_value = START + HOUR
    due_moments.launch_due()
    assert "no active account" in schedule.moments.get().message


def test_an_error_in_one_schedule_does_not_stop_the_others(
    alice: User, clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broken, healthy = schedule_of(alice, name="a"), schedule_of(alice, name="b")
    Schedule.objects.filter(pk=broken.pk).update(cron="nonsense")
    clock.return_value = START + HOUR
    due_moments.launch_due()
    assert results(healthy) == ["launched"]
    assert results(broken) == []
    assert str(broken.pk) in caplog.text


def test_a_schedule_ends_at_its_end(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice, ends_at=START + 2 * HOUR)
    for hours in range(1, 5):
        clock.return_value = START + hours * HOUR
        due_moments.launch_due()
        finish_runs()
    assert results(schedule) == ["launched"]
    schedule.refresh_from_db()
    assert schedule.next_moment is None


def test_jitter_delays_a_moment_but_keeps_its_time(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice, jitter_seconds=600)
    assert schedule.next_moment == START + HOUR
    assert schedule.due_at is not None
    assert START + HOUR < schedule.due_at < START + HOUR + dt.timedelta(minutes=10)
    clock.return_value = START + HOUR
    due_moments.launch_due()
    assert not Run.objects.exists()
    clock.return_value = schedule.due_at
    due_moments.launch_due()
    assert Run.objects.get().scheduled_for == START + HOUR


def test_a_pause_launches_and_misses_nothing(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice)
    with pytest.raises(ReasonMissing):
        service.pause(schedule.pk, by=alice, reason=" ")
    service.pause(schedule.pk, by=alice, reason="Stocktaking.")
    clock.return_value = START + 5 * HOUR
    due_moments.launch_due()
    service.resume(schedule.pk, by=alice)
    due_moments.launch_due()
    assert results(schedule) == []
    schedule.refresh_from_db()
    assert schedule.next_moment == START + 6 * HOUR


class Kills:
    """Ends a worker now and then: before a launch, before its commit, and after it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._execute, self._process = system.execute, due_moments.process
        self.moments: Counter[str] = Counter()

    def _maybe(self, moment: str) -> None:
        if self._chance.random() < 0.05:
            self.moments[moment] += 1
            raise ConnectionError(f"killed {moment}")

    def execute(self, _: Any, *args: Any, **kwargs: Any) -> Run:
        self._maybe("before the launch")
        run = self._execute(*args, **kwargs)
        self._maybe("before the commit")
        return run

    def process(self, *args: Any) -> None:
        self._process(*args)
        self._maybe("after the commit")

    @contextmanager
    def at_random(self) -> Iterator[None]:
        execute = mock.patch.object(
            type(system), "execute", autospec=True, side_effect=self.execute
        )
        with execute, mock.patch.object(due_moments, "process", self.process):
            yield


@pytest.mark.parametrize(
    ("count", "days"),
    [
        (4, 90),
        pytest.param(100, 365, marks=[pytest.mark.slow, pytest.mark.timeout(3_000)]),
    ],
)
def test_a_simulated_year_loses_and_doubles_no_moment(
    alice: User, clock: Any, count: int, days: int
) -> None:
    """Several workers with clocks that jump, and kills before and after each commit.

    The zones change their clocks on different days, Lord Howe by half an hour.
    """
    seed = 20260101
    chance = random.Random(seed)  # noqa: S311 - a test's choices
    zones = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
    crons = [DAILY, "15 1 * * 0", "0 12 */3 * *", "0 0 1 * *"]
    made = [
        schedule_of(
            alice,
            name=f"number {number}",
            cron=crons[number % 4],
            zone=zones[(1 + number + number // 4) % 4],
            catch_up="all",
            overlap="allow",
        )
        for number in range(count)
    ]
    now, end = START, START + dt.timedelta(days=days)
    kills = Kills(chance)
    with kills.at_random():
        while now < end:
            now = min(
                now + dt.timedelta(hours=chance.choice([1, 5, 30, 200, 700])), end
            )
            clock.return_value = now - dt.timedelta(hours=chance.choice([0, 0, 3]))
            for worker in ("first", "second"):
                due_moments.launch_due(worker)
    assert len(kills.moments) == 3, kills.moments
    clock.return_value = end
    while due_moments.launch_due() or Schedule.objects.filter(due_at__lte=end).exists():
        pass
    for schedule in made:
        _assert_complete(schedule, end)


def _assert_complete(schedule: Schedule, end: dt.datetime) -> None:
    """Assert that each moment from START has one run, and each day one of a daily schedule."""
    runs = Run.objects.filter(idempotency_key__startswith=f"schedule {schedule.pk.hex}")
    found = Counter(runs.values_list("scheduled_for", flat=True))
    assert found == Counter(_all_times(schedule, START, end)), schedule
    if schedule.cron == DAILY:  # whatever the calendar says of the clock
        zone = ZoneInfo(schedule.zone)
        dates = Counter(moment.astimezone(zone).date() for moment in found if moment)
        first, last = min(dates), max(dates)
        assert len(dates) == (last - first).days + 1, f"{schedule}: a day is missing"
        assert set(dates.values()) == {1}, f"{schedule}: a day has two runs"
        assert len(dates) >= (end - START).days - 1


def _all_times(
    schedule: Schedule, first: dt.datetime, last: dt.datetime
) -> Iterator[dt.datetime]:
    from itertools import takewhile

    from workflows.schedules.calendar import times_after

    following = times_after(schedule.cron, schedule.zone, first)
    return takewhile(lambda one: one <= last, following)


# People ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"cron": "x"}, "cron"),
        ({"zone": "Berlin"}, "zone"),
        ({"overlap": "x"}, "overlap"),
        ({"catch_up": "x"}, "catch_up"),
        ({"jitter_seconds": -1}, "jitter_seconds"),
        ({"priority": 1_000}, "priority"),
        ({"profile": "none"}, "profile"),
        ({"ends_at": START}, "ends_at"),
    ],
)
def test_invalid_fields_are_named(
    alice: User, clock: Any, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        schedule_of(alice, **fields)
    assert list(caught.value.errors) == [field]
    assert not Schedule.objects.exists()


def test_params_are_checked_when_the_schedule_is_saved(alice: User) -> None:
    with pytest.raises(InvalidParams):
        schedule_of(alice, params={"limit": "many"})


def test_the_person_who_changes_a_schedule_launches_its_runs_from_then_on(
    alice: User, bob: User, clock: Any
) -> None:
    schedule = schedule_of(alice)
    plan = Plan(name="every hour", cron="0 * * * *", zone="UTC", params={"limit": 9})
    service.change(schedule.pk, plan, by=bob)
    clock.return_value = START + HOUR
    due_moments.launch_due()
    assert Run.objects.get().launched_by == bob
    event = AuditEvent.objects.filter(action="change schedule").get()
    assert event.workflow_name == NIGHTLY
    assert (event.after or {})["params"] == {"limit": 9}


def test_a_schedule_is_hidden_and_protected_by_the_permissions_of_its_workflow(
    alice: User, settings: Settings
) -> None:
    schedule = schedule_of(alice)
    settings.DEFAULT_ACCESS = "closed"
    outsider, viewer, launcher = make_user(), make_user(), make_user()
    viewer.groups.add(make_role("viewer"))
    launcher.groups.add(make_role("launcher"))
    with pytest.raises(ScheduleNotFound):
        service.find(schedule.pk, by=outsider)
    assert service.find(schedule.pk, by=viewer) == schedule
    for person in (viewer, launcher):
        with pytest.raises(NotAllowed):
            service.pause(schedule.pk, by=person, reason="No.")
        with pytest.raises(NotAllowed):
            service.delete(schedule.pk, by=person, reason="No.")


def test_a_backfill_launches_what_the_preview_shows_and_nothing_twice(
    alice: User, clock: Any
) -> None:
    clock.return_value = START + 3 * HOUR
    schedule = schedule_of(alice)
    first, last = START + HOUR, START + 3 * HOUR
    shown = service.preview_backfill(schedule, first, last)
    assert shown.to_launch == [START + hours * HOUR for hours in (1, 2, 3)]
    assert service.backfill(schedule.pk, first, last, by=alice) == 3
    for _ in range(4):
        due_moments.launch_due()
        finish_runs()
    assert results(schedule) == ["launched"] * 3
    assert service.preview_backfill(schedule, first, last).to_launch == []
    assert service.backfill(schedule.pk, first, last, by=alice) == 0
    with pytest.raises(InvalidSchedule):
        service.preview_backfill(schedule, first, START + 99 * HOUR)
    with pytest.raises(InvalidSchedule, match="No moment"):
        service.preview_backfill(
            schedule, first + dt.timedelta(minutes=1), first + dt.timedelta(minutes=2)
        )


def test_a_deleted_schedule_leaves_its_runs(alice: User, clock: Any) -> None:
    schedule = schedule_of(alice)
    clock.return_value = START + HOUR
    due_moments.launch_due()
    service.delete(schedule.pk, by=alice, reason="Not needed.")
    assert Run.objects.count() == 1
    assert not ScheduleMoment.objects.exists()
    assert AuditEvent.objects.filter(action="delete schedule").count() == 1


def test_a_document_in_the_params_is_restricted_as_those_of_a_run(alice: User) -> None:
    document = make_document()
    plan = Plan(
        name="daily", cron="@daily", zone="UTC", params={"document": str(document.pk)}
    )
    service.create("classify-document", plan, by=alice)
    assert document.uses.get().workflow_name == "classify-document"
