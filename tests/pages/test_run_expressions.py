"""Expressions select the same runs on the page, in the API, exports and bulk actions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import make_document, make_run
from workflows.models import Run, Status, WorkflowPermission
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists import pagination, run_sorting
from workflows.pages.lists.pagination import SCATTERED_LIMIT
from workflows.pages.lists.run_expression import BadExpression, read
from workflows.pages.lists.run_expression import Group as Parts
from workflows.pages.lists.run_fields import FIELDS
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.search.completion import completions
from workflows.system import system

SignIn = Callable[[User], Client]
NOON = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
HIDDEN = "pay"  # a workflow whose data is hidden from Bob


@pytest.fixture
def runs(alice: User, bob: User) -> dict[str, Run]:
    """Return runs that differ in every field."""
    document = make_document(name="invoice 7.pdf")
    paid = make_run(
        pk=run_id_at(NOON), created_at=NOON, workflow_name="pay", title="Invoice 7, Ada",
        launched_by=alice, params={"amount": 1500, "document": str(document.pk)},
        started_at=NOON, completed_at=NOON + dt.timedelta(minutes=9),
        result={"paid": True}, sequence=7, priority=3,
    )  # fmt: skip
    failed = make_run(
        status=Status.FAILED, workflow_name="refund", title="Refund 8", launched_by=bob,
        params={"amount": 20}, error_message="Bank refused (code 5)", error_code="bank",
    )  # fmt: skip
    waiting = make_run(status=Status.WAITING, workflow_name="refund", attempt=3)
    system.label(failed.pk, "To check", by=alice)
    return {"paid": paid, "failed": failed, "waiting": waiting}


def shown(client: Client, **query: Any) -> list[UUID]:
    answer = client.get("/runs/", query)
    assert answer.status_code == 200
    return [row.run.pk for row in answer.context["rows"]]


CASES = {
    "status = failed": {"failed"},
    "status != failed": {"paid", "waiting"},
    "status in (FAILED, waiting)": {"failed", "waiting"},
    "workflow = refund and status = waiting": {"waiting"},
    "workflow ~ fun": {"failed", "waiting"},
    "title ~ INVOICE": {"paid"},
    'title = "Invoice 7, Ada"': {"paid"},
    'title in (x, "Invoice 7, Ada")': {"paid"},
    "label = to check": {"failed"},
    "label != to check": {"paid", "waiting"},
    "label ~ check": {"failed"},
    "error ~ refused": {"failed"},
    "error = bank": {"failed"},
    'error ~ "(code 5)"': {"failed"},
    "launched_by = alice": {"paid"},
    "launched_by != alice": {"failed", "waiting"},
    "launched_by ~ O": {"failed"},
    "launched = 2026-07-01": {"paid"},
    "launched > 2026-07-01T12:00:00Z": {"failed", "waiting"},
    "launched <= 2026-07-01T12:00:00Z": {"paid"},
    "ended < 2026-07-02": {"paid"},
    "started = 2026-07-01": {"paid"},
    "duration > 5m": {"paid"},
    "duration <= 540": {"paid", "failed"},
    "duration < 60s": {"failed"},
    "document = invoice 7.pdf": {"paid"},
    "document ~ voice": {"paid"},
    "document ~ nothing": set(),
    "steps > 6": {"paid"},
    "attempts in (3, 4)": {"waiting"},
    "priority != 0": {"paid"},
    "waiting_for = approval": {"waiting"},
    "params.amount > 100": {"paid"},
    "params.amount in (20, 21)": {"failed"},
    "result.paid = true": {"paid"},
    'params."amount" = 20': {"failed"},
    "status = failed or result.paid = true": {"failed", "paid"},
    "(status = failed or status = waiting) and launched_by = bob": {"failed"},
    "status = waiting or status = failed and launched_by = alice": {"waiting"},
    "status = completed AND (title ~ ada OR title ~ bea)": {"paid"},
    "Invoice": {"paid"},
    "to check": {"failed"},
    "refused": {"failed"},
    "nowhere": set(),
    '"Invoice 7"': {"paid"},
}  # fmt: skip


def test_each_field_and_operator_selects_its_runs(
    runs: dict[str, Run], alice: User, sign_in: SignIn
) -> None:
    client, names = sign_in(alice), {run.pk: name for name, run in runs.items()}
    for text, wanted in CASES.items():
        assert {names[pk] for pk in shown(client, q=text)} == wanted, text
    whole = str(runs["paid"].pk)
    for part in (whole, whole[:18], whole[-8:], whole.upper()):
        assert shown(client, q=f"id = {part}") == [runs["paid"].pk], part


def test_an_expression_is_combined_with_the_other_filters(
    runs: dict[str, Run], alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert shown(client, q="status = failed", workflow="pay") == []
    found = shown(
        client, q="status = failed", workflow="refund", where="params.amount = 20"
    )
    assert found == [runs["failed"].pk]


ERRORS = {
    "ttle ~ x": (0, "Similar: title"),
    "status = failed and and": (20, "Name a field"),
    "status = broken": (9, "is none of: pending"),
    "status > 3": (7, "Use one of = != in here"),
    "(status = failed": (0, "Missing “)”"),
    "status = failed)": (15, "Join"),
    "status = ": (8, "Missing value"),
    "title in (a": (11, "Missing “,” or “)”"),
    "title in (a, ": (12, "Missing value"),
    'title = "a': (8, "Unclosed quotes"),
    "title = a or or title = b": (13, "Name a field"),
    "params = 3": (0, "Name a value"),
    "params.a > x": (11, "needs a number or a date"),
    "steps = many": (8, "not a whole number"),
    "steps > 99999999999": (8, "not a whole number"),
    "launched > yesterday": (11, "not a date"),
    "launched = 2026-07-01T10:00:00Z": (11, "Compare a time"),
    "duration > long": (11, "not a duration"),
    "id = xyz": (5, "not an id"),
    "= 3": (0, "Name a field"),
    "(" * 12 + "status = failed" + ")" * 12: (10, "nested"),
    " and ".join(["steps = 1"] * 21): (280, "Maximum 20 comparisons"),
    "title in (" + ",".join("abcdefghijklmnopqrstu") + ")": (9, "Maximum 20 values"),
    "title = " + "x" * 500: (500, "Maximum 500"),
}


def test_an_error_names_its_place_and_the_remedy() -> None:
    for text, (place, sentence) in ERRORS.items():
        with pytest.raises(BadExpression) as caught:
            read(text)
        assert sentence in str(caught.value), (text, str(caught.value))
        assert caught.value.place == place, (text, caught.value.place)


def test_the_page_marks_the_place_of_an_error_and_shows_no_runs(
    runs: dict[str, Run], alice: User, sign_in: SignIn
) -> None:
    answer = sign_in(alice).get("/runs/", {"q": "status = broken"})
    assert answer.context["rows"] == []
    text = answer.content.decode()
    assert 'data-error-at="9"' in text
    assert "status = <mark>b</mark>roken" in text


TOKENS = [
    "status",
    "failed",
    "params.a",
    "title",
    "=",
    "~",
    "in",
    "(",
    ")",
    ",",
    "and",
    "or",
    '"',
    "3",
    " ",
]


@given(st.lists(st.sampled_from(TOKENS) | st.text(max_size=3), max_size=14))
def test_any_text_is_an_expression_or_has_an_error_within_it(parts: list[str]) -> None:
    text = " ".join(parts)
    try:
        found = read(text)
    except BadExpression as error:
        place = error.place
    else:
        assert found is None or isinstance(found.tree, Parts)
        return
    assert 0 <= place <= len(text)


def test_the_api_exports_and_bulk_actions_take_the_same_expression(
    runs: dict[str, Run], admin: User, sign_in: SignIn
) -> None:
    client, text = sign_in(admin), "status = failed and params.amount < 100"
    wanted = str(runs["failed"].pk)
    found = client.get("/api/v1/runs", {"q": text}).json()
    assert [one["id"] for one in found["items"]] == [wanted]
    wrong = client.get("/api/v1/runs", {"q": "status = broken"})
    assert wrong.status_code == 422
    assert "At character 10" in wrong.content.decode()
    file = b"".join(client.get("/runs/export.csv", {"q": text}).streaming_content)  # type: ignore[attr-defined]
    assert wanted in file.decode()
    assert str(runs["paid"].pk) not in file.decode()
    body = {"action": "pin", "filters": {"q": text}}
    preview = client.post(
        "/api/v1/bulk-actions/preview", body, content_type="application/json"
    )
    assert preview.json()["total"] == 1
    view = {"name": "mine", "query": f"q={text}&sort=-duration"}
    assert client.post("/runs/views/", view).status_code == 302
    saved = admin.saved_views.get().query
    assert shown(client, q=text) == [UUID(wanted)]
    assert "q=status" in saved
    assert saved.endswith("sort=-duration")


# Hidden data ----------------------------------------------------------------------------


@pytest.fixture
def hidden(runs: dict[str, Run], alice: User) -> dict[str, Run]:
    """Hide the data of a workflow from everyone but the payers, like Alice."""
    payers = Group.objects.create(name="payers")
    alice.groups.add(payers)
    WorkflowPermission.objects.create(workflow_name=HIDDEN, can_view=True)
    WorkflowPermission.objects.create(
        workflow_name=HIDDEN, group=payers, can_view=True, can_read=True
    )
    return runs


ORACLES = (
    "title ~ invoice", "params.amount > 100", "result.paid = true", "document ~ voice",
    "error != x", "label != x", "title != x", "steps = 7 and title ~ inv",
    "title ~ inv or steps = 7", "Invoice",
)  # fmt: skip


def test_hidden_values_are_not_searched(
    hidden: dict[str, Run], alice: User, bob: User, sign_in: SignIn
) -> None:
    secret = hidden["paid"].pk
    page = sign_in(bob)
    assert secret in shown(page, q="steps = 7"), "the run itself is visible"
    for text in ORACLES:
        assert secret not in shown(page, q=text), text
        assert secret in shown(sign_in(alice), q=text), text
    for order in ("run", "-run", "error"):
        assert secret not in shown(page, sort=order), order
    answer = page.get("/runs/", {"q": "title != x"})
    assert "Runs whose data you can’t view are left out." in answer.content.decode()


def test_a_search_of_hidden_data_is_refused_with_a_sentence(
    hidden: dict[str, Run], bob: User, sign_in: SignIn
) -> None:
    page = sign_in(bob)
    sentence = f"You don’t have permission to view the data of “{HIDDEN}”"
    for query in (
        {"q": "title ~ inv", "workflow": HIDDEN},
        {"q": f"workflow = {HIDDEN} and params.amount > 100"},
        {"title": "inv", "workflow": HIDDEN},
    ):
        answer = page.get("/runs/", query)
        assert answer.context["rows"] == []
        assert sentence in answer.content.decode()
        refused = page.get("/api/v1/runs", query)
        assert refused.status_code == 403
        assert sentence in refused.json()["detail"]


def test_a_shared_view_with_an_expression_is_kept_from_those_who_cannot_view_data(
    hidden: dict[str, Run], alice: User, bob: User
) -> None:
    system.save_view("mine", "q=title+~+secret", by=alice, shared=True)
    from workflows.services.saved_views import visible_views

    assert visible_views(User.objects.get(pk=bob.pk)) == []


# Order and number -----------------------------------------------------------------------


def test_columns_sort_the_runs(
    runs: dict[str, Run], alice: User, sign_in: SignIn
) -> None:
    client, names = sign_in(alice), {run.pk: name for name, run in runs.items()}
    for order, first in {
        "-duration": "paid", "duration": "failed", "launched": "paid", "by": "paid",
        "-by": "failed", "run": "paid", "-attempts": "waiting", "-steps": "paid",
        "workflow": "paid", "status": "paid", "-started": "waiting",
    }.items():  # fmt: skip
        found = shown(client, sort=order)
        assert len(found) == 3, order
        if order not in {"workflow", "-started"}:
            assert names[found[0]] == first, order
    answer = client.get("/runs/", {"sort": "-duration", "status": "completed"})
    text = answer.content.decode()
    assert 'aria-sort="descending"' in text
    assert "?status=completed&amp;sort=duration" in text


def test_a_sorted_list_has_pages_and_a_limit(
    alice: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_sorting, "PAGE_SIZE", 2)
    monkeypatch.setattr(run_sorting, "SCAN_LIMIT", 4)
    made = [make_run(sequence=number) for number in (9, 3, 1, 4, 2)]
    client = sign_in(alice)
    assert shown(client, sort="-steps") == [made[3].pk, made[1].pk]
    assert shown(client, sort="-steps", skip=2) == [made[4].pk, made[2].pk]
    answer = client.get("/runs/", {"sort": "-steps"})
    assert "Sorted within the newest 20,000 runs." in answer.content.decode()
    assert "skip=2" in answer.content.decode()


def test_the_number_of_runs_is_exact_or_a_lower_bound(
    alice: User, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(alice)

    def number(**query: str) -> str:
        found = client.get("/runs/", query).content.decode()
        return " ".join(
            found.partition('list-count quiet small">')[2].partition("</p>")[0].split()
        )

    for size in range(5):
        make_run(sequence=size)
    assert number() == "5 runs."
    monkeypatch.setattr(pagination, "PAGE_SIZE", 2)
    assert number() == "5 runs."
    monkeypatch.setattr(run_sorting, "COUNT_LIMIT", 3)
    assert number() == "More than 3 runs."
    monkeypatch.setattr(run_sorting, "PROBE_LIMIT", 3)
    assert number(q="steps > 1") == "3 runs or more."


# Completion -----------------------------------------------------------------------------


def test_completions_fit_the_place_of_the_caret(
    runs: dict[str, Run], alice: User, sign_in: SignIn
) -> None:
    def offered(text: str) -> list[str]:
        return [one.text for one in completions(text, len(text), alice)]

    assert offered("sta") == ["status ", "started "]
    assert offered("status = failed and ti") == ["title "]
    assert "status " in offered("steps > 3 and (")
    assert offered("status ") == ["= ", "!= ", "in "]
    assert offered("status = fa") == ["failed"]
    assert offered("status in (failed, wai") == ["waiting"]
    assert offered("status = failed ") == ["and ", "or "]
    assert offered("label = ") == ['"to check"']
    assert offered("launched_by = al") == ["alice"]
    assert "params.document " in offered("params.")
    (one,) = completions("status = fa", 11, alice)
    assert one.begin == 9
    found = sign_in(alice).get("/search/complete/", {"q": "sta = 3", "at": "3"})
    assert [one["text"] for one in found.json()["items"]] == ["status ", "started "]
    assert found.json()["items"][0]["begin"] == 0


def test_completions_name_no_hidden_labels(
    hidden: dict[str, Run], alice: User, bob: User
) -> None:
    system.label(hidden["paid"].pk, "secret label", by=alice)
    known = User.objects.get(pk=bob.pk)
    assert completions("label = sec", 11, known) == []


def test_every_field_has_a_help_and_an_operator() -> None:
    assert all(field.help and field.operators for field in FIELDS.values())


def test_a_search_in_errors_tests_fewer_runs_which_are_far_apart() -> None:
    for query, limit in (
        ({"q": "error ~ refused"}, SCATTERED_LIMIT),
        ({"q": "error ~ refused and status = failed"}, SCATTERED_LIMIT),
        ({"text": "refused"}, SCATTERED_LIMIT),
        ({"q": "error ~ refused or status = failed"}, None),
        ({"q": "title ~ refused"}, None),
        ({}, None),
    ):
        assert RunFilters.read(query).scan_limit == limit, query
