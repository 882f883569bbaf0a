"""Pages of schedules: the list, the form with its preview, moments, backfills."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydantic import BaseModel

from tests.pages.test_consumers import opened
from tests.support.factories import make_run
from workflows.engine import State, Workflow, node
from workflows.infra import notifications
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    MomentResult,
    Run,
    Schedule,
    ScheduleMoment,
    Status,
    WorkflowPermission,
)
from workflows.registry import registry
from workflows.schedules import due_moments, service
from workflows.schedules.service import Plan

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

NIGHTLY = "nightly"
DAY = dt.timedelta(days=1)
NEW = f"/workflows/{NIGHTLY}/schedules/new/"


class Count(State):
    """State of the scheduled workflow."""

    limit: int = 3


class Limit(BaseModel):
    """Params of the scheduled workflow."""

    limit: int = 3


@pytest.fixture(autouse=True)
def scheduled_workflow(db: None) -> Iterator[None]:
    """Register a workflow with a limit."""

    @node
    async def work(state: Count) -> Count:
        return state

    registry.register(
        Workflow(NIGHTLY, state=Count, start=work, routes={}, params=Limit)
    )
    yield
    registry.unregister(NIGHTLY)


@pytest.fixture
def alice_client(alice: User, sign_in: Callable[[Any], Client]) -> Client:
    """Return a client that is signed in as alice."""
    return sign_in(alice)


def fields(**changed: str) -> dict[str, str]:
    """Return the data of the form of a schedule."""
    given = {
        "name": "every morning",
        "cron": "0 9 * * 1-5",
        "zone": "Europe/Berlin",
        "overlap": "skip",
        "catch_up": "last",
        "jitter_seconds": "0",
        "ends_at": "",
        "priority": "0",
        **changed,
    }
    return {f"launch-{name}": value for name, value in given.items()} | {"limit": "7"}


def schedule_of(user: User, **changed: Any) -> Schedule:
    plan = {"name": "every hour", "cron": "0 * * * *", "zone": "UTC", **changed}
    return service.create(NIGHTLY, Plan(**plan), by=user)


def add_moment(schedule: Schedule, result: str, **values: Any) -> ScheduleMoment:
    values = {"moment": timezone.now(), **values}
    return ScheduleMoment.objects.create(schedule=schedule, result=result, **values)


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


# Form -----------------------------------------------------------------------------------


def test_the_form_creates_a_schedule_with_params_and_rules(
    alice_client: Client, alice: User
) -> None:
    sent = fields(overlap="queue", catch_up="all", jitter_seconds="60", priority="5")
    response = alice_client.post(NEW, sent)
    found = Schedule.objects.get()
    assert response.headers["Location"] == f"/schedules/{found.pk}/"
    assert (found.owner, found.name, found.params) == (
        alice,
        "every morning",
        {"limit": 7},
    )
    assert (found.cron, found.zone) == ("0 9 * * 1-5", "Europe/Berlin")
    rules = (found.overlap, found.catch_up, found.jitter_seconds, found.priority)
    assert rules == ("queue", "all", 60, 5)


def test_a_new_schedule_uses_the_readers_zone(alice_client: Client) -> None:
    alice_client.cookies["zone"] = "Asia/Tokyo"
    assert 'value="Asia/Tokyo"' in page(alice_client, NEW)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cron": "61 * * * *"}, "The minute is invalid."),
        ({"cron": "9 o'clock"}, "Enter five fields"),
        ({"zone": "Mars/Base"}, "Enter a time zone such as Europe/Berlin."),
        ({"name": ""}, "This field is required."),
        ({"jitter_seconds": "-1"}, "greater than or equal to 0"),
        ({"ends_at": "2020-01-01T00:00"}, "Choose a time in the future."),
    ],
)
def test_a_rejected_form_has_its_errors_at_the_fields_and_keeps_the_rest(
    alice_client: Client, changed: dict[str, str], message: str
) -> None:
    response = alice_client.post(NEW, fields(**changed))
    text = response.content.decode()
    (name,) = changed
    assert response.status_code == 422
    error = text.split(f'id="launch-{name}_error"')[1].split("</ul>")[0]
    assert message in error.replace("&#x27;", "'")
    assert 'value="7"' in text
    assert not Schedule.objects.exists()


def test_a_param_that_the_workflow_rejects_is_marked(alice_client: Client) -> None:
    response = alice_client.post(NEW, fields() | {"limit": "many"})
    assert response.status_code == 422
    assert 'id="id_limit_error"' in response.content.decode()


def test_a_second_schedule_with_the_same_name_is_rejected_at_the_name(
    alice_client: Client, alice: User
) -> None:
    schedule_of(alice, name="every morning")
    response = alice_client.post(NEW, fields())
    assert "has a schedule “every morning” already" in response.content.decode()


def test_the_preview_has_a_description_and_the_next_times_with_their_zone(
    alice_client: Client,
) -> None:
    query = "?launch-cron=0+9+*+*+1-5&launch-zone=Asia/Tokyo"
    text = page(alice_client, f"/schedules/preview/{query}")
    assert "At 09:00 on Monday through Friday" in text
    assert text.count("09:00 JST") == 5
    wrong = page(alice_client, "/schedules/preview/?launch-cron=x&launch-zone=UTC")
    assert "Enter five fields" in wrong


def test_a_form_that_is_sent_without_scripts_shows_the_preview(
    alice_client: Client,
) -> None:
    response = alice_client.post(NEW, fields(name=""))
    assert "At 09:00 on Monday through Friday" in response.content.decode()


def test_changing_the_schedule_of_another_person_warns_and_takes_it_over(
    alice: User, admin: User, admin_client: Client
) -> None:
    schedule = schedule_of(alice, params={"limit": 5})
    edit = f"/schedules/{schedule.pk}/edit/"
    text = page(admin_client, edit)
    assert "This schedule belongs to alice." in text
    assert 'value="5"' in text
    admin_client.post(edit, fields(cron="@daily"))
    schedule.refresh_from_db()
    assert (schedule.owner, schedule.cron) == (admin, "0 0 * * *")


def test_params_that_may_not_be_read_are_neither_shown_nor_kept(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice, params={"limit": 4711})
    add_moment(schedule, MomentResult.REFUSED, message="4711 is too much")
    readers = Group.objects.create(name="readers")
    members = Group.objects.create(name="members")
    alice.groups.add(members)
    rows = {members: {"can_launch": True}, readers: {"can_read": True}}
    for group, flags in rows.items():
        WorkflowPermission.objects.create(
            workflow_name=NIGHTLY, group=group, can_view=True, **flags
        )
    for path in ("", "edit/"):
        text = page(alice_client, f"/schedules/{schedule.pk}/{path}")
        assert "4711" not in text
        assert "hidden" in text
    assert "4711" not in page(alice_client, "/schedules/")


# List and detail ------------------------------------------------------------------------


def test_the_list_shows_description_result_owner_and_failures(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice)
    run = make_run(workflow_name=NIGHTLY, status=Status.FAILED)
    add_moment(schedule, MomentResult.MISSED, moment=timezone.now() - DAY / 2)
    add_moment(schedule, MomentResult.LAUNCHED, run_id=run.pk)
    text = page(alice_client, "/schedules/")
    for part in (
        "At the start of every hour",
        "Failed",
        run.short_id,
        "alice",
        "1 not launched",
    ):
        assert part in text
    assert "every hour" in page(alice_client, f"/schedules/?workflow={NIGHTLY}")
    assert "No matching schedules." in page(alice_client, "/schedules/?workflow=other")


def test_an_installation_without_schedules_explains_them(alice_client: Client) -> None:
    assert "No schedules yet." in page(alice_client, "/schedules/")


def test_the_list_needs_the_same_queries_for_one_schedule_and_for_many(
    alice: User, alice_client: Client
) -> None:
    counts = []
    for numbers in (range(1), range(1, 12)):
        for number in numbers:
            schedule = schedule_of(alice, name=f"number {number}")
            run = make_run(workflow_name=NIGHTLY)
            add_moment(schedule, MomentResult.LAUNCHED, run_id=run.pk)
        page(alice_client, "/schedules/")
        with CaptureQueriesContext(connection) as queries:
            page(alice_client, "/schedules/")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_the_page_of_a_schedule_has_its_times_settings_and_moments(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice, cron="0 9 * * *", zone="Asia/Tokyo")
    run = make_run(workflow_name=NIGHTLY, status=Status.COMPLETED)
    add_moment(schedule, MomentResult.LAUNCHED, run_id=run.pk)
    add_moment(
        schedule,
        MomentResult.SKIPPED,
        moment=timezone.now() - DAY,
        message="Run x had not ended.",
    )
    text = page(alice_client, f"/schedules/{schedule.pk}/")
    assert text.count("09:00 JST") == 5
    for part in ("At 09:00", f"/runs/{run.pk}/", "Skipped", "Run x had not ended."):
        assert part in text


def test_moments_are_paged_newest_first(alice: User, alice_client: Client) -> None:
    schedule = schedule_of(alice)
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for number in range(60):
        moment = start + number * DAY
        add_moment(
            schedule, MomentResult.SKIPPED, moment=moment, message=f"no {number}."
        )
    first = alice_client.get(f"/schedules/{schedule.pk}/")
    text = first.content.decode()
    assert "no 59." in text
    assert "no 10." in text
    assert "no 9." not in text
    older = first.context["after"]
    text = page(alice_client, f"/schedules/{schedule.pk}/?before={older}")
    assert "no 9." in text
    assert "no 10." not in text


# Actions --------------------------------------------------------------------------------


def test_a_schedule_is_paused_with_a_reason_and_resumed(
    alice: User, alice_client: Client
) -> None:
    path = f"/schedules/{schedule_of(alice).pk}/"
    assert alice_client.post(f"{path}pause/").status_code == 422
    alice_client.post(f"{path}pause/", {"reason": "maintenance until noon"})
    for where in (path, "/schedules/"):
        assert "maintenance until noon" in page(alice_client, where)
    alice_client.post(f"{path}resume/")
    assert Schedule.objects.get().next_moment is not None


def test_a_schedule_is_deleted_with_a_reason(alice: User, alice_client: Client) -> None:
    path = f"/schedules/{schedule_of(alice).pk}/"
    assert alice_client.post(f"{path}delete/").status_code == 422
    alice_client.post(f"{path}delete/", {"reason": "obsolete"})
    assert not Schedule.objects.exists()


def test_a_backfill_is_previewed_and_then_confirmed(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice, cron="0 12 * * *")
    path = f"/schedules/{schedule.pk}/backfill/"
    period = {"first": "2026-01-01T00:00+00:00", "last": "2026-01-03T23:00+00:00"}
    previewed = alice_client.get(path, period).content.decode()
    assert "3 runs to launch" in previewed
    assert "Fri 2 Jan 2026, 12:00 UTC" in previewed
    assert not schedule.moments.exists()
    alice_client.post(path, period)
    assert schedule.moments.filter(result=MomentResult.QUEUED).count() == 3
    assert "Nothing to launch" in alice_client.get(path, period).content.decode()


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [
        ("2026-01-01T00:00+00:00", "2999-01-01T00:00+00:00", "has passed"),
        ("2026-01-01T00:00+00:00", "2026-01-01T01:00+00:00", "No moment"),
        ("", "2026-01-01T01:00+00:00", "This field is required."),
    ],
)
def test_a_period_that_cannot_be_backfilled_is_refused_with_the_reason(
    alice: User, alice_client: Client, first: str, last: str, message: str
) -> None:
    schedule = schedule_of(alice, cron="0 12 * * *")
    path = f"/schedules/{schedule.pk}/backfill/"
    response = alice_client.post(path, {"first": first, "last": last})
    assert response.status_code == 422
    assert message in response.content.decode()


# Other pages ----------------------------------------------------------------------------


def test_home_shows_schedules_that_launched_nothing_and_the_next_launches(
    alice: User, alice_client: Client
) -> None:
    assert "Not launched" not in page(alice_client, "/")
    add_moment(schedule_of(alice), MomentResult.MISSED)
    text = page(alice_client, "/")
    assert "Not launched" in text
    assert "next launch" in text


def test_the_page_of_a_workflow_lists_its_schedules(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice)
    text = page(alice_client, f"/workflows/{NIGHTLY}/")
    assert f"/schedules/{schedule.pk}/" in text
    assert NEW in text


def test_the_page_of_a_run_names_the_schedule_that_launched_it(
    alice: User, alice_client: Client
) -> None:
    schedule = schedule_of(alice)
    moment = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
    run = make_run(workflow_name=NIGHTLY, scheduled_for=moment)
    add_moment(schedule, MomentResult.LAUNCHED, moment=moment, run_id=run.pk)
    text = page(alice_client, f"/runs/{run.pk}/")
    assert "Scheduled for" in text
    assert f"/schedules/{schedule.pk}/" in text
    schedule.delete()
    assert "Scheduled for" in page(alice_client, f"/runs/{run.pk}/")


# Live -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_open_pages_of_schedules_show_new_results(alice: User) -> None:
    schedule = await run_in_db(schedule_of, alice)
    detail = f"/ws/lists/schedule/?schedule={schedule.pk}"
    async with (
        opened(detail, alice) as page,
        opened("/ws/lists/schedules/", alice) as rows,
    ):
        assert "No time of this schedule has come yet." in await page.next_shown()
        assert "None yet" in await rows.next_shown()
        moved = timezone.now() - dt.timedelta(seconds=1)
        due_now = {"next_moment": moved, "due_at": moved}
        await run_in_db(Schedule.objects.filter(pk=schedule.pk).update, **due_now)
        await run_in_db(due_moments.launch_due)
        run = await run_in_db(Run.objects.get)
        assert run.short_id in await page.next_shown()
        assert run.short_id in await rows.next_shown()
        await run_in_db(schedule.delete)
        await run_in_db(notifications.lists_changed_on_commit)
        assert "The schedule was deleted." in await page.next_shown()
