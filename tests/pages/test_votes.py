"""Pages of approvals that begin filled in, exclude persons, or need several of them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pydantic import BaseModel

from tests.pages.test_consumers import notify, of_run, opened
from tests.support.factories import make_approval, make_run
from workflows.engine import State, Vote, Workflow, approval
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalStatus,
    ApprovalVote,
    AuditEvent,
    Run,
    Status,
    WorkflowPermission,
)
from workflows.registry import registry
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
LAUNCHED = "You launched this run: someone else has to respond."
VOTED = "You have responded. The run waits for 1 more person."


class Review(BaseModel):
    """The response of a reviewer."""

    outcome: Literal["publish", "reject"]
    label: str | None = None
    due: dt.datetime | None = None


class Reviewed(State):
    """State of the workflow."""

    votes: tuple[Vote[Review], ...] = ()


@pytest.fixture(autouse=True)
def workflow() -> Iterator[None]:
    """Register a workflow with an approval that depends on persons."""
    review = approval(
        "Is it right?", Review, "votes", votes=2, not_by="launcher", name="review"
    )
    registry.register(Workflow("board", state=Reviewed, start=review, routes={}))
    yield
    registry.unregister("board")


def requested(launched_by: User | None = None, **fields: Any) -> Approval:
    """Return an open approval of a run of that workflow."""
    run = make_run(
        status=Status.WAITING, workflow_name="board", launched_by=launched_by
    )
    values = {
        "form": Review.model_json_schema(),
        "not_by": "launcher",
        "excluded": [launched_by.pk] if launched_by else [],
        "votes_needed": 2,
    }
    return make_approval(run, **{**values, **fields})


def respond(client: Client, one: Approval, reason: str = "it is", **given: Any) -> Any:
    """Submit the response form."""
    values = {f"response-{name}": value for name, value in given.items()}
    values |= {"question": one.sequence, "reason": reason}
    return client.post(f"/runs/{one.run_id}/respond/", values)


def text_of(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def page_of(client: Client, one: Approval) -> str:
    return text_of(client, f"/runs/{one.run_id}/")


# The form begins filled in -----------------------------------------------------------


def test_the_form_begins_with_the_initial_response(
    alice: User, sign_in: SignIn
) -> None:
    initial = {"outcome": "reject", "label": "a draft", "due": None}
    one = requested(initial=initial)
    text = page_of(sign_in(alice), one)
    assert 'value="a draft"' in text
    assert re.search(r'class="button primary"[^>]*value="reject"', text)


def test_an_untouched_field_of_the_form_keeps_the_initial_value(
    alice: User, sign_in: SignIn
) -> None:
    exact = "2026-03-01T10:00:00.123456Z"  # the input shows minutes only
    one = requested(
        votes_needed=1, initial={"outcome": "reject", "label": "draft", "due": exact}
    )
    answer = respond(sign_in(alice), one, outcome="publish", label="draft")
    assert answer.status_code == 302
    one.refresh_from_db()
    assert one.response == {"outcome": "publish", "label": "draft", "due": exact}


# Who may not respond -----------------------------------------------------------------


def test_the_launcher_sees_a_sentence_instead_of_the_form(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested(alice)
    hers, his = page_of(sign_in(alice), one), page_of(sign_in(bob), one)
    assert LAUNCHED in hers
    assert "response-form" not in hers
    assert LAUNCHED not in his
    assert "response-form" in his
    assert "Not by the person who launched the run." in his


def test_a_superuser_who_launched_the_run_is_excluded_as_well(
    admin: User, sign_in: SignIn
) -> None:
    one = requested(admin)
    client = sign_in(admin)
    assert "response-form" not in page_of(client, one)
    answer = respond(client, one, outcome="publish")
    assert answer.status_code == 403
    assert LAUNCHED in answer.content.decode()
    assert not ApprovalVote.objects.exists()


def test_the_inbox_shows_the_reason_instead_of_a_button(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested(alice)
    hers = text_of(sign_in(alice), "/approvals/")
    assert one.question in hers
    assert LAUNCHED in hers
    assert f'href="/runs/{one.run_id}/#run-approval">Respond' not in hers
    his = text_of(sign_in(bob), "/approvals/")
    assert LAUNCHED not in his
    assert f'href="/runs/{one.run_id}/#run-approval">Respond' in his


def test_the_navigation_and_home_leave_out_what_others_have_to_answer(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    requested(alice, question="Is the first right?")
    hers, his = (text_of(sign_in(one), "/") for one in (alice, bob))
    assert "waiting for you" not in hers
    assert "Is the first right?" not in hers
    assert 'title="1 waiting for you"' in his
    assert "Is the first right?" in his


# Votes -------------------------------------------------------------------------------


def test_votes_are_counted_and_shown_with_their_person_and_reason(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested()
    hers, his = sign_in(alice), sign_in(bob)
    assert "0 of 2 responses" in page_of(hers, one)
    answer = hers.post(
        f"/runs/{one.run_id}/respond/",
        {"question": one.sequence, "reason": "it is", "response-outcome": "publish"},
        follow=True,
    )
    assert "Decision saved. The run waits for others." in answer.content.decode()
    text = page_of(hers, one)
    assert VOTED in text
    assert "response-form" not in text
    text = page_of(his, one)
    assert "Waiting for approval: 1 of 2 responses." in text
    assert "<b>alice</b>" in text
    assert "<q>it is</q>" in text
    assert "response-form" in text
    respond(his, one, outcome="reject")
    one.refresh_from_db()
    assert one.status == ApprovalStatus.ANSWERED
    assert Run.objects.get().status == Status.PENDING
    assert "by alice, bob" in text_of(hers, "/approvals/")


def test_a_vote_that_is_sent_again_is_not_counted_twice(
    alice: User, sign_in: SignIn
) -> None:
    one = requested()
    client = sign_in(alice)
    for _ in range(2):
        assert respond(client, one, outcome="publish").status_code == 302
    assert respond(client, one, outcome="reject").status_code == 409
    assert ApprovalVote.objects.count() == 1
    assert AuditEvent.objects.filter(action="respond").count() == 1


def test_the_inbox_shows_the_number_of_votes(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested()
    respond(sign_in(alice), one, outcome="publish")
    hers, his = (text_of(sign_in(user), "/approvals/") for user in (alice, bob))
    assert "1 of 2 responses" in hers
    assert VOTED in hers
    assert "1 of 2 responses" in his
    assert VOTED not in his


def test_votes_of_a_run_whose_data_is_hidden_show_no_reason(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested()
    respond(sign_in(alice), one, reason="the secret", outcome="publish")
    viewers = Group.objects.create(name="viewers")
    bob.groups.add(viewers)
    WorkflowPermission.objects.create(
        workflow_name="board", group=viewers, can_view=True
    )
    readers = Group.objects.create(name="readers")
    WorkflowPermission.objects.create(
        workflow_name="board", group=readers, can_read=True
    )
    text = page_of(sign_in(bob), one)
    assert "1 of 2 responses" in text
    assert "the secret" not in text


def test_the_number_of_queries_of_the_inbox_does_not_grow_with_votes(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    client = sign_in(bob)

    def count() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/approvals/").status_code == 200
        return len(captured)

    client.get("/approvals/")
    for several in (1, 4):
        for _ in range(several):
            respond(sign_in(alice), requested(), outcome="publish")
            requested(
                status=ApprovalStatus.ANSWERED, responded_at=dt.datetime.now(dt.UTC)
            )
        counted = count()
        if several == 1:
            first = counted
    assert counted == first


def test_the_admin_shows_who_has_voted(
    alice: User, admin: User, sign_in: SignIn
) -> None:
    one = requested()
    respond(sign_in(alice), one, outcome="publish")
    text = text_of(sign_in(admin), f"/admin/workflows/approval/{one.pk}/change/")
    assert "alice (" in text


# Live --------------------------------------------------------------------------------


async def test_an_open_page_shows_each_viewer_their_own_part(
    alice: User, bob: User
) -> None:
    one = await run_in_db(requested, alice)
    path = of_run(one.run_id)
    async with opened(path, alice) as hers, opened(path, bob) as his:
        assert LAUNCHED in await hers.next_shown()
        text = await his.next_shown()
        assert "response-form" in text
        assert 'title="1 waiting for you"' in text
        await run_in_db(
            lambda: system.respond(
                one.run_id, {"outcome": "publish"}, by=bob, comment="fine"
            )
        )
        await notify(one.run)
        text = " ".join((await his.next_shown()).split())
        assert VOTED in text
        assert "waiting for you" not in text
        text = " ".join((await hers.next_shown()).split())
        assert LAUNCHED in text
        assert "1 of 2 responses" in text


async def test_an_open_inbox_shows_each_viewer_their_own_rows(
    alice: User, bob: User
) -> None:
    one = await run_in_db(requested, alice)
    path = "/ws/lists/approvals/"
    async with opened(path, alice) as hers, opened(path, bob) as his:
        assert LAUNCHED in await hers.next_shown()
        text = await his.next_shown()
        assert LAUNCHED not in text
        assert one.question in text


# API ---------------------------------------------------------------------------------


def test_the_api_shows_votes_and_the_reason_of_a_refusal(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    one = requested(alice, initial={"outcome": "reject", "label": None, "due": None})
    hers, his = sign_in(alice), sign_in(bob)
    address = f"/api/v1/runs/{one.run_id}"
    (shown,) = hers.get(f"{address}/approvals").json()
    assert (shown["can_respond"], shown["refusal"]) == (False, LAUNCHED)
    assert (shown["not_by"], shown["votes_needed"], shown["votes"]) == (
        "launcher",
        2,
        [],
    )
    assert shown["initial"] == {"outcome": "reject", "label": None, "due": None}
    assert hers.get("/api/v1/approvals").json()["items"] == []
    assert len(his.get("/api/v1/approvals").json()["items"]) == 1
    body = {"value": {"outcome": "publish"}, "reason": "fine"}
    options: dict[str, Any] = {"content_type": "application/json"}
    refused = hers.post(f"{address}/respond", body, **options)
    assert (refused.status_code, refused.json()["code"]) == (403, "response_refused")
    accepted = his.post(f"{address}/respond", body, **options)
    assert (accepted.status_code, accepted.json()["status"]) == (200, "waiting")
    again = his.post(f"{address}/respond", body, **options)
    assert (again.status_code, again.json()["code"]) == (409, "already_answered")
    (shown,) = his.get(f"{address}/approvals").json()
    assert (shown["can_respond"], shown["refusal"]) == (False, VOTED)
    (vote,) = shown["votes"]
    assert (vote["voter"], vote["comment"], vote["response"]["outcome"]) == (
        "bob",
        "fine",
        "publish",
    )
