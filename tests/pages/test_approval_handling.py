"""Who works on an approval, on the pages; and a button for each choice."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pydantic import BaseModel

from tests.pages.test_consumers import opened
from tests.support.factories import make_approval, make_run
from workflows.engine import State, Workflow, approval
from workflows.execution import approval_escalations
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalSnooze,
    ApprovalStatus,
    Status,
    WorkflowPermission,
)
from workflows.pages import access
from workflows.pages.forms.choice_buttons import choice_of
from workflows.pages.lists import open_approvals
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.live import consumers
from workflows.registry import registry
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


class Review(BaseModel):
    """The response of a reviewer."""

    approved: bool
    note: str = ""


class ReviewState(State):
    """State of the workflow."""

    review: Review | None = None


def plain(page: Client, address: str) -> str:
    """Return the text of a page, without tags, with single spaces."""
    found = re.sub(r"<[^>]+>", "", text_of(page, address))
    return " ".join(found.split())


@pytest.fixture(autouse=True)
def workflow() -> Iterator[None]:
    """Register a workflow with an approval."""
    node = approval("Right?", answer=Review, into="review", name="review")
    registry.register(Workflow("ask", state=ReviewState, start=node, routes={}))
    yield
    registry.unregister("ask")


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def ask(**fields: Any) -> Approval:
    """Return an open approval of a run of that workflow."""
    run = make_run(status=Status.WAITING, workflow_name="ask")
    fields = {"node_name": "review", "form": Review.model_json_schema(), **fields}
    return make_approval(run, **fields)


def text_of(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


# A button for each choice ---------------------------------------------------------------


class Level(Enum):
    """Values of a choice."""

    LOW = "low"
    HIGH = "high"


class Several(BaseModel):
    """Two fields that have to be chosen."""

    first: bool
    second: Literal["a", "b"]


class Chosen(BaseModel):
    """A choice, and further fields with defaults."""

    level: Level
    due: int | None = None
    notify: bool = False


class Defaults(BaseModel):
    """A choice with a default."""

    level: Level = Level.LOW
    note: str = ""


class Texts(BaseModel):
    """A choice and a text that is required."""

    level: Level
    why: str


class Many(BaseModel):
    """Too many choices for buttons."""

    level: Literal[1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (Review, "approved"),
        (Chosen, "level"),
        (Defaults, "level"),
        (Several, ""),
        (Texts, ""),
        (Many, ""),
    ],
)
def test_a_response_that_is_one_choice_has_buttons(
    kind: type[BaseModel], field: str
) -> None:
    assert choice_of(kind.model_json_schema()) == field


def test_each_choice_is_a_button_that_submits_it(page: Client) -> None:
    one = ask()
    text = text_of(page, f"/runs/{one.run_id}/")
    form = text[text.index('id="response-form"') :]
    buttons = re.findall(r"<button ([^>]*)>\s*([^<]*?)\s*</button>", form)[:3]
    assert [label for _, label in buttons] == ["", "Yes", "No"]
    assert "disabled" in buttons[0][0], "Enter in a text field presses the first button"
    assert "Submit decision" not in form
    assert 'type="radio"' not in form
    assert 'type="checkbox"' not in form
    values = {"response-approved": "json:false", "response-note": "late"}
    values |= {"question": str(one.sequence), "reason": "the banner counts"}
    page.post(f"/runs/{one.run_id}/respond/", values)
    one.refresh_from_db()
    assert one.response == {"approved": False, "note": "late"}


def test_a_form_that_is_sent_without_a_choice_saves_nothing(page: Client) -> None:
    one = ask()
    values = {"question": one.sequence, "reason": "the banner counts"}
    answer = page.post(f"/runs/{one.run_id}/respond/", values)
    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()
    one.refresh_from_db()
    assert one.status == ApprovalStatus.OPEN


def test_several_equal_approvals_have_the_same_buttons(page: Client) -> None:
    first, second = ask(), ask()
    address = f"/approvals/respond/?run={first.run_id}&run={second.run_id}"
    text = text_of(page, address)
    assert re.search(r'name="response-approved" value="json:true">\s*Yes', text)
    values = {
        "offered": [first.run_id, second.run_id],
        "run": [first.run_id, second.run_id],
        "response-approved": "json:true",
        "reason": "both",
    }
    page.post("/approvals/respond/", values)
    answers = Approval.objects.values_list("response", flat=True)
    assert list(answers) == [{"approved": True, "note": ""}] * 2


# Claims ---------------------------------------------------------------------------------


def test_a_claim_is_shown_on_the_page_and_in_the_list(
    page: Client, bob: User, sign_in: SignIn
) -> None:
    one = ask()
    answer = page.post(f"/runs/{one.run_id}/claim/", {"question": one.sequence})
    assert answer.headers["Location"] == f"/runs/{one.run_id}/"
    of_bob = sign_in(bob)
    for address in (f"/runs/{one.run_id}/", "/approvals/", "/"):
        assert "<b>alice</b> is working on it" in text_of(of_bob, address), address
    refused = of_bob.post(f"/runs/{one.run_id}/claim/", headers=HTMX)
    assert refused.status_code == 409
    assert "alice is working on it." in refused.content.decode()
    of_bob.post(f"/runs/{one.run_id}/release-approval/", {"list": "1"})
    assert "is working on it" not in text_of(page, "/approvals/")


def test_the_list_shows_mine_and_unclaimed_approvals(
    page: Client, alice: User, bob: User
) -> None:
    mine, of_bob, free = ask(question="A?"), ask(question="B?"), ask(question="C?")
    system.claim_approval(mine.run_id, by=alice)
    system.claim_approval(of_bob.run_id, by=bob)
    found = {
        show: re.findall(
            "<b[^>]*>([ABC])[?]</b>", text_of(page, f"/approvals/?show={show}")
        )
        for show in ("", "mine", "unclaimed", "unknown")
    }
    assert found == {
        "": ["A", "B", "C"],
        "mine": ["A"],
        "unclaimed": ["C"],
        "unknown": ["A", "B", "C"],
    }
    system.respond(free.run_id, {"approved": True}, by=alice, comment="yes")
    assert "no unclaimed approval" in text_of(page, "/approvals/?show=unclaimed")


def test_a_claim_in_the_list_leads_back_to_the_list(page: Client) -> None:
    one = ask()
    address, given = f"/runs/{one.run_id}/claim/", {"list": "1"}
    assert page.post(address, given).headers["Location"] == "/approvals/"
    answer = page.post(address, given, headers=HTMX)
    assert "Claimed" in answer.content.decode()
    assert 'id="run-approval"' not in answer.content.decode()


# Reassign, snooze and remind ------------------------------------------------------------


def test_a_reassigned_approval_names_its_assignee_and_who_reassigned_it(
    page: Client, bob: User, sign_in: SignIn
) -> None:
    one = ask(question="A?")
    address = f"/runs/{one.run_id}/"
    refused = page.post(f"{address}reassign/", {"to": "carol"}, headers=HTMX)
    assert refused.status_code == 422
    assert "There is no person or group “carol”." in refused.content.decode()
    given = {"to": bob.username, "reason": "He knows it.", "question": one.sequence}
    page.post(f"{address}reassign/", given)
    text = text_of(page, address)
    assert "Assigned to <b>bob</b> by alice" in text
    assert "<q>He knows it.</q>" in text
    assert "Assigned to <b>bob</b> by alice" in text_of(page, "/approvals/")
    assert "A?" in text_of(sign_in(bob), "/approvals/?show=mine")
    assert "A?" not in text_of(page, "/approvals/?show=unclaimed")


def test_the_form_suggests_the_approvers(page: Client, alice: User, bob: User) -> None:
    group = Group.objects.create(name="reviewers")
    group.user_set.add(alice, bob)
    text = text_of(page, f"/runs/{ask(groups=['reviewers']).run_id}/")
    suggested = re.findall(r'<option value="(\w+)"></option>', text)
    assert suggested == ["reviewers", "alice", "bob"]


def test_where_an_approval_goes_without_a_response_is_shown_in_words(
    page: Client,
) -> None:
    one = ask(groups=["reviewers"], question="A?")
    at = timezone.now() + dt.timedelta(hours=3, seconds=5)
    approval_escalations.declare(one, at, "leads")
    address = f"/runs/{one.run_id}/"
    User.objects.get(username="alice").groups.add(
        Group.objects.create(name="reviewers")
    )
    for shown in (address, "/approvals/"):
        text = plain(page, shown)
        assert "Goes to leads in 3 hours if no one responds" in text, text
    assert "Reassign, escalate, remind or snooze" in plain(page, address)
    sent = {"question": one.sequence, "reason": "It is urgent."}
    assert page.post(f"{address}escalate/", sent).status_code == 302
    text = plain(page, address)
    assert "Escalated to leads by alice, " in text
    assert "It is urgent." in text
    assert "Assigned to" not in text
    assert "Escalate now" not in text
    assert "Escalated to leads by alice, " in plain(page, "/approvals/")
    assert page.post(f"{address}escalate/", sent).status_code == 409
    Approval.objects.update(status="answered", responded_at=timezone.now())
    assert "Escalated to leads just now" in plain(page, "/approvals/")


def test_an_approval_is_snoozed_for_a_day_in_the_list(page: Client) -> None:
    one = ask(question="A?")
    text = text_of(page, "/approvals/")
    form = text.partition(f'action="/runs/{one.run_id}/snooze/"')[2]
    form = form.partition("</form>")[0]
    fields = dict(re.findall(r'name="(\w+)" value="(\w+)"', form))
    assert fields["hours"] == "24"
    answer = page.post(f"/runs/{one.run_id}/snooze/", fields)
    assert answer.headers["Location"] == "/approvals/"
    assert "A?" not in text_of(page, "/approvals/")


def test_a_snoozed_approval_is_in_a_list_of_its_own(page: Client) -> None:
    one = ask(question="A?")
    address = f"/runs/{one.run_id}/snooze/"
    answer = page.post(address, {"hours": "24", "question": one.sequence})
    assert answer.headers["Location"] == "/approvals/"
    assert "A?" not in text_of(page, "/approvals/")
    assert "A?" not in text_of(page, "/")
    assert "Show again" in text_of(page, "/approvals/?show=snoozed")
    page.post(address, {"list": "1"})
    assert "A?" in text_of(page, "/approvals/")
    assert "You have snoozed no approval." in text_of(page, "/approvals/?show=snoozed")


def test_live_lists_are_shared_by_viewers_who_have_hidden_the_same(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, inbox = ask(), LISTS["approvals"]
    monkeypatch.setattr(open_approvals, "are_personal", lambda _: False)

    def key(person: User, **query: str) -> object:
        return inbox.shared_by(User.objects.get(pk=person.pk), query)

    assert key(alice) == key(bob)
    assert key(alice, show="mine") != key(bob, show="mine")
    tomorrow = timezone.now() + dt.timedelta(days=1)
    system.snooze_approval(one.run_id, tomorrow, by=alice)
    before = key(alice)
    assert before != key(bob)
    ApprovalSnooze.objects.update(until=timezone.now())
    assert key(alice) == key(bob)


def test_what_a_live_list_shows_is_a_function_of_its_key(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ask(question="A?")
    monkeypatch.setattr(open_approvals, "are_personal", lambda _: False)
    connected = User.objects.get(pk=alice.pk)  # whose socket has read its snoozes
    for name in ("approvals", "home"):
        LISTS[name].shared_by(connected, {})
    tomorrow = timezone.now() + dt.timedelta(days=1)
    system.snooze_approval(one.run_id, tomorrow, by=alice)
    for name in ("approvals", "home"):
        context = LISTS[name].context({}, connected)
        assert context["waiting"] == 1, "others have the same key"
        assert "A?" in str(context.get("approvals") or context["groups"])
        assert LISTS[name].context({}, alice)["waiting"] == 0


@pytest.mark.django_db(transaction=True)
async def test_a_snoozed_approval_disappears_at_once_from_the_lists_of_its_person(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.ListConsumer, "pause_seconds", 0)
    one = await run_in_db(ask, question="Is it right?")
    path = "/ws/lists/approvals/"
    async with opened(path, alice) as hers, opened(path, bob) as his:
        assert "Is it right?" in await hers.next_shown()
        assert "Is it right?" in await his.next_shown()
        until = timezone.now() + dt.timedelta(days=1)
        await run_in_db(system.snooze_approval, one.run_id, until, by=alice)
        assert "Is it right?" not in await hers.next_shown()
        assert await his.is_quiet()


def test_who_cannot_respond_but_may_add_notes_can_send_a_reminder(
    page: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "has_personal_approvals", lambda _: True)
    editors_only = ask(groups=["editors"])
    excluded = ask(not_by="launcher", excluded=[alice.pk])
    for one in (editors_only, excluded):
        text = text_of(page, f"/runs/{one.run_id}/")
        assert "Send reminder" in text
        for action in ("claim", "release-approval", "reassign", "escalate", "snooze"):
            assert f"/runs/{one.run_id}/{action}/" not in text
        assert page.post(f"/runs/{one.run_id}/remind/").status_code == 302
    WorkflowPermission.objects.create(workflow_name="ask", can_view=True)
    assert "Send reminder" not in text_of(page, f"/runs/{excluded.run_id}/")


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("reassign", {"to": "b\x00b"}),
        ("reassign", {"to": "bob", "reason": "\x00"}),
        ("respond", {"value": {"approved": True}, "reason": "\x00"}),
        ("", {"value": {"approved": True}, "reason": "\x00"}),
    ],
)
def test_a_nul_character_in_a_request_is_refused(
    page: Client, action: str, body: dict[str, Any]
) -> None:
    one = ask()
    address = f"/api/v1/approvals/{one.run_id}/{action}"
    if action == "respond":
        address = f"/api/v1/runs/{one.run_id}/respond"
    if not action:
        address = "/api/v1/approvals/respond"
        body |= {"approvals": [{"run": str(one.run_id)}]}
    answer = page.post(address, body, content_type="application/json")
    assert answer.status_code == 422, answer.content
    assert "pattern" in answer.content.decode()


def test_a_second_reminder_within_an_hour_names_the_sender_of_the_first(
    page: Client, bob: User, sign_in: SignIn
) -> None:
    address = f"/runs/{ask().run_id}/remind/"
    assert page.post(address).status_code == 302
    refused = sign_in(bob).post(address, headers=HTMX)
    assert refused.status_code == 409
    assert "alice sent a reminder already." in refused.content.decode()
