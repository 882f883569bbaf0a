"""The same actions for the same run on its page, in bulk and in admin; rates too."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_run
from workflows import bulk
from workflows.access import permissions
from workflows.agents.profile_stats import compare
from workflows.engine.errors import RequestError
from workflows.models import Run, RunTally, Status
from workflows.models.status import success_rate
from workflows.pages.lists.overview import health_of, overview
from workflows.services import actions
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]

# addresses on the page of a run that allows the action
LINKS = {
    "cancel": "/runs/{}/cancel/",
    "resume": "/runs/{}/resume/",
    "rerun": "?again={}",
    "rerun-failed": "/runs/{}/fork/?step=failed",
    "delete": "/runs/{}/delete/",
}


def runs() -> list[Run]:
    """Return a run in every status, one that is being cancelled and one without payload."""
    now = timezone.now()
    return [
        *(make_run(status=status) for status in Status),
        make_run(status=Status.RUNNING, cancel_requested_at=now),
        make_run(status=Status.FAILED, payload_removed_at=now),
        make_run(is_pinned=True),
    ]


def test_page_bulk_and_admin_offer_the_same_for_the_same_run(
    admin: User, sign_in: SignIn
) -> None:
    client = sign_in(admin)
    for run in runs():
        offered = actions.offered(run, permissions.permissions_for(admin))
        page = client.get(f"/runs/{run.pk}/").content.decode()
        for name, link in LINKS.items():
            is_on_page = link.format(run.pk) in page
            assert is_on_page is (name in offered), (run.status, name)
        for name in bulk.BULK_ACTIONS:
            sent = {"do": name, "run": str(run.pk)}
            found = client.post("/runs/bulk/", sent).context["found"]
            assert bool(found.fitting) is (name in offered), (run.status, name)
        for name in (
            "cancel",
            "resume",
            "rerun",
            "rerun-failed",
            "release",
            "pin",
            "delete",
        ):
            sent = {"action": f"{name}_selected", "_selected_action": str(run.pk)}
            answer = client.post("/admin/workflows/run/", sent)
            fitting = answer.context["found"].fitting
            assert bool(fitting) is (name in offered), (run.status, name)


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_system_accepts_offered_actions_and_refuses_others(
    admin: User, action: str
) -> None:
    method = getattr(system, bulk.BULK_ACTIONS[action].method)
    for run in runs():
        if actions.possible(run, action):
            method(run.pk, by=admin, reason="a test")
        else:
            with pytest.raises(RequestError):
                method(run.pk, by=admin, reason="a test")


def test_cancelled_runs_count_in_no_rate(admin: User) -> None:
    now = timezone.now()
    statuses = {Status.COMPLETED: 3, Status.FAILED: 1, Status.CANCELLED: 6}
    for status, count in statuses.items():
        for _ in range(count):
            run = make_run(status=status)
        hour = now.replace(minute=0, second=0, microsecond=0, tzinfo=dt.UTC)
        RunTally.objects.create(
            hour=hour, workflow_name=run.workflow_name, status=status, count=count
        )
    health = health_of(admin, [run.workflow_name])[run.workflow_name]
    assert (health.success_rate, health.counted) == (0.75, 4)
    assert overview(admin).day.failure_rate == 0.25
    (own,) = compare(run.workflow_name, [""])
    assert own.completed_share == 0.75


def test_without_a_completed_or_failed_run_there_is_no_rate(admin: User) -> None:
    run = make_run(status=Status.CANCELLED)
    health = health_of(admin, [run.workflow_name])[run.workflow_name]
    assert health.success_rate is None
    assert success_rate(0, 0) is None
