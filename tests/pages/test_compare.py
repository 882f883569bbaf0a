"""The comparison of two runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import (
    make_checkpoint,
    make_decision,
    make_run,
    make_stage,
    make_whole_run,
)
from workflows.access import permissions
from workflows.models import Run, StageStatus
from workflows.pages.run.compare import Comparison
from workflows.services.state_diff import differences

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
LONG = ("read_pages", "judge_pages", "weigh", "review", "publish")


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def text_of(page: Client, first: Run, second: Run) -> str:
    answer = page.get("/compare/", {"a": str(first.pk), "b": str(second.pk)})
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_first_difference_is_shown_with_its_decision(page: Client) -> None:
    straight, asked = make_whole_run(), make_whole_run(LONG)
    both = Comparison(straight, asked)
    assert both.divergence.place == 3
    assert both.divergence.title == ("After step 3, Weigh: A → Publish, B → Review.")
    judged = [
        (
            edge.target,
            edge.differs,
            edge.first and edge.first.taken,
            edge.second and edge.second.taken,
        )
        for edge in both.divergence.edges
    ]
    assert judged == [("publish", True, True, False), ("review", True, False, True)]
    text = text_of(page, straight, asked)
    assert f"/runs/{straight.pk}/?at=3" in text
    assert "confidence 93%, threshold 80%" in text


def test_both_paths_are_on_one_graph(page: Client) -> None:
    text = text_of(page, make_whole_run(), make_whole_run(LONG))
    assert text.count('data-outcome="both"') >= 2
    assert 'data-outcome="only-a"' in text
    assert 'data-outcome="only-b"' in text
    assert 'data-state="only-b"' in text
    assert "A 120 ms · B 120 ms" in text


def test_the_states_at_the_first_difference_are_compared(page: Client) -> None:
    first, second = make_whole_run(), make_whole_run(LONG)
    states = {
        first: '{"label": "secret", "n": 1}',
        second: '{"label": "public", "n": 1, "x": []}',
    }
    for run, data in states.items():
        for sequence in range(4):
            make_checkpoint(
                run, sequence=sequence, data=data if sequence == 3 else "{}"
            )
    found = Comparison(first, second).differences
    assert [(one.name, one.in_first, one.in_second) for one in found] == [
        ("label", True, True),
        ("x", False, True),
    ]
    assert "—" in text_of(page, first, second)


def test_a_damaged_state_is_reported(page: Client) -> None:
    first, second = make_whole_run(), make_whole_run(LONG)
    make_checkpoint(first, sequence=3, data="not JSON")
    assert "cannot be read" in text_of(page, first, second)


def test_equal_paths_have_no_difference() -> None:
    both = Comparison(make_whole_run(), make_whole_run())
    assert both.divergence.title == "None: both runs took the same path."


def test_a_run_that_ended_on_the_common_path_is_reported() -> None:
    both = Comparison(make_whole_run(LONG[:3]), make_whole_run())
    assert both.divergence.title == "Same path for 3 steps, where A ends."


def test_a_step_that_failed_in_one_run_is_the_first_difference() -> None:
    first, second = make_whole_run(), make_run()
    make_stage(second, status=StageStatus.FAILED)
    both = Comparison(first, second)
    assert both.divergence.title == "Step 1, Read pages: A completed, B failed."


@pytest.mark.parametrize("steps", [(), ("weigh",)])
def test_runs_without_common_steps_can_be_compared(
    page: Client, steps: tuple[str, ...]
) -> None:
    empty = make_run()
    for number, node in enumerate(steps, 1):
        make_stage(empty, node, sequence=number)
    text_of(page, empty, make_whole_run())
    text_of(page, make_whole_run(), empty)
    text_of(page, make_run(), make_run())


def test_a_later_attempt_counts_for_its_step() -> None:
    run = make_whole_run()
    make_stage(run, "weigh", sequence=3, attempt=2, duration_ms=5.0)
    make_decision(run, "weigh", "publish", sequence=3, attempt=2, taken=True)
    both = Comparison(run, make_whole_run())
    weigh = next(one for one in both.durations if one.node == "weigh")
    assert (weigh.first, weigh.second) == (5.0, 120.0)


def test_runs_of_two_versions_share_a_graph_with_all_their_steps(page: Client) -> None:
    graph: dict[str, Any] = {
        "entry": "read_pages", "exits": ["shred"],
        "nodes": [{"name": "read_pages", "kind": "node"}, {"name": "shred", "kind": "node"}],
        "edges": [{"source": "read_pages", "target": "shred", "index": 0}],
    }  # fmt: skip
    text = text_of(page, make_whole_run(), make_run(graph=graph))
    assert "The workflow changed between these runs." in text
    assert ">Shred<" in text
    other = make_run(workflow_name="another", graph={})
    assert "Different workflows" in text_of(page, make_whole_run(), other)


def test_one_run_offers_others_for_comparison(page: Client) -> None:
    run, other = make_run(), make_run()
    text = page.get("/compare/", {"a": str(run.pk)}).content.decode()
    assert f"?a={run.pk}&amp;b={other.pk}" in text
    assert "Select two runs" in page.get("/compare/").content.decode()
    assert page.get("/compare/", {"a": "rubbish", "b": str(run.pk)}).status_code == 404
    assert page.get("/compare/", {"a": str(run.pk), "b": "\x00"}).status_code == 404


def test_a_run_without_permission_is_not_compared(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_run(), make_run()
    monkeypatch.setattr(
        permissions, "can_view_run", lambda _person, run: run.pk == first.pk
    )
    answer = page.get("/compare/", {"a": str(first.pk), "b": str(second.pk)})
    assert answer.status_code == 404


def test_values_are_compared_by_type_and_path() -> None:
    first = {"a": 1, "b": {"c": [1, 2], "d": None}, "same": {"x": [1]}}
    second = {"a": True, "b": {"c": [1, 3]}, "same": {"x": [1]}, "new": 0}
    assert [one.name for one in differences(first, second)] == [
        "a",
        "b.c",
        "b.d",
        "new",
    ]
