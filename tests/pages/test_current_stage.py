"""All pages show the current stage, which is stored in the run's row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import (
    make_attempt,
    make_checkpoint,
    make_current_stage,
    make_run,
    make_stage,
)
from workflows.models import Run, StageStatus, Status
from workflows.pages.access import RunPermissions
from workflows.pages.run.compare import Comparison
from workflows.pages.run.page import RunPage
from workflows.pages.run.stage_rows import page_of
from workflows.pages.run.view_options import RunView

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def run() -> Run:
    """Return a run in its second execution of `weigh`."""
    run = make_run(status=Status.RUNNING, sequence=2)
    make_attempt(run, ended_at=None, outcome="")
    make_stage(run, "read_pages")
    make_stage(run, "weigh", sequence=2)
    make_current_stage(run, "weigh", sequence=3, tries=2)
    return run


def page_of_run(run: Run, **view: object) -> RunPage:
    return RunPage(run, RunPermissions(), view=RunView(**view))  # type: ignore[arg-type]


def test_steps_graph_and_timeline_show_the_stage_in_progress(run: Run) -> None:
    page = page_of_run(run)
    steps = [entry for entry in page.step_list.entries if hasattr(entry, "stage")]
    assert [(step.key, step.stage and step.stage.status) for step in steps] == [
        ("stage-1-1", "completed"),
        ("stage-1-2", "completed"),
        ("stage-1-3", "started"),
    ]
    node = next(one for one in page.diagram.nodes if one.name == "weigh")
    assert (node.state.state, node.state.step_count) == ("started", 2)
    lane = next(one for one in page.timeline.lanes if one.name == "weigh")
    assert (lane.is_active, lane.step_count) == (True, 2)


def test_the_panel_of_a_node_counts_its_stage_in_progress(run: Run) -> None:
    panel = page_of_run(run, node="weigh").panel
    assert panel.count == 2
    assert [
        (step.sequence, step.stage and step.stage.tries) for step in panel.steps
    ] == [
        (3, 2),
        (2, 1),
    ]
    other = page_of_run(run, node="read_pages").panel
    assert (other.count, len(other.steps)) == (1, 1)


def test_a_repeated_step_counts_once(run: Run) -> None:
    make_stage(run, "weigh", sequence=3, status=StageStatus.INTERRUPTED)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    run = Run.objects.get(pk=run.pk)
    page = page_of_run(run, node="weigh")
    node = next(one for one in page.diagram.nodes if one.name == "weigh")
    assert (node.state.state, node.state.step_count, page.panel.count) == (
        "started",
        2,
        2,
    )


def test_an_earlier_point_in_time_omits_the_stage_in_progress(run: Run) -> None:
    make_checkpoint(run, sequence=2)
    page = page_of_run(run, at=2, node="weigh")
    assert [row.sequence for row in page.rows] == [1, 2]
    node = next(one for one in page.diagram.nodes if one.name == "weigh")
    assert (node.state.state, node.state.step_count) == ("completed", 1)
    assert [step.sequence for step in page.panel.steps] == [2]


def test_the_page_of_all_steps_ends_with_the_stage_in_progress(
    run: Run, alice: User, sign_in: SignIn
) -> None:
    text = sign_in(alice).get(reverse("run-steps", args=[run.pk])).content.decode()
    assert text.index('id="stage-1-2"') < text.index('id="stage-1-3"')


@pytest.mark.parametrize(
    ("size", "pages"), [(2, [[1, 2], [3]]), (3, [[1, 2, 3]]), (1, [[1], [2], [3]])]
)
def test_the_stage_in_progress_is_on_the_last_page_of_steps(
    run: Run, size: int, pages: list[list[int]]
) -> None:
    shown, after = [], 0
    while after is not None:
        page = page_of(run, after=after, size=size)
        shown.append([stage.sequence for stage in page.rows])
        after = page.after
    assert shown == pages
    assert page_of(run, after=3, size=size).rows == []


def test_a_comparison_ends_with_the_stage_in_progress(run: Run) -> None:
    other = make_run(status=Status.COMPLETED, sequence=3)
    for sequence, node in enumerate(("read_pages", "weigh", "publish"), 1):
        make_stage(other, node, sequence=sequence)
    comparison = Comparison(other, run)
    assert comparison.divergence.place == 2
    assert "B → Weigh" in comparison.divergence.title


def test_a_long_stage_in_progress_has_a_notice(run: Run) -> None:
    since = timezone.now() - dt.timedelta(minutes=10)
    make_current_stage(run, "weigh", sequence=3, created_at=since)
    for _ in range(3):
        usual = make_run(status=Status.COMPLETED)
        make_stage(usual, "weigh", duration_ms=1_000.0)
    notice = page_of_run(run).notice
    assert notice is not None
    assert notice.title == "Weigh is taking longer than usual."
