"""Notifications of people: who gets them, in the centre, by mail and as a mail a day."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from tests.support.factories import make_approval, make_moment, make_run
from tests.support.mail_server import AnyPort, Inbox
from tests.support.responses import text_of
from workflows.deliveries import daily_mail, expansion, following
from workflows.deliveries.deliverer import Deliverer
from workflows.errors import InvalidSubscription, RunNotFound, SubscriptionNotFound
from workflows.execution import run_cancellation
from workflows.infra import clock
from workflows.models import (
    Delivery,
    DeliveryAttempt,
    Destination,
    Interest,
    Mail,
    Notification,
    OutboxEvent,
    Run,
    SavedView,
    Status,
    Subscription,
    WorkflowPermission,
)

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import Settings

pytestmark = pytest.mark.django_db

SECRET = "a reason that is data of the run"
NAME = "classify-document"


@pytest.fixture
def inbox(settings: Settings) -> Iterator[Inbox]:
    """Start an SMTP server, and use it."""
    handler = Inbox()
    controller = AnyPort(handler, hostname="127.0.0.1", port=0)
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST = "127.0.0.1"
    settings.EMAIL_PORT = controller.port
    settings.PUBLIC_URL = "https://runs.example.org"
    yield handler
    controller.stop(no_assert=True)


def end_run(**fields: Any) -> Run:
    run = make_run(status=Status.PENDING, params={"text": SECRET}, **fields)
    run_cancellation.cancel(run, by=None, reason=SECRET)
    return run


def fail_run(**fields: Any) -> Run:
    run = make_run(status=Status.RUNNING, **fields)
    Run.objects.filter(pk=run.pk).finish(Status.FAILED, message=SECRET)
    return run


def deliver() -> None:
    async def drain() -> None:
        await Deliverer().drain()

    asyncio.run(drain())


def notified(user: User) -> list[tuple[str, Any]]:
    """Return kind and run of the notifications of new events, in order."""
    expansion.expand()
    rows = following.notifications_of(user).order_by("pk")
    return [(row.kind, row.run_id) for row in rows]


def test_a_person_is_notified_of_what_they_follow_and_of_nothing_else(
    alice: User, bob: User
) -> None:
    run = make_run(status=Status.PENDING)
    following.follow("run", str(run.pk), by=alice)
    following.follow("workflow", "summarize", by=bob)
    other = end_run()
    run_cancellation.cancel(run, by=None, reason=SECRET)
    summary = end_run(workflow_name="summarize")
    assert notified(alice) == [("run.cancelled", run.pk)]
    assert notified(bob) == [("run.cancelled", summary.pk)]
    assert not OutboxEvent.objects.filter(run_id=other.pk).exists()


def test_failures_and_views_select_their_runs(alice: User, bob: User) -> None:
    following.follow("failures", "", by=alice)
    view = SavedView.objects.create(
        owner=bob, name="mine", query=f"status=failed&who={bob.username}"
    )
    following.follow("view", str(view.pk), by=bob)
    of_alice, of_bob = fail_run(launched_by=alice), fail_run(launched_by=bob)
    end_run(launched_by=bob)
    make_moment(result="missed")
    assert notified(alice) == [
        ("run.failed", of_alice.pk),
        ("run.failed", of_bob.pk),
        ("schedule.missed", None),
    ]
    assert notified(bob) == [("run.failed", of_bob.pk)]
    view.delete()
    assert not Subscription.objects.filter(user=bob).exists()
    assert Interest.objects.exclude(subscription__user=alice).count() == 0


def test_an_approval_is_reported_to_those_who_can_respond(
    alice: User, bob: User
) -> None:
    for user in (alice, bob):
        following.follow("approvals", "", by=user)
    alice.groups.add(Group.objects.create(name="reviewers"))
    run = make_run(status=Status.WAITING)
    make_approval(run, groups=["reviewers"], question=SECRET)
    assert notified(alice) == [("approval.requested", run.pk)]
    assert notified(bob) == []


def test_someone_who_lost_the_permission_gets_and_sees_nothing(
    alice: User, sign_in: Callable[[User], Client]
) -> None:
    following.follow("workflow", NAME, by=alice)
    run = end_run()
    assert notified(alice) == [("run.cancelled", run.pk)]
    client = sign_in(alice)
    assert run.short_id in text_of(client.get(reverse("notifications")))
    team = Group.objects.create(name="team")
    WorkflowPermission.objects.create(workflow_name=NAME, group=team, can_view=True)
    alice = User.objects.get(pk=alice.pk)
    end_run()
    assert notified(alice) == []
    assert Notification.objects.count() == 1
    assert following.unread_count(alice) == 0
    assert run.short_id not in text_of(client.get(reverse("notifications")))
    with pytest.raises(RunNotFound):
        following.follow("run", str(run.pk), by=alice)


def test_several_subscriptions_give_one_notification_with_the_most_mail(
    alice: User, bob: User
) -> None:
    following.follow("failures", "", by=alice, mail=Mail.DAILY)
    following.follow("workflow", NAME, by=alice, mail=Mail.EACH)
    run = fail_run()
    assert notified(alice) == [("run.failed", run.pk)]
    assert Delivery.objects.get().destination.owner == alice
    with pytest.raises(SubscriptionNotFound):
        following.unfollow(Subscription.objects.all()[0].pk, by=bob)
    with pytest.raises(InvalidSubscription):
        following.follow("everything", "", by=bob)


@pytest.mark.django_db(transaction=True)
def test_mail_arrives_in_order_after_failures_without_data_of_the_run(
    alice: User, inbox: Inbox
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    following.follow("workflow", NAME, by=alice, mail=Mail.EACH)
    inbox.refuses = True
    runs = [end_run() for _ in range(3)]
    deliver()
    assert inbox.messages == []
    assert "The mail server refused the message" in DeliveryAttempt.objects.get().error
    inbox.refuses = False
    Destination.objects.update(next_attempt_at=clock.now())
    deliver()
    assert inbox.subjects == [f"Run cancelled: {NAME} {run.short_id}" for run in runs]
    first = inbox.messages[0]
    assert first["to"] == "alice@example.org"
    assert first["message-id"].endswith("@runs.example.org>")
    text = first.get_payload(decode=True).decode()  # type: ignore[union-attr]
    assert f"View: https://runs.example.org/runs/{runs[0].pk}/" in text
    assert SECRET not in str(first)
    end_run()
    expansion.expand()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    deliver()
    assert len(inbox.messages) == 3
    assert Delivery.objects.latest("pk").status == "withheld"


@pytest.mark.django_db(transaction=True)
def test_a_mail_a_day_has_what_the_person_may_still_see(
    alice: User, inbox: Inbox
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    for name in (NAME, "summarize"):
        following.follow("workflow", name, by=alice, mail=Mail.DAILY)
    shown, hidden = end_run(), end_run(workflow_name="summarize")
    deliver()
    assert inbox.messages == []
    assert not daily_mail.send_if_due(), "the first call sets the time"
    with mock.patch.object(
        clock, "now", return_value=clock.now() + dt.timedelta(days=1)
    ):
        assert daily_mail.send_if_due()
        assert not daily_mail.send_if_due()
    team = Group.objects.create(name="team")
    WorkflowPermission.objects.create(
        workflow_name="summarize", group=team, can_view=True
    )
    deliver()
    assert inbox.subjects == ["1 notification"]
    text = str(inbox.messages[0])
    assert str(shown.pk) in text
    assert str(hidden.pk) not in text


def test_the_centre_counts_lists_and_marks_as_read(
    alice: User, bob: User, sign_in: Callable[[User], Client]
) -> None:
    client = sign_in(alice)
    page = text_of(client.get(reverse("follow"), {"kind": "workflow", "target": NAME}))
    assert 'name="kind" value="workflow"' in page
    assert not Subscription.objects.exists(), "a GET changes nothing"
    form = {"kind": "workflow", "target": NAME, "mail": "daily"}
    assert "Following: Workflow Classify a document." in text_of(
        client.post(reverse("follow"), form, follow=True)
    )
    client.post(reverse("follow"), {"kind": "failures"})
    runs = [end_run(), fail_run()]
    expansion.expand()
    page = text_of(client.get(reverse("notifications")))
    assert "2 unread notifications" in page
    assert all(run.short_id in page for run in runs)
    first = Notification.objects.order_by("pk")[0]
    sign_in(bob).post(reverse("notifications-read"), {"notification": first.pk})
    assert following.unread_count(alice) == 2, "they are another person's"
    client.post(reverse("notifications-read"), {"notification": first.pk})
    assert following.unread_count(alice) == 1
    client.post(reverse("notifications-read"))
    page = text_of(client.get(reverse("notifications") + "?unread=1"))
    assert "all caught up" in page
    settings = text_of(client.get(reverse("notification-settings")))
    assert "Workflow Classify a document" in settings
    mine = Subscription.objects.get(kind="workflow")
    assert sign_in(bob).post(reverse("unfollow", args=[mine.pk])).status_code == 404
    client.post(reverse("unfollow", args=[mine.pk]))
    assert [one.kind for one in Subscription.objects.all()] == ["failures"]
