"""The list of runs: filters, columns, pagination, and the scanned range."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_run
from workflows.models import Run, Status
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists import pagination
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def shown(page: Client, **query: Any) -> list[UUID]:
    """Return the ids of the listed runs, in order."""
    answer = page.get("/runs/", query)
    assert answer.status_code == 200
    return [row.run.pk for row in answer.context["rows"]]


def made_at(moment: dt.datetime, **fields: Any) -> Run:
    """Return a run whose creation time and id match."""
    return make_run(pk=run_id_at(moment), created_at=moment, **fields)


def test_each_filter_selects_matching_rows(
    page: Client, alice: User, bob: User
) -> None:
    wanted = make_run(
        workflow_name="review", status=Status.FAILED, launched_by=bob,
        params={"limit": 3}, error_message="The Agent was away.",
    )  # fmt: skip
    other = make_run(launched_by=alice)
    system.label(wanted.pk, "To check", by=alice)
    for query in (
        {"workflow": "review"},
        {"status": "failed"},
        {"who": "bob"},
        {"label": "to check"},
        {"where": "params.limit = 3"},
        {"text": "agent"},
        {"workflow": "review", "where": "params.limit = 3", "text": "AWAY"},
    ):
        assert shown(page, **query) == [wanted.pk], query
    for query in ({"who": "charlie"}, {"label": "check"}, {"text": "nowhere"}):
        assert shown(page, **query) == [], query
    assert set(shown(page)) == {wanted.pk, other.pk}


def test_a_period_selects_runs_by_launch_time(page: Client) -> None:
    now = timezone.now()
    fresh = made_at(now - dt.timedelta(minutes=10))
    old = made_at(now - dt.timedelta(days=3))
    assert shown(page, when="1h") == [fresh.pk]
    assert shown(page, when="7d") == [fresh.pk, old.pk]
    day = timezone.localtime(old.created_at).date()
    assert shown(page, **{"from": day.isoformat(), "to": day.isoformat()}) == [old.pk]
    assert shown(page, **{"from": "2026-02-31", "when": "a while"}) == [
        fresh.pk,
        old.pk,
    ]


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("result.label = secret", True),
        ('result.label = "secret"', True),
        ("result.label=secret and params.limit = 3", True),
        ("result.label=secret AND params.limit=4", False),
        ("params.limit = 3.0", True),
        ('params.limit = "3"', False),
        ("params.number = 5", True),  # stored as text
        ("params.urgent = true", True),
        ("params.urgent = false", False),
        ("params.nothing = null", True),
        ("params.deep.er = ü", True),
        ("params.odd__key = 1", True),
        ("params.missing = 1", False),
        ("result.label = secr", False),
        ("result.label == secret", True),
    ],
)
def test_runs_are_found_by_any_value(page: Client, where: str, found: bool) -> None:
    make_run(params={"limit": 4}, result={"label": "public"})
    wanted = make_run(
        params={
            "limit": 3, "number": "5", "urgent": True, "nothing": None,
            "deep": {"er": "ü"}, "odd__key": 1,
        },
        result={"label": "secret"},
    )  # fmt: skip
    assert shown(page, where=where) == ([wanted.pk] if found else [])


@pytest.mark.parametrize(
    "where",
    ["limit", "limit = 3", "params. = 3", "x.y = 3", "a=1 and ", "=", "1" * 900],
)
def test_an_invalid_condition_shows_the_reason_and_no_runs(
    page: Client, where: str
) -> None:
    make_run()
    answer = page.get("/runs/", {"where": where})
    assert answer.status_code == 200
    assert answer.context["rows"] == []
    assert answer.context["filters"].error in html.unescape(answer.content.decode())


@pytest.mark.parametrize(
    "value",
    ["\x00", "💥", '"\\ud800"', "1e999", "NaN", "[" * 400, "{}", "9" * 300, "%"],
)
def test_invalid_values_cause_no_server_error(page: Client, value: str) -> None:
    make_run()
    for name in (
        "workflow",
        "status",
        "who",
        "label",
        "text",
        "before",
        "when",
        "from",
    ):
        assert page.get("/runs/", {name: value}).status_code == 200
    assert shown(page, where=f"params.x = {value}") == []


def test_older_runs_are_on_the_next_page_without_gaps(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = [make_run().pk for _ in range(7)][::-1]
    monkeypatch.setattr(pagination, "PAGE_SIZE", 3)
    seen: list[UUID] = []
    query: dict[str, Any] = {}
    while True:
        answer = page.get("/runs/", query)
        seen += [row.run.pk for row in answer.context["rows"]]
        after = answer.context["found"].after
        if after is None:
            break
        query = {"before": after}
    assert seen == everything


def test_an_unindexed_search_reports_the_scanned_range(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagination, "SCAN_LIMIT", 3)
    oldest = make_run(status=Status.FAILED, error_message="a needle")
    for _ in range(6):
        make_run(status=Status.FAILED, error_message="hay")
    query: dict[str, Any] = {"text": "needle"}
    requests = 0
    while not (rows := shown(page, **query)):
        answer = page.get("/runs/", query)
        assert "Search further back" in answer.content.decode()
        assert "No match among the newest 3 runs" in answer.content.decode()
        query["before"] = answer.context["found"].after
        requests += 1
    assert rows == [oldest.pk]
    assert requests == 2


def test_columns_are_chosen_and_fields_are_columns_too(page: Client) -> None:
    make_run(
        params={"threshold": 0.8}, result={"label": "secret", "marks": [1, {"a": 2}]}
    )
    answer = page.get(
        "/runs/",
        {
            "column": ["ended", "labels"],
            "fields": "params.threshold, result.label, result.marks",
        },
    )
    text = answer.content.decode()
    assert answer.context["columns"].titles == [
        "Labels", "Ended", "params.threshold", "result.label", "result.marks",
    ]  # fmt: skip
    assert ">0.8<" in text
    assert ">secret<" in text
    assert "[1, {&quot;a&quot;: 2}]" in text
    assert "column=labels%2Cended" in answer.context["query"]


def test_an_unknown_column_is_ignored(page: Client) -> None:
    make_run()
    odd = "params, .x, result., a.b, params." + ".".join("k" * 1 for _ in range(20))
    answer = page.get("/runs/", {"column": "password,took", "fields": odd})
    assert answer.context["columns"].titles == ["Duration"]


def test_values_of_any_type_are_shown_in_their_column(page: Client) -> None:
    kinds: tuple[Any, ...] = (
        None,
        True,
        0,
        "",
        "x" * 300,
        [],
        {"a": "<script>alert(1)</script>"},
    )
    for value in kinds:
        make_run(params={"any": value})
    answer = page.get("/runs/", {"fields": "params.any"})
    assert answer.status_code == 200
    assert "<script>alert" not in answer.content.decode()


def test_empty_lists_show_the_next_action(page: Client) -> None:
    assert "Launch a workflow" in page.get("/runs/").content.decode()
    make_run()
    assert "Show all" in page.get("/runs/", {"status": "failed"}).content.decode()
