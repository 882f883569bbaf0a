"""Approvals: the inbox, the question with its evidence, and the response."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_approval, make_document, make_run
from workflows.access.permissions import EVERYTHING, is_for
from workflows.engine import State, Workflow, approval
from workflows.models import Approval, ApprovalStatus, AuditEvent, Run, Status
from workflows.pages.documents import evidence
from workflows.pages.lists import open_approvals, pagination
from workflows.registry import registry
from workflows.services.approvals import response_text

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


class Review(BaseModel):
    """The response of a reviewer."""

    outcome: Literal["publish", "reject"]
    label: str | None = None


class ReviewState(State):
    """State of the workflow."""

    review: Review | None = None


review = approval("Is it right?", answer=Review, into="review", name="review")


@pytest.fixture(autouse=True)
def waiting_run() -> Iterator[None]:
    """Register a workflow with an approval."""
    registry.register(Workflow("ask", state=ReviewState, start=review, routes={}))
    yield
    registry.unregister("ask")


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def make_open_approval(**fields: Any) -> Approval:
    """Return an open approval of a run of that workflow."""
    run = make_run(status=Status.WAITING, workflow_name="ask")
    return make_approval(run, **{"form": Review.model_json_schema(), **fields})


def send(page: Client, open_approval: Approval, **given: Any) -> Any:
    """Submit the response form."""
    values = {f"response-{name}": value for name, value in given.items()}
    values |= {"question": open_approval.sequence, "reason": "the banner counts"}
    return page.post(f"/runs/{open_approval.run_id}/respond/", values)


def test_a_waiting_run_shows_the_question_and_a_response_form(
    page: Client,
) -> None:
    open_approval = make_open_approval()
    text = page.get(f"/runs/{open_approval.run_id}/").content.decode()
    assert "Waiting for approval." in text
    assert "Is “restricted” right?" in text
    assert re.search(r'name="response-outcome"\s+value="publish"', text)
    assert "saved in the audit log" in text


def test_a_response_is_recorded_with_the_person_and_the_reason(
    page: Client, alice: User
) -> None:
    open_approval = make_open_approval()
    answer = send(page, open_approval, outcome="publish")
    assert answer.headers["Location"] == f"/runs/{open_approval.run_id}/"
    open_approval.refresh_from_db()
    assert open_approval.status == ApprovalStatus.ANSWERED
    assert open_approval.response == {"outcome": "publish", "label": None}
    assert (open_approval.responded_by, open_approval.comment) == (
        alice,
        "the banner counts",
    )
    assert Run.objects.get().status == Status.PENDING
    assert AuditEvent.objects.get().action == "respond"


def test_an_invalid_response_is_shown_again_with_its_message(page: Client) -> None:
    open_approval = make_open_approval()
    answer = send(page, open_approval, label="mine")
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "This field is required." in text
    assert 'value="mine"' in text
    assert Approval.objects.get().status == ApprovalStatus.OPEN


def test_a_live_page_gets_the_form_back_as_a_region(page: Client) -> None:
    open_approval = make_open_approval()
    answer = page.post(
        f"/runs/{open_approval.run_id}/respond/",
        {"question": open_approval.sequence},
        headers=HTMX,
    )
    assert answer.status_code == 422
    text = answer.content.decode()
    assert 'id="run-approval"' in text
    assert "This field is required." in text
    assert "<html" not in text


def test_the_second_person_is_shown_who_responded_first(
    page: Client, bob: User, sign_in: SignIn
) -> None:
    open_approval = make_open_approval()
    send(sign_in(bob), open_approval, outcome="reject")
    answer = send(page, open_approval, outcome="publish")
    assert answer.status_code == 409
    assert "Already answered by bob." in answer.content.decode()
    assert "the banner counts" in answer.content.decode()
    assert Approval.objects.get().response == {"outcome": "reject", "label": None}


def test_a_response_to_an_earlier_approval_does_not_count_for_a_later_one(
    page: Client,
) -> None:
    earlier = make_open_approval(status=ApprovalStatus.ANSWERED)
    make_approval(earlier.run, sequence=earlier.sequence + 2)
    answer = send(page, earlier, outcome="publish")
    assert answer.status_code == 409
    assert Approval.objects.filter(status=ApprovalStatus.OPEN).exists()


def test_a_run_without_an_approval_accepts_no_response(page: Client) -> None:
    run = make_run(status=Status.RUNNING)
    assert page.post(f"/runs/{run.pk}/respond/").status_code == 404


def test_an_approval_for_a_group_is_for_its_members(page: Client, alice: User) -> None:
    open_approval = make_open_approval(groups=["reviewers"])
    address = f"/runs/{open_approval.run_id}/"
    assert "response-form" not in page.get(address).content.decode()
    assert "Approvers: reviewers" in page.get(address).content.decode()
    assert send(page, open_approval, outcome="publish").status_code == 403
    assert "You’re all caught up" in page.get("/approvals/").content.decode()

    alice.groups.add(Group.objects.create(name="reviewers"))
    assert "response-form" in page.get(address).content.decode()
    assert open_approval.question in page.get("/approvals/").content.decode()
    assert send(page, open_approval, outcome="publish").status_code == 302


def test_the_navigation_counts_approvals_for_the_user(page: Client) -> None:
    make_open_approval()
    make_open_approval(groups=["others"])
    text = page.get("/documents/").content.decode()
    assert 'title="1 waiting for you"' in text


def test_a_response_updates_the_count_on_an_open_page(
    page: Client,
) -> None:
    open_approval = make_open_approval()
    given = {
        "question": open_approval.sequence,
        "response-outcome": "publish",
        "reason": "x",
    }
    answer = page.post(f"/runs/{open_approval.run_id}/respond/", given, headers=HTMX)
    text = answer.content.decode()
    assert '<span id="nav-approvals"' in text
    assert "waiting for you" not in text


def test_the_inbox_shows_open_and_answered_approvals(page: Client, bob: User) -> None:
    make_open_approval(question="Is the first right?")
    make_open_approval(
        question="Is the second right?",
        status=ApprovalStatus.ANSWERED,
        responded_by=bob,
        comment="It is <fine>.",
    )
    text = page.get("/approvals/").content.decode()
    waiting, answered = text.split("Recently answered", 1)
    assert "Is the first right?" in waiting
    assert "Is the second right?" in answered
    assert "by bob" in answered
    assert "It is &lt;fine&gt;." in answered


def test_the_pages_under_review_are_shown_with_their_marks(page: Client) -> None:
    document = make_document()
    box = {"left": 0.25, "top": 0.1, "right": 0.75, "bottom": 0.2}
    open_approval = make_open_approval(
        evidence={
            "document": str(document.pk),
            "why": ["Two banners disagree."],
            "pages": [{"page": 2, "marks": [{"box": box, "text": "SECRET (header)"}]}],
        }
    )
    text = page.get(f"/runs/{open_approval.run_id}/").content.decode()
    assert f'src="/documents/{document.pk}/pages/2.png"' in text
    assert "SECRET (header)" in text
    assert '<rect x="242"' in text
    assert "Two banners disagree." in text


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        "text",
        {"document": "no id"},
        {"document": None, "pages": 3},
        {"pages": [{"page": 1}]},
    ],
)
def test_evidence_of_another_shape_is_shown_as_values(shown: object) -> None:
    found = evidence.read(shown)
    assert found.document is None
    assert found.pages == ()
    assert found.rest == (shown if isinstance(shown, dict) else {})


@pytest.mark.parametrize(
    "page_shown",
    [0, -1, "1", {}, {"page": "x"}, {"page": 0}, None, [1]],
)
def test_an_invalid_page_number_in_evidence_is_ignored(page_shown: object) -> None:
    document = make_document()
    shown = {"document": str(document.pk), "pages": [page_shown, 3]}
    assert [page.number for page in evidence.read(shown).pages] == [3]


def test_marks_are_clipped_to_the_page_and_invalid_ones_ignored() -> None:
    document = make_document()
    marks = [
        {"left": -5, "top": 0, "right": 9, "bottom": 1, "text": "all of it"},
        {"left": "x", "top": 0, "right": 1, "bottom": 1},
        "no mark",
    ]
    shown = {"document": str(document.pk), "pages": [{"page": 1, "marks": marks}]}
    (mark,) = evidence.read(shown).pages[0].marks
    assert (mark.x, mark.y, mark.width, mark.height) == (0, 0, 1000, 1000)


def test_approvals_of_other_groups_do_not_fill_the_inbox(
    page: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "PAGE_SIZE", 2)
    alice.groups.add(Group.objects.create(name="editors"))
    for number in range(5):
        make_open_approval(groups=["lawyers"], question=f"For lawyers {number}")
    mine = [
        make_open_approval(groups=["lawyers", "editors"]),
        make_open_approval(),
        make_open_approval(groups=["editors"]),
    ]
    first = page.get("/approvals/")
    assert first.context["found"].rows == mine[:2]
    assert first.context["waiting"] == 3
    after = first.context["found"].after
    assert f'href="?after={after}"' in first.content.decode()
    second = page.get("/approvals/", {"after": after})
    assert second.context["found"].rows == mine[2:]
    assert second.context["found"].after is None
    assert "3 waiting for you in total" in second.content.decode()
    assert f"/ws/lists/approvals/?after={after}" in second.content.decode()
    for odd in ("x", "-1", "9" * 40, "\x00"):
        assert page.get("/approvals/", {"after": odd}).status_code == 200


@pytest.mark.parametrize("groups", [[], ["editors"], ['it\'s "odd"', "ü%"], None])
def test_the_inbox_lists_only_approvals_the_user_can_respond_to(
    groups: list[str] | None,
) -> None:
    open_approval = [
        make_open_approval(groups=names)
        for names in ([], ["editors"], ["ü%", "lawyers"], ["u%"])
    ]
    theirs = None if groups is None else frozenset(groups)
    granted = replace(EVERYTHING, groups=theirs)
    wanted = [one for one in open_approval if is_for(one.groups, theirs)]
    assert open_approvals.open_page(granted).rows == wanted
    assert open_approvals.count_open(granted) == len(wanted)


# A queue of approvals ---------------------------------------------------------------


def test_the_question_shows_the_params_and_what_the_expiry_does(page: Client) -> None:
    run = make_run(status=Status.WAITING, workflow_name="ask", params={"amount": 1250})
    due = timezone.now() + dt.timedelta(hours=1)
    fields = {"form": Review.model_json_schema(), "expires_at": due}
    make_approval(run, **fields, on_expiry={"outcome": "reject", "label": None})
    text = page.get(f"/runs/{run.pk}/").content.decode()
    assert "Parameters of the run" in text
    assert "1250" in text.partition("Parameters of the run")[2].partition("<form")[0]
    sentence = "then the run continues with outcome “reject”"
    assert sentence in text
    assert sentence in page.get("/approvals/").content.decode()
    other = make_open_approval(expires_at=due)
    assert "then the run fails" in page.get(f"/runs/{other.run_id}/").content.decode()


def test_a_response_leads_to_the_next_approval(page: Client) -> None:
    first, second = make_open_approval(), make_open_approval(question="And <this>?")
    send(page, first, outcome="publish")
    text = page.get("/approvals/").content.decode()
    link = f'<a href="/runs/{second.run_id}/#run-approval">Next approval: And &lt;this&gt;?</a>'
    assert link in text
    third = make_open_approval()
    send(page, third, outcome="reject")
    assert link in page.get("/approvals/").content.decode(), "the oldest comes again"
    send(page, second, outcome="reject")
    assert "You’re all caught up." in page.get("/approvals/").content.decode()


def test_the_history_has_each_response_and_its_person(page: Client) -> None:
    send(page, make_open_approval(), outcome="publish", label="x" * 200)
    _, _, answered = (
        page.get("/approvals/").content.decode().partition("Recently answered")
    )
    assert "outcome “publish” and label “xxx" in answered
    assert "x" * 100 not in answered
    assert "by alice" in answered


def test_a_response_on_one_line_is_short_and_leaves_out_empty_values() -> None:
    many = {"a": 1, "b": "", "c": None, "d": [2], "e": True, "f": "x"}
    assert response_text(many) == "a “1” and d “[2]” and e “true” and 1 more"
    assert response_text(None) == ""


def respond_to(page: Client, approvals: list[Approval], **given: Any) -> Any:
    """Submit one response to several approvals."""
    form: dict[str, Any] = {f"response-{name}": value for name, value in given.items()}
    form |= {f"sequence-{one.run_id}": one.sequence for one in approvals}
    ids = [str(one.run_id) for one in approvals]
    form |= {"run": ids, "offered": ids, "reason": "all of one batch"}
    return page.post("/approvals/respond/", form)


def test_one_response_answers_equal_approvals(page: Client, alice: User) -> None:
    equal = [make_open_approval(), make_open_approval()]
    other = make_open_approval(node_name="another")
    text = page.get("/approvals/").content.decode()
    assert "Respond to 2 of" in text
    query = {"run": [str(one.run_id) for one in (*equal, other)]}
    shown = page.get("/approvals/respond/", query)
    assert [one.approval for one in shown.context["shown"]] == equal
    answer = respond_to(page, [*equal, other], outcome="publish")
    assert answer.headers["Location"] == "/approvals/"
    for one in equal:
        one.refresh_from_db()
        assert one.responded_by == alice
        assert one.response == {"outcome": "publish", "label": None}
        event = AuditEvent.objects.get(run_id=one.run_id)
        assert (event.action, event.reason) == ("respond", "all of one batch")
    other.refresh_from_db()
    assert other.status == ApprovalStatus.OPEN
    assert "2 decisions saved." in page.get("/approvals/").content.decode()


def test_each_of_several_responses_can_be_refused(page: Client) -> None:
    first, second = make_open_approval(), make_open_approval()
    Approval.objects.filter(pk=second.pk).update(sequence=second.sequence + 1)
    respond_to(page, [first, second], outcome="reject")
    text = page.get("/approvals/").content.decode()
    assert "1 decision saved." in text
    assert "Not saved for" in text
    second.refresh_from_db()
    assert second.status == ApprovalStatus.OPEN


def test_one_response_to_several_has_to_be_complete(page: Client) -> None:
    equal = [make_open_approval(), make_open_approval()]
    answer = respond_to(page, equal)
    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()
    ids = [str(one.run_id) for one in equal]
    form = {"offered": ids, "response-outcome": '"publish"', "reason": "x"}
    answer = page.post("/approvals/respond/", form)
    assert "Select at least one approval." in answer.content.decode()
    assert not Approval.objects.exclude(status=ApprovalStatus.OPEN).exists()


def test_several_responses_are_limited_to_the_approvals_of_the_person(
    page: Client,
) -> None:
    group = Group.objects.create(name="reviewers")
    others = [make_open_approval(groups=[group.name]) for _ in range(2)]
    assert respond_to(page, others, outcome="publish").status_code == 302
    assert not Approval.objects.exclude(status=ApprovalStatus.OPEN).exists()
