"""Alerts: raised once above a limit, cleared once below another, and reported."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from tests.support.factories import make_decision, make_run
from tests.support.responses import text_of
from workflows.alerts import evaluation, metrics, service
from workflows.alerts.service import Plan
from workflows.deliveries import expansion, following, notification_texts, payloads
from workflows.errors import AlertNotFound, InvalidAlert, NotAllowed
from workflows.infra import clock
from workflows.models import (
    AgentCall,
    AlertIncident,
    AlertRule,
    CallStatus,
    OutboxEvent,
    Run,
    Status,
    WorkflowPermission,
)

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

NAME = "classify-document"
HOUR = dt.timedelta(hours=1)


def rule_of(user: User, metric: str, limit: float, **fields: Any) -> AlertRule:
    return service.create(NAME, Plan("too many", metric, limit, **fields), by=user)


def evaluate(rule: AlertRule, now: dt.datetime | None = None) -> tuple[bool, Any]:
    """Evaluate a rule; return whether it is raised, and its value."""
    evaluation.evaluate(rule.pk, now or clock.now())
    rule.refresh_from_db()
    return rule.is_raised, rule.value


def end(number: int, status: str, **fields: Any) -> None:
    for _ in range(number):
        make_run(status=status, **fields)


def test_failures_raise_once_and_clear_once_with_a_gap_between(alice: User) -> None:
    following.follow("workflow", NAME, by=alice)
    rule = rule_of(alice, "failed_share", 0.5, clear_at=0.2, min_count=3)
    assert evaluate(rule) == (False, None)
    end(2, Status.FAILED)
    assert evaluate(rule) == (False, 1.0), "fewer than the minimum"
    end(1, Status.FAILED)
    end(9, Status.FAILED, workflow_name="another")
    assert evaluate(rule) == (True, 1.0)
    assert evaluate(rule) == (True, 1.0)
    end(4, Status.COMPLETED)
    end(5, Status.CANCELLED)
    assert evaluate(rule) == (True, pytest.approx(3 / 7)), "between the limits"
    end(8, Status.COMPLETED)
    assert evaluate(rule) == (False, 0.2)
    kinds = OutboxEvent.objects.filter(kind__startswith="alert.").order_by("pk")
    assert [one.kind for one in kinds] == ["alert.raised", "alert.cleared"]
    incident = AlertIncident.objects.get()
    assert incident.raised_value == 1.0
    assert incident.cleared_at is not None
    raised = kinds[0]
    assert notification_texts.title_of(raised) == f"Alert raised: too many ({NAME})"
    assert reverse("alert", args=[rule.pk]) in payloads.body_of(raised)
    expansion.expand()
    shown = following.notifications_of(alice).filter(kind__startswith="alert.")
    assert shown.count() == 2


def test_a_raised_alert_without_new_data_is_cleared(alice: User) -> None:
    rule = rule_of(alice, "failed_share", 0.5)
    end(1, Status.FAILED)
    assert evaluate(rule) == (True, 1.0)
    assert evaluate(rule, clock.now() + 2 * HOUR) == (False, None)


def test_the_share_of_an_edge_counts_the_edges_taken_at_its_node(alice: User) -> None:
    rule = rule_of(
        alice, "edge_share", 0.5, from_node="weigh", to_node="review", min_count=2
    )
    run = make_run()
    for number, target in enumerate(["review", "publish", "review", "review"], 1):
        make_decision(run, "weigh", target, sequence=number, taken=True)
    make_decision(run, "weigh", "reject", sequence=9, taken=False)
    assert evaluate(rule) == (True, 0.75)


def test_cost_and_age_of_pending_runs(alice: User) -> None:
    cost = rule_of(alice, "cost", 2)
    age = service.create(NAME, Plan("slow", "pending_age", 10), by=alice)
    for amount in ("1.50", "0.75"):
        AgentCall.objects.create(
            workflow_name=NAME,
            kind="chat",
            agent_name="a",
            provider_name="p",
            model="m",
            cost=Decimal(amount),
            latency_ms=1,
            status=CallStatus.COMPLETED,
        )
    assert evaluate(cost) == (True, 2.25)
    assert evaluate(age) == (False, None)
    run = make_run(status=Status.PENDING)
    Run.objects.filter(pk=run.pk).update(
        updated_at=clock.now() - dt.timedelta(minutes=11)
    )
    is_raised, minutes = evaluate(age)
    assert is_raised
    assert minutes == pytest.approx(11, abs=0.5)


def test_one_process_at_a_time_evaluates_and_a_failing_rule_stops_no_other(
    alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    assert not evaluation.evaluate_if_due(), "there is no rule"
    broken = rule_of(alice, "cost", 1)
    rule = service.create(NAME, Plan("failures", "failed_share", 0.5), by=alice)
    end(1, Status.FAILED)
    measure = metrics.measure

    def fails(one: AlertRule, now: dt.datetime) -> Any:
        if one.pk == broken.pk:
            raise ZeroDivisionError
        return measure(one, now)

    with mock.patch("workflows.alerts.evaluation.measure", fails):
        assert evaluation.evaluate_if_due()
    assert f"Alert rule {broken.pk} could not be evaluated." in caplog.messages
    rule.refresh_from_db()
    assert rule.is_raised
    assert not evaluation.evaluate_if_due(), "it is not due"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"metric": "luck"}, "metric"),
        ({"raise_above": 1.5}, "raise_above"),
        ({"raise_above": float("nan")}, "raise_above"),
        ({"clear_at": 0.9}, "clear_at"),
        ({"window_minutes": 0}, "window_minutes"),
        ({"from_node": "weigh"}, "from_node"),
        ({"name": " "}, "name"),
    ],
)
def test_an_invalid_rule_is_refused(
    fields: dict[str, Any], wrong: str, alice: User
) -> None:
    plan = {"name": "a", "metric": "failed_share", "raise_above": 0.5, **fields}
    with pytest.raises(InvalidAlert) as refused:
        service.create(NAME, Plan(**plan), by=alice)
    assert wrong in refused.value.errors


def test_rules_need_the_permission_to_operate(
    alice: User, bob: User, settings: Settings
) -> None:
    rule = rule_of(alice, "failed_share", 0.5)
    team = Group.objects.create(name="team")
    WorkflowPermission.objects.create(workflow_name=NAME, group=team, can_view=True)
    bob.groups.add(team)
    bob, alice = User.objects.get(pk=bob.pk), User.objects.get(pk=alice.pk)
    assert service.find(rule.pk, by=bob) == rule
    with pytest.raises(NotAllowed):
        service.delete(rule.pk, by=bob, reason="x")
    with pytest.raises(AlertNotFound):
        service.find(rule.pk, by=alice)


def test_pages_create_show_change_and_delete(
    alice: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(alice)
    form = {
        "name": "many reviews",
        "metric": "edge_share",
        "edge": "weigh → review",
        "raise_above": "40",
        "clear_at": "30",
        "window_minutes": "60",
        "min_count": "5",
    }
    address = reverse("alert-new", args=[NAME])
    page = text_of(client.get(address))
    edge = page.split('name="edge"')[1].split('value="')[2].split('"')[0]
    answer = client.post(address, form | {"edge": ""})
    assert answer.status_code == 422
    assert "Enter both nodes of the edge" in text_of(answer)
    page = text_of(client.post(address, form | {"edge": edge}, follow=True))
    assert "Alert “many reviews” saved." in page
    rule = AlertRule.objects.get()
    assert (rule.raise_above, rule.clear_at) == (0.4, 0.3)
    assert "40%" in text_of(client.get(reverse("alerts")))
    changed = form | {"metric": "pending_age", "edge": "", "raise_above": "90"}
    client.post(reverse("alert-edit", args=[rule.pk]), changed)
    rule.refresh_from_db()
    assert (rule.metric, rule.raise_above, rule.from_node) == ("pending_age", 90, "")
    assert "90 min" in text_of(client.get(reverse("alert", args=[rule.pk])))
    client.post(reverse("alert-delete", args=[rule.pk]), {"reason": "Not needed."})
    assert not AlertRule.objects.exists()
