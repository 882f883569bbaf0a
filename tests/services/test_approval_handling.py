"""Who works on an approval, and when: claims, assignments, snoozes, reminders."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Literal
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel
from pytest_django import Settings

from tests.execution.test_races import run_in_db_priority
from tests.support.factories import make_approval, make_run, make_user
from workflows.access.permissions import EVERYTHING
from workflows.deliveries import expansion, recipients
from workflows.deliveries.following import follow
from workflows.engine import State, Workflow, approval
from workflows.engine.errors import ResponseRefused
from workflows.errors import AlreadyAnswered, NotAllowed
from workflows.execution import approval_sweep, event_delivery, queue
from workflows.infra import notifications
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalReminder,
    ApprovalSnooze,
    ApprovalStatus,
    ApprovalVote,
    AuditEvent,
    Notification,
    OutboxEvent,
    Run,
    Status,
    Tally,
)
from workflows.models.approvals import URGENT
from workflows.models.status_transitions import RunQuerySet
from workflows.pages.lists.open_approvals import (
    ALL,
    MINE,
    SNOOZED,
    count_open,
    shown_to,
)
from workflows.registry import registry
from workflows.services import approval_assignments, approvals
from workflows.services.approval_assignments import assignment_of
from workflows.services.approval_claims import claim_of
from workflows.services.approval_errors import (
    AlreadyClaimed,
    InvalidAssignee,
    InvalidSnooze,
    NotClaimed,
    RemindedAlready,
)
from workflows.services.approval_handling import Target
from workflows.services.approval_snoozes import snoozed_by
from workflows.system import system

pytestmark = pytest.mark.django_db


class Review(BaseModel):
    """The response of a reviewer."""

    outcome: Literal["publish", "reject"]


class ReviewState(State):
    """State of the workflow."""

    review: Review | None = None


@pytest.fixture(autouse=True)
def workflow() -> Iterator[None]:
    """Register a workflow with an approval."""
    node = approval("Right?", answer=Review, into="review", name="review")
    registry.register(Workflow("ask", state=ReviewState, start=node, routes={}))
    yield
    registry.unregister("ask")


def ask(**fields: Any) -> Approval:
    """Return an open approval of a run of that workflow."""
    run = make_run(status=Status.WAITING, workflow_name="ask")
    return make_approval(run, **fields)


@pytest.fixture
def reviewers() -> Group:
    return Group.objects.create(name="reviewers")


@pytest.fixture
def people(reviewers: Group) -> list[User]:
    """Return three members of the reviewers."""
    found = [make_user(name) for name in ("ada", "ben", "cleo")]
    reviewers.user_set.set(found)
    return found


@pytest.fixture
def asked(people: list[User]) -> Approval:
    return ask(groups=["reviewers"])


def again(user: User) -> User:
    """Return a person without cached permissions."""
    return User.objects.get(pk=user.pk)


def due() -> None:
    """Let the next sweep check permissions."""
    Tally.objects.filter(pk=approval_sweep.NAME).update(next_at=timezone.now())


def swept() -> list[UUID]:
    """Return the runs that a sweep changes which also checks permissions."""
    due()
    return list(approval_sweep.sweep())


# Claim and release ----------------------------------------------------------------------


def test_a_claim_names_its_person_and_leaves_the_approval_open_to_others(
    asked: Approval, people: list[User]
) -> None:
    ada, ben, _ = people
    version = asked.run.version
    system.claim_approval(asked.run_id, by=ada)
    found = system.find_approval(asked.run_id)
    claim = claim_of(found)
    assert claim is not None
    assert (claim.person_name, found.status) == ("ada", ApprovalStatus.OPEN)
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_name) == ("claim approval", "ada")
    assert event.after == {"step": asked.sequence, "person": "ada"}
    assert Run.objects.get().version > version
    with pytest.raises(AlreadyClaimed, match=r"^ada is working on it\.$"):
        system.claim_approval(asked.run_id, by=ben)
    assert AuditEvent.objects.count() == 1


def test_a_release_by_anyone_who_may_respond_ends_the_claim(
    asked: Approval, people: list[User]
) -> None:
    ada, ben, cleo = people
    system.claim_approval(asked.run_id, by=ada)
    system.release_approval(asked.run_id, by=ben)
    assert claim_of(system.find_approval(asked.run_id)) is None
    with pytest.raises(NotClaimed):
        system.release_approval(asked.run_id, by=ben)
    assert system.claim_approval(asked.run_id, by=cleo).person_name == "cleo"


def test_claims_are_for_people_who_may_respond(
    asked: Approval, people: list[User]
) -> None:
    with pytest.raises(NotAllowed, match="members of reviewers are"):
        system.claim_approval(asked.run_id, by=make_user("eve"))
    Approval.objects.update(not_by="launcher", excluded=[people[0].pk])
    with pytest.raises(ResponseRefused, match="You launched this run"):
        system.claim_approval(asked.run_id, by=people[0])
    with pytest.raises(AlreadyAnswered, match="not of step 9"):
        system.claim_approval(asked.run_id, by=people[1], sequence=9)
    Approval.objects.update(status=ApprovalStatus.EXPIRED)
    with pytest.raises(AlreadyAnswered):
        system.claim_approval(asked.run_id, by=people[1])
    assert not ApprovalClaim.objects.exists()


def test_a_claim_ends_after_the_time_of_the_setting(
    asked: Approval, people: list[User], settings: Settings
) -> None:
    settings.APPROVAL_CLAIM_HOURS = 2
    system.claim_approval(asked.run_id, by=people[0])
    lasts = ApprovalClaim.objects.get().expires_at - timezone.now()
    assert dt.timedelta(minutes=119) < lasts <= dt.timedelta(hours=2)
    ApprovalClaim.objects.update(expires_at=timezone.now())
    assert claim_of(system.find_approval(asked.run_id)) is None
    version = Run.objects.get().version
    assert list(approval_sweep.sweep()) == [asked.run_id]
    assert not ApprovalClaim.objects.exists()
    assert Run.objects.get().version > version


def test_a_claim_ends_when_its_person_may_not_respond_any_more(
    asked: Approval, people: list[User], reviewers: Group
) -> None:
    system.claim_approval(asked.run_id, by=people[0])
    assert swept() == []
    people[0].groups.remove(reviewers)
    # at once for others, even before a worker has removed it
    assert system.claim_approval(asked.run_id, by=people[1]).person_name == "ben"
    assert swept() == []
    people[1].groups.remove(reviewers)
    assert swept() == [asked.run_id]
    assert not ApprovalClaim.objects.exists()


def test_permissions_of_claims_are_checked_at_intervals_by_one_process(
    asked: Approval, people: list[User]
) -> None:
    assert list(approval_sweep.sweep()) == []  # this process checked just now
    system.claim_approval(asked.run_id, by=people[0])
    User.objects.filter(pk=people[0].pk).update(is_active=False)
    assert list(approval_sweep.sweep()) == []
    assert swept() == [asked.run_id]
    assert swept() == []


def test_permissions_are_checked_in_turns_of_limited_size(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [ask(groups=["reviewers"]).run_id for _ in range(3)]
    for run_id in runs:
        system.claim_approval(run_id, by=people[0])
    User.objects.filter(pk=people[0].pk).update(is_active=False)
    monkeypatch.setattr(approval_sweep, "MAX_ROWS", 2)
    assert [swept(), swept(), swept()] == [runs[:2], runs[2:], []]


@pytest.mark.parametrize("reason", ["expired", "without permission"])
def test_a_claim_that_another_person_makes_during_the_check_is_kept(
    asked: Approval, people: list[User], monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    ada, ben, _ = people
    system.claim_approval(asked.run_id, by=ada)
    if reason == "expired":
        ApprovalClaim.objects.update(expires_at=timezone.now())
    else:
        User.objects.filter(pk=ada.pk).update(is_active=False)
    atomic = transaction.atomic

    def claimed_before() -> object:
        system.claim_approval(asked.run_id, by=ben)
        return atomic()

    due()
    sweeping = approval_sweep.sweep()
    with monkeypatch.context() as patched:
        patched.setattr(
            approval_sweep, "transaction", SimpleNamespace(atomic=claimed_before)
        )
        assert list(sweeping) == []
    assert ApprovalClaim.objects.get().person_name == "ben"


def test_the_run_is_locked_before_its_claim_is_deleted(
    asked: Approval,
    people: list[User],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    system.claim_approval(asked.run_id, by=people[0])
    ApprovalClaim.objects.update(expires_at=timezone.now())
    had_claim: list[bool] = []
    lock = RunQuerySet.lock

    def locks(runs: RunQuerySet) -> bool:
        had_claim.append(ApprovalClaim.objects.exists())
        return lock(runs)

    monkeypatch.setattr(RunQuerySet, "lock", locks)
    swept()
    assert had_claim == [True]
    assert not ApprovalClaim.objects.exists()


def test_an_error_in_the_check_of_claims_delays_no_other_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr(notifications, "changed_on_commit", told.append)
    monkeypatch.setattr(event_delivery, "deliver_missed", lambda: ["a run"])

    monkeypatch.setattr(approval_sweep, "sweep", lambda: (1 // 0 for _ in "x"))
    with pytest.raises(ZeroDivisionError):
        queue.sweep()
    assert told == ["a run"]


@pytest.mark.django_db(transaction=True)
def test_of_people_who_claim_at_the_same_moment_one_succeeds(
    asked: Approval, people: list[User]
) -> None:
    came = run_in_db_priority(
        3, lambda n: system.claim_approval(asked.run_id, by=again(people[n]))
    )
    refused = [one for one in came if isinstance(one, AlreadyClaimed)]
    assert len(refused) == 2
    name = ApprovalClaim.objects.get().person_name
    assert {str(one) for one in refused} == {f"{name} is working on it."}


# Reassign -------------------------------------------------------------------------------


def test_a_reassignment_names_and_notifies_the_assignee_and_ends_other_claims(
    asked: Approval, people: list[User]
) -> None:
    ada, _, cleo = people
    system.claim_approval(asked.run_id, by=ada)
    system.reassign_approval(asked.run_id, "ben", by=ada, reason="He knows the client.")
    found = assignment_of(system.find_approval(asked.run_id))
    assert found is not None
    assert (found.name, found.assigned_by_name) == ("ben", "ada")
    assert not ApprovalClaim.objects.exists()
    event = AuditEvent.objects.get(action="reassign approval")
    assert event.reason == "He knows the client."
    assert notified() == [("ben", "approval.reassigned")]
    system.respond(asked.run_id, {"outcome": "publish"}, by=cleo, comment="I was free.")


def test_a_group_is_assigned_if_a_member_may_respond(
    asked: Approval, people: list[User], reviewers: Group
) -> None:
    night = Group.objects.create(name="night shift")
    for to, text in (
        ("night shift", "No member of night shift can respond"),
        ("eve", "There is no person or group “eve”"),
    ):
        with pytest.raises(InvalidAssignee, match=text):
            system.reassign_approval(asked.run_id, to, by=people[0])
    night.user_set.add(people[1], make_user("eve"))
    with pytest.raises(InvalidAssignee, match="eve can’t respond"):
        system.reassign_approval(asked.run_id, "eve", by=people[0])
    system.reassign_approval(asked.run_id, "night shift", by=people[0])
    assert notified() == [("ben", "approval.reassigned")]
    mine = {
        one.username: Approval.objects.filter(shown_to(one.pk, MINE, ())).exists()
        for one in people
    }
    assert mine == {"ada": False, "ben": True, "cleo": False}
    system.release_approval(asked.run_id, by=people[1])
    assert not ApprovalAssignment.objects.exists()


def test_an_assignment_ends_when_its_person_may_not_respond_any_more(
    asked: Approval, people: list[User], reviewers: Group
) -> None:
    system.reassign_approval(asked.run_id, "ben", by=people[0])
    assert swept() == []
    people[1].groups.remove(reviewers)
    assert swept() == [asked.run_id]
    assert not ApprovalAssignment.objects.exists()
    system.reassign_approval(asked.run_id, "reviewers", by=people[0])
    assert swept() == []


def test_who_is_excluded_or_has_voted_is_not_assigned(
    asked: Approval, people: list[User]
) -> None:
    Approval.objects.update(not_by="launcher", excluded=[people[0].pk], votes_needed=2)
    asked.votes.create(voter=people[1], voter_name="ben", response={})
    for name in ("ada", "ben"):
        with pytest.raises(InvalidAssignee):
            system.reassign_approval(asked.run_id, name, by=people[2])


def test_a_person_who_votes_during_a_reassignment_is_not_assigned(
    asked: Approval, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    Approval.objects.update(votes_needed=2)
    find = approval_assignments.find_assignee

    def votes_meanwhile(*args: Any) -> Any:
        found = find(*args)
        asked.votes.create(voter=people[1], voter_name="ben", response={})
        return found

    monkeypatch.setattr(approval_assignments, "find_assignee", votes_meanwhile)
    with pytest.raises(InvalidAssignee, match="ben can’t respond"):
        system.reassign_approval(asked.run_id, "ben", by=people[0])
    assert not ApprovalAssignment.objects.exists()


def test_permissions_are_read_of_members_who_are_approvers_and_of_some_only(
    asked: Approval,
    people: list[User],
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: Any,
) -> None:
    night = Group.objects.create(name="night shift")
    night.user_set.set([make_user(f"other{number}") for number in range(5)])
    approval = system.find_approval(asked.run_id)
    with django_assert_max_num_queries(3), pytest.raises(InvalidAssignee):
        approval_assignments.find_assignee(approval, "night shift")
    night.user_set.add(*people)
    assert approval_assignments.find_assignee(approval, "night shift") == night
    monkeypatch.setattr(approval_assignments, "MAX_CHECKED", 1)
    approval.not_by, approval.excluded = "launcher", [people[0].pk]
    with pytest.raises(InvalidAssignee, match="None of the first 1 members"):
        approval_assignments.find_assignee(approval, "night shift")


def test_an_approval_that_was_answered_is_not_reassigned(
    asked: Approval, people: list[User]
) -> None:
    value = {"outcome": "publish"}
    system.respond(asked.run_id, value, by=people[1], comment="yes")
    with pytest.raises(AlreadyAnswered, match="Already answered by ben"):
        system.reassign_approval(asked.run_id, "cleo", by=people[0])
    assert not ApprovalAssignment.objects.exists()
    assert not OutboxEvent.objects.exists()


def test_a_reassignment_that_is_interrupted_leaves_nothing_behind(
    asked: Approval, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        """The process ends here."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for step in ("record_change", "OutboxEvent.objects.create"):
        with monkeypatch.context() as patched:
            path = f"workflows.execution.approval_changes.{step}"
            patched.setattr(path, killed)
            with pytest.raises(Killed):
                system.reassign_approval(asked.run_id, "ben", by=people[0])
        assert not ApprovalAssignment.objects.exists()
        assert not AuditEvent.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_response_and_a_reassignment_at_the_same_moment_exclude_each_other(
    asked: Approval, people: list[User]
) -> None:
    value = {"outcome": "publish"}

    def act(number: int) -> object:
        by = again(people[number])
        if number:
            return system.reassign_approval(asked.run_id, "cleo", by=by)
        return system.respond(asked.run_id, value, by=by, comment="yes")

    came = run_in_db_priority(2, act)
    assert not isinstance(came[0], Exception)
    is_refused = isinstance(came[1], AlreadyAnswered)
    assert OutboxEvent.objects.count() == (0 if is_refused else 1)


