"""The page of decisions of all runs."""

from __future__ import annotations

import csv
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_decision, make_run
from workflows.execution import hourly_counts
from workflows.models import Decision, EdgeTally, Run, Status
from workflows.pages.lists import pagination
from workflows.pages.lists.edge_shares import has_moved
from workflows.system import System

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def shown(page: Client, **query: Any) -> list[int]:
    answer = page.get("/decisions/", query)
    assert answer.status_code == 200
    return [row.pk for row in answer.context["found"].rows]


def distinct_decision(bob: User) -> Decision:
    """Return a decision that differs in every filterable field."""
    run = make_run(workflow_name="review-letters")
    return make_decision(
        run, "judge", "archive", sequence=7, taken=False, predicate_name="is_old",
        values={"age": 12, "deep": {"er": True}}, decided_by=bob,
        created_at=timezone.now() - dt.timedelta(days=3),
    )  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        {"workflow": "review-letters"},
        {"workflow": "review-letters", "edge": "judge→archive"},
        {"predicate": "is_old"},
        {"outcome": "rejected"},
        {"who": "bob"},
        {"where": "age = 12"},
        {"where": "deep.er = true"},
        {
            "workflow": "review-letters",
            "predicate": "is_old",
            "who": "bob",
            "where": "age=12",
        },
        {"outcome": "rejected", "when": "7d", "edge": "judge→archive"},
    ],
)
def test_each_filter_selects_matching_rows(
    page: Client, bob: User, query: dict[str, str]
) -> None:
    wanted = distinct_decision(bob)
    make_decision(make_run())
    hourly_counts.count_all()
    assert shown(page, **query) == [wanted.pk]


def test_a_period_selects_decisions_within_it(page: Client, bob: User) -> None:
    old = distinct_decision(bob)
    fresh = make_decision(make_run())
    assert shown(page, when="24h") == [fresh.pk]
    assert shown(page) == [fresh.pk, old.pk]
    day = timezone.localtime(old.created_at).date().isoformat()
    assert shown(page, **{"from": day, "to": day}) == [old.pk]


def test_an_edge_without_tally_is_found(page: Client, bob: User) -> None:
    wanted = distinct_decision(bob)
    assert shown(page, workflow="review-letters", edge="judge→archive") == [wanted.pk]


def test_each_row_links_to_the_run_at_that_step(page: Client, bob: User) -> None:
    decision = distinct_decision(bob)
    text = page.get("/decisions/").content.decode()
    assert f'href="/runs/{decision.run_id}/?at=7"' in text
    assert "bob" in text


