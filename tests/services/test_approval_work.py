"""Who works on an approval: claims."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django import Settings

from tests.execution.test_races import run_in_db_priority
from tests.support.factories import make_approval, make_user
from workflows.engine.errors import ResponseRefused
from workflows.errors import AlreadyAnswered, NotAllowed
from workflows.execution import approval_sweep
from workflows.models import Approval, ApprovalClaim, ApprovalStatus, AuditEvent, Run
from workflows.services.approval_claims import claim_of
from workflows.services.approval_errors import AlreadyClaimed, NotClaimed
from workflows.system import system

pytestmark = pytest.mark.django_db


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
    return make_approval(groups=["reviewers"])


def again(user: User) -> User:
    """Return a person without cached permissions."""
    return User.objects.get(pk=user.pk)


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
    assert approval_sweep.lost_claims() == []
    people[0].groups.remove(reviewers)
    # at once for others, even before a worker has removed it
    assert system.claim_approval(asked.run_id, by=people[1]).person_name == "ben"
    people[1].groups.remove(reviewers)
    assert approval_sweep.lost_claims() == [ApprovalClaim.objects.get().pk]


def test_permissions_of_claims_are_checked_at_intervals(
    asked: Approval, people: list[User], monkeypatch: pytest.MonkeyPatch
) -> None:
    system.claim_approval(asked.run_id, by=people[0])
    people[0].is_active = False
    people[0].save()
    monkeypatch.setattr(approval_sweep._last_check, "at", float("inf"))  # noqa: SLF001
    assert list(approval_sweep.sweep()) == []
    monkeypatch.setattr(approval_sweep._last_check, "at", float("-inf"))  # noqa: SLF001
    assert list(approval_sweep.sweep()) == [asked.run_id]
    assert list(approval_sweep.sweep()) == []


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