# Several at once ------------------------------------------------------------------------


def test_one_response_to_several_is_saved_or_refused_for_each(
    people: list[User],
) -> None:
    runs = [ask().run for _ in range(3)]
    value = {"outcome": "publish"}
    system.respond(runs[1].pk, value, by=people[1], comment="earlier")
    targets = [Target(runs[0].pk, 4), Target(runs[1].pk), Target(runs[2].pk, 9)]
    found = system.respond_to_each(targets, value, by=people[0], comment="all good")
    assert [type(one.error) for one in found] == [
        type(None),
        AlreadyAnswered,
        AlreadyAnswered,
    ]
    assert Approval.objects.get(run=runs[0]).responded_by == people[0]
    assert Approval.objects.get(run=runs[2]).status == ApprovalStatus.OPEN


def test_a_response_for_another_step_than_the_open_one_is_refused(
    people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = {"outcome": "publish"}
    first = ask(votes_needed=2)
    with pytest.raises(AlreadyAnswered, match="not of step 9"):
        system.respond(first.run_id, value, by=people[0], comment="yes", sequence=9)
    require = approvals.require_respondent

    def next_step_meanwhile(*args: Any) -> None:
        require(*args)
        Approval.objects.filter(pk=first.pk).update(status=ApprovalStatus.ANSWERED)
        make_approval(first.run, sequence=first.sequence + 1, votes_needed=2)

    monkeypatch.setattr(approvals, "require_respondent", next_step_meanwhile)
    with pytest.raises(AlreadyAnswered, match=f"not of step {first.sequence}"):
        system.respond(
            *(first.run_id, value),
            by=people[0],
            comment="yes",
            sequence=first.sequence,
        )
    assert not ApprovalVote.objects.exists()


# Snooze ---------------------------------------------------------------------------------


def test_a_snoozed_approval_is_hidden_from_its_person_only(
    asked: Approval, people: list[User]
) -> None:
    tomorrow = timezone.now() + dt.timedelta(days=1)
    system.snooze_approval(asked.run_id, tomorrow, by=people[0])
    counts = [count_open(EVERYTHING, one.pk, snoozed_by(one)) for one in people]
    assert counts == [0, 1, 1]
    mine = (people[0].pk, snoozed_by(people[0]))
    assert Approval.objects.filter(shown_to(mine[0], SNOOZED, mine[1])).exists()
    assert not Approval.objects.filter(shown_to(mine[0], ALL, mine[1])).exists()
    assert snoozed_by(again(people[0])) == (asked.pk,)
    ApprovalSnooze.objects.update(until=timezone.now())
    assert snoozed_by(again(people[0])) == ()
    system.snooze_approval(asked.run_id, tomorrow, by=people[0])
    system.snooze_approval(asked.run_id, None, by=people[0])
    assert not ApprovalSnooze.objects.exists()


def test_a_snoozed_approval_is_shown_again_before_it_expires(
    asked: Approval, people: list[User]
) -> None:
    now = timezone.now()
    Approval.objects.update(expires_at=now + dt.timedelta(hours=10))
    until = system.snooze_approval(
        asked.run_id, now + dt.timedelta(days=3), by=people[0]
    )
    assert until == now + dt.timedelta(hours=10) - URGENT
    Approval.objects.update(expires_at=now + dt.timedelta(hours=3))
    for wrong, text in (
        (now + dt.timedelta(days=1), "expires within 4 hours"),
        (now - dt.timedelta(days=1), "within the next year"),
        (now + dt.timedelta(days=400), "within the next year"),
    ):
        with pytest.raises(InvalidSnooze, match=text):
            system.snooze_approval(asked.run_id, wrong, by=people[0])


# Remind ---------------------------------------------------------------------------------


def test_a_reminder_notifies_those_who_can_respond_once_an_hour(
    asked: Approval, people: list[User]
) -> None:
    Approval.objects.update(not_by="launcher", excluded=[people[0].pk])
    system.remind_approvers(asked.run_id, by=people[0])
    assert notified() == [("ben", "approval.reminded"), ("cleo", "approval.reminded")]
    assert AuditEvent.objects.get().action == "remind approvers"
    with pytest.raises(RemindedAlready, match=r"ada sent a reminder.* in 60 minutes"):
        system.remind_approvers(asked.run_id, by=people[1])
    ApprovalReminder.objects.update(created_at=timezone.now() - dt.timedelta(hours=1))
    system.reassign_approval(asked.run_id, "ben", by=people[1])
    system.remind_approvers(asked.run_id, by=people[1])
    assert notified()[2:] == [
        ("ben", "approval.reassigned"),
        ("ben", "approval.reminded"),
    ]


def test_the_limit_of_a_reminder_counts_those_who_can_respond(
    asked: Approval,
    people: list[User],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(recipients, "MAX_ADDRESSED", 2)
    Approval.objects.update(not_by="launcher", excluded=[people[0].pk])
    system.remind_approvers(asked.run_id, by=people[0])
    assert [name for name, _ in notified()] == ["ben", "cleo"]
    assert not caplog.messages
    monkeypatch.setattr(recipients, "MAX_ADDRESSED", 1)
    event = OutboxEvent.objects.get()
    assert recipients.addressees(event) == [people[1]]
    assert "only the first 1 who can respond are notified" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_of_people_who_remind_at_the_same_moment_one_succeeds(
    asked: Approval, people: list[User]
) -> None:
    came = run_in_db_priority(
        3, lambda n: system.remind_approvers(asked.run_id, by=again(people[n]))
    )
    assert sum(isinstance(one, RemindedAlready) for one in came) == 2
    assert OutboxEvent.objects.count() == 1


def test_followers_of_approvals_are_reminded_where_everyone_may_respond(
    people: list[User],
) -> None:
    asked = ask()
    follow("approvals", "", by=people[1])
    system.remind_approvers(asked.run_id, by=people[0])
    assert notified() == [("ben", "approval.reminded")]


def notified() -> list[tuple[str, str]]:
    """Create the notifications; return person and kind of each, by event and name."""
    expansion.expand()
    rows = Notification.objects.order_by("event_id", "user__username")
    return list(rows.values_list("user__username", "kind"))