def test_decisions_of_several_edges_are_one_list_newest_first(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    made = [
        make_decision(
            run, sequence=n, index=n % 3, target="abc"[n % 3], taken=n % 2 == 0
        ).pk
        for n in range(9)
    ]
    hourly_counts.count_all()
    monkeypatch.setattr(pagination, "PAGE_SIZE", 4)
    first = page.get("/decisions/", {"predicate": "is_confident"})
    assert [row.pk for row in first.context["found"].rows] == made[:4:-1]
    after = first.context["found"].after
    assert shown(page, predicate="is_confident", before=after) == made[4:0:-1]


def test_shares_are_shown_over_time_and_in_total(page: Client, alice: User) -> None:
    run = make_run()
    for sequence in range(4):
        taken = sequence < 3
        make_decision(run, sequence=sequence, taken=taken)
        if not taken:
            make_decision(
                run, target="review", sequence=sequence, index=1, predicate_name="",
                decided_by=alice,
            )  # fmt: skip
    hourly_counts.count_all()
    answer = page.get("/decisions/", {"workflow": "classify-document"})
    (leaving,) = answer.context["leaving"]
    assert leaving.total == 4
    assert [(one.edge.target, one.percent) for one in leaving.shares] == [
        ("publish", "75%"),
        ("review", "25%"),
    ]
    text = " ".join(answer.content.decode().split())
    assert "Publish 75% (3), Review 25% (1)" in text
    assert "3 taken, 1 not taken" in text
    assert "1 taken, 1 by people" in text


def test_recent_hours_have_a_bar_each_and_years_few_bars(
    page: Client, bob: User
) -> None:
    distinct_decision(bob)
    hourly_counts.count_all()
    for query, most in (
        ({"when": "1h"}, 2),
        ({"when": "7d"}, 8),
        ({"from": "2001-01-01"}, 92),
        ({"from": "2025-01-01", "to": "2024-01-01"}, 1),
        ({"from": "9999-12-31", "to": "9999-12-31"}, 31),
        ({"from": "0001-01-01", "to": "0001-01-01"}, 31),
    ):
        answer = page.get("/decisions/", {"workflow": "review-letters", **query})
        assert answer.status_code == 200
        for leaving in answer.context["leaving"]:
            assert len(leaving.bars.bars) <= most


@pytest.mark.parametrize("value", ["\x00", "💥", "→", "a→b→c", "9" * 40, "%", "'; --"])
def test_invalid_values_cause_no_server_error(
    page: Client, bob: User, value: str
) -> None:
    distinct_decision(bob)
    names = (
        "workflow",
        "edge",
        "predicate",
        "outcome",
        "who",
        "when",
        "from",
        "before",
    )
    for name in names:
        assert page.get("/decisions/", {name: value}).status_code == 200
    assert shown(page, where=f"x = {value}") == []


def test_an_invalid_condition_shows_the_reason(page: Client, bob: User) -> None:
    distinct_decision(bob)
    answer = page.get("/decisions/", {"where": "nonsense"})
    assert answer.context["found"].rows == []
    assert "is not a condition" in answer.content.decode()


def test_hostile_texts_stay_text(page: Client, alice: User) -> None:
    payload = '"><script>alert(1)</script>'
    run: Run = make_run(workflow_name=payload)
    make_decision(
        run, payload, payload, predicate_name=payload, reason=payload, comment=payload,
        values={payload: payload}, decided_by=alice,
    )  # fmt: skip
    hourly_counts.count_all()
    for query in (
        {},
        {"workflow": payload},
        {"workflow": payload, "edge": f"{payload}→{payload}"},
    ):
        text = page.get("/decisions/", query).content.decode()
        assert "<script>alert" not in text


def test_an_empty_history_explains_how_decisions_are_recorded(page: Client) -> None:
    assert "No decisions yet." in page.get("/decisions/").content.decode()


def test_a_share_that_moved_beyond_chance_is_marked(page: Client) -> None:
    now = timezone.now()
    for days, publish, review in ((1, 80, 20), (10, 50, 50)):
        for index, (target, taken) in enumerate(
            (("publish", publish), ("review", review))
        ):
            EdgeTally.objects.create(
                hour=now - dt.timedelta(days=days),
                workflow_name="classify-document",
                from_node="weigh",
                to_node=target,
                edge_index=index,
                taken=taken,
                rejected=0,
            )
    query = {"workflow": "classify-document", "when": "7d"}
    answer = page.get("/decisions/", query)
    (node,) = answer.context["leaving"]
    assert [
        (one.percent, one.percent_before, one.has_moved) for one in node.shares
    ] == [
        ("80%", "50%", True),
        ("20%", "50%", True),
    ]
    assert answer.content.decode().count("moved from") == 2
    EdgeTally.objects.filter(to_node="publish", taken=80).update(taken=25)
    (node,) = page.get("/decisions/", query).context["leaving"]
    assert not any(one.has_moved for one in node.shares)


def test_a_difference_of_shares_needs_enough_evaluations() -> None:
    assert has_moved(90, 100, 50, 100)
    assert not has_moved(55, 100, 50, 100)
    assert not has_moved(20, 20, 0, 20)
    assert not has_moved(100, 100, 100, 100)


def test_decisions_are_grouped_by_step_and_name_what_was_met(page: Client) -> None:
    run = make_run(workflow_name="pay")
    options: dict[str, Any] = {
        "predicate_name": "is_small",
        "reason": "50 EUR is below the limit",
    }
    for index, to_node, taken in ((0, "ask", False), (1, "pay", True)):
        make_decision(
            run,
            "check",
            to_node,
            index=index,
            taken=taken,
            predicate_result=taken,
            **options,
        )
    other = make_decision(run, "check", "pay", sequence=9)
    answer = page.get("/decisions/")
    groups = answer.context["groups"]
    assert [[row.edge_index for row in group.rows] for group in groups] == [
        [other.edge_index],
        [0, 1],
    ]
    text = " ".join(answer.content.decode().split())
    assert "condition not met: <q>50 EUR is below the limit</q>" in text
    assert "condition met: <q>50 EUR is below the limit</q>" in text
    assert "because" not in text


def test_unconditional_edges_are_folded_until_they_are_requested(
    page: Client, bob: User
) -> None:
    run = make_run(workflow_name="pay")
    only = make_decision(run, "read", "check", predicate_name="", sequence=1)
    text = page.get("/decisions/").content.decode()
    assert "Show unconditional edges, too" in text
    choice = make_decision(run, "check", "pay", sequence=2)
    fallback = make_decision(
        run, "check", "ask", predicate_name="", sequence=2, index=1
    )
    by_person = make_decision(
        run, "ask", "pay", predicate_name="", sequence=3, decided_by=bob
    )
    listed = [by_person.pk, fallback.pk, choice.pk]
    assert shown(page) == listed
    assert shown(page, edges="all") == [*listed, only.pk]
    assert shown(page, who="bob") == [by_person.pk]
    hourly_counts.count_all()
    assert shown(page, workflow="pay", edge="read→check") == [only.pk]


def test_the_listed_decisions_are_exported(page: Client) -> None:
    run = make_run(workflow_name="pay")
    make_decision(run, "read", "check", predicate_name="")
    row = make_decision(run, "check", "pay", sequence=2, reason="=1+1")

    def lines(kind: str, **query: str) -> list[str]:
        answer = page.get(f"/decisions/export.{kind}", query)
        content = b"".join(answer.streaming_content)  # type: ignore[attr-defined]
        return list(content.decode("utf-8-sig").splitlines())

    head, line = csv.reader(lines("csv", workflow="pay"))
    found = dict(zip(head, line, strict=True))
    assert (found["run"], found["from"], found["to"]) == (str(run.pk), "check", "pay")
    assert found["reason"] == "'=1+1", "no spreadsheet evaluates it"
    objects = [json.loads(one) for one in lines("jsonl", edges="all")]
    assert [one["from"] for one in objects] == ["check", "read"]
    assert objects[0]["values"] == row.values
    assert json.loads("".join(lines("json", edges="all"))) == objects
    assert page.get("/decisions/export.xls").status_code == 404


def test_an_assessment_is_shown_at_the_attempt_whose_edge_it_is_about(
    page: Client, alice: User
) -> None:
    run = make_run(status=Status.COMPLETED)
    for attempt, target in ((1, "archive"), (2, "publish")):
        make_decision(run, target=target, attempt=attempt)
    System().assess(run.pk, step=3, is_right=True, by=alice)
    second, first = page.get("/decisions/").context["groups"]
    assert (second.rows[0].to_node, first.rows[0].to_node) == ("publish", "archive")
    assert (second.assessment is None, first.assessment is None) == (False, True)
    assert (second.can_assess, first.can_assess) == (True, False)
