"""Branches on pages: lanes of the graph, their steps, an earlier point in time, a comparison."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from django.test import Client

from tests.support.workers import ended, working
from workflows.engine import State, Workflow, branches, node, otherwise, when_failed
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.pages.graph.branches import join_of
from workflows.pages.graph.diagram import draw
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")


class Case(State):
    text: str = "abc"
    parts: dict[str, Any] | None = None


@node
async def classify(state: Case) -> str:
    return "letter"


@node
async def extract(state: Case) -> Case:
    return state.set(text="b")


@node
async def score(state: Case) -> float:
    return 0.5


@node
async def hang(state: Case) -> Case:
    await asyncio.Event().wait()
    return state


@node
async def finish(state: Case) -> Case:
    return state


@node
async def repair(state: Case) -> Case:
    return state


def case_of(*, need: int | None = None) -> Workflow[Case]:
    steps: dict[str, Any] = {"category": classify, "risk": [extract, score]}
    if need is not None:
        steps["slow"] = hang
    assess = branches(steps, into="parts", need=need, name="assess")
    routes: Any = {assess: [when_failed(repair), otherwise(finish)]}
    return Workflow("case", state=Case, start=assess, routes=routes)


async def completed(workflow: Workflow[Case]) -> Run:
    registry = Registry()
    registry.register(workflow)
    run = await run_in_db(lambda: System(registry).execute("case"))
    async with working(registry):
        return await ended(run.pk)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.POLL_INTERVAL_SECONDS = 0.05


def text_of(page: Any) -> str:
    """Return the text of a page, with single spaces."""
    text = re.sub(r"<[^>]+>", " ", page.content.decode())
    return re.sub(r"\s+", " ", text)


def test_branches_are_lanes_between_the_node_and_a_bar() -> None:
    diagram = draw(case_of().drawn)
    places = {one.name: one for one in diagram.nodes}
    bar = places[join_of("assess")]
    assert places["assess"].bottom < places["classify"].top
    assert places["classify"].top == places["extract"].top < places["score"].top
    assert places["score"].bottom < bar.top < places["finish"].top
    assert (bar.lines, bar.note.text, bar.is_exit) == ((), "", False)
    titles = [edge.title for edge in diagram.edges]
    assert titles == [
        "assess → repair, if failed",
        "assess → finish",
        "assess → classify, branch category",
        "assess → extract, branch risk",
        "classify → assess",
        "extract → score",
        "score → assess",
    ]


def test_a_run_that_ends_with_branches_ends_at_the_bar() -> None:
    both = branches({"a": classify, "b": score}, into="parts", name="both")
    drawn = Workflow("w", state=Case, start=both, routes={}).drawn
    ends = [one.name for one in draw(drawn).nodes if one.is_exit]
    assert ends == [join_of("both")]


async def test_the_page_of_a_run_shows_each_branch_and_what_its_steps_changed(
    admin_client: Client,
) -> None:
    run = await completed(case_of())
    page = await run_in_db(admin_client.get, f"/runs/{run.pk}/")
    text = text_of(page)
    assert "Classify branch category" in text
    assert re.search('result[ :]+(&quot;|")letter', text)
    assert "Score branch risk" in text
    assert "3 steps" in text
    panel = await run_in_db(admin_client.get, f"/runs/{run.pk}/?node=score")
    assert 'id="run-panel"' in panel.content.decode()


async def test_an_earlier_point_in_time_shows_the_steps_up_to_that_number(
    admin_client: Client,
) -> None:
    run = await completed(case_of())
    page = await run_in_db(admin_client.get, f"/runs/{run.pk}/?at=2")
    steps = page.content.decode().split('id="steps"')[-1]
    assert "stage-1-2" in steps
    assert "stage-1-3" not in steps
    assert "stage-1-4" not in steps
    state = await run_in_db(admin_client.get, f"/runs/{run.pk}/states/2/")
    assert state.status_code == 200


async def test_two_runs_are_compared_step_by_step_within_their_branches(
    admin_client: Client,
) -> None:
    first = await completed(case_of())
    second = await completed(case_of(need=2))
    url = f"/compare/?a={first.pk}&b={second.pk}"
    page = await run_in_db(admin_client.get, url)
    assert page.status_code == 200
    assert "Hang" in text_of(page)


async def test_the_decision_of_a_cancelled_branch_names_the_first_ones(
    admin_client: Client,
) -> None:
    run = await completed(case_of(need=2))
    page = await run_in_db(admin_client.get, f"/runs/{run.pk}/")
    text = text_of(page)
    assert "“slow” was cancelled, “category”, “risk” finished first" in text
    assert "2 of 3 are needed" in text
