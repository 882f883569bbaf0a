"""The page of a run at a past step: graph, steps, log and state at that time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_checkpoint,
    make_decision,
    make_line,
    make_run,
    make_stage,
)
from workflows.models import Outcome, Run, StageStatus, Status
from workflows.pages.run.view_options import RunView

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


@pytest.fixture
def run(db: None) -> Run:
    """Return a run that failed at its third step, and continued in a second attempt."""
    run = make_run(sequence=3, attempt=2)
    for sequence, node in enumerate(("read_pages", "judge_pages"), 1):
        make_stage(run, node, sequence=sequence, attempt=1)
        make_line(
            run, f"{node} wrote this", sequence=sequence, attempt=1, number=sequence
        )
        make_checkpoint(run, sequence=sequence, attempt=1, node_name=node)
    make_decision(run, "judge_pages", "weigh", sequence=2, attempt=1)
    make_stage(run, "weigh", sequence=3, attempt=1, status=StageStatus.FAILED)
    make_decision(run, "judge_pages", "weigh", sequence=2, attempt=2)
    make_stage(run, "weigh", sequence=3, attempt=2)
    make_line(run, "weigh wrote this", sequence=3, attempt=2)
    make_checkpoint(run, sequence=3, attempt=2, node_name="weigh")
    return run


def text_of(page: Client, run: Run, query: str) -> str:
    answer = page.get(f"/runs/{run.pk}/{query}")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_past_step_shows_nothing_later(page: Client, run: Run) -> None:
    text = text_of(page, run, "?at=1")
    assert "State after step 1" in text
    assert "read_pages wrote this" in text
    assert "judge_pages wrote this" not in text
    assert text.count('data-state="completed"') == 1
    assert "taken 1×" not in text


def test_a_past_step_shows_nothing_of_later_attempts(page: Client, run: Run) -> None:
    text = text_of(page, run, "?at=2")
    assert 'data-status="failed"' not in text
    assert text.count('class="decision"') == 1
    whole = text_of(page, run, "?at=3")
    assert 'data-status="failed"' in whole
    assert "weigh wrote this" in whole


def test_the_start_of_a_run_can_be_viewed(page: Client, run: Run) -> None:
    text = text_of(page, run, "?at=0")
    assert "Before the first step" in text
    assert "No steps yet." in text


@pytest.mark.parametrize(
    "query", ["", "?at=99", "?at=x", "?at=-1", "?at=²", "?at=9999999999"]
)
def test_an_unknown_step_shows_the_end(page: Client, run: Run, query: str) -> None:
    text = text_of(page, run, query)
    assert "Finished · 3 steps" in text
    assert "weigh wrote this" in text


def test_links_to_the_previous_and_next_step_work_without_scripts(
    page: Client, run: Run
) -> None:
    text = text_of(page, run, "?at=1")
    assert 'rel="prev" href="?at=0"' in text
    assert 'rel="next" href="?at=2"' in text
    last = text_of(page, run, "?at=2")
    assert 'rel="next" href="?"' in last  # the last step is the end
    assert 'rel="prev" href="?at=2"' in text_of(page, run, "")


def test_a_run_without_steps_has_no_history_navigation(page: Client) -> None:
    text = text_of(page, make_run(status=Status.PENDING), "")
    assert "data-step-slider" not in text


def test_a_selected_node_shows_its_steps_and_outgoing_edges(
    page: Client, run: Run
) -> None:
    text = text_of(page, run, "?node=weigh")
    assert 'id="panel-heading"> Weigh' in text
    assert "Ran once" in text
    assert "if is confident" in text
    assert "not reached" in text


def test_a_selected_edge_shows_its_decisions_with_reason_and_person(
    page: Client, run: Run, bob: User
) -> None:
    make_decision(
        run,
        "weigh",
        "review",
        sequence=3,
        index=1,
        decided_by=bob,
        comment="Looks odd.",
    )
    text = text_of(page, run, "?edge=weigh.1")
    assert "Weigh → Review" in text
    assert "confidence 93%, threshold 80%" in text
    assert "Decided by <b>bob</b>" in text
    assert "Looks odd." in text


def test_a_selected_step_shows_its_state_at_the_time(page: Client, run: Run) -> None:
    text = text_of(page, run, "?node=weigh&at=1")
    assert "Not reached at this step" in text


@pytest.mark.parametrize(
    "query", ["?node=nothing", "?edge=weigh.9", "?edge=weigh", "?edge=."]
)
def test_an_unknown_node_or_edge_opens_no_panel(
    page: Client, run: Run, query: str
) -> None:
    assert "panel-heading" not in text_of(page, run, query)


def test_lines_are_found_by_level_and_text(page: Client, run: Run) -> None:
    make_line(run, "A <Worry> about weigh", sequence=3, level=30, number=9, attempt=2)
    text = text_of(page, run, "?level=30&find=worry")
    assert "A &lt;Worry&gt; about weigh" in text
    assert "read_pages wrote this" not in text
    assert "No matching lines." in text_of(page, run, "?find=nothing+like+it")


def test_a_view_is_parsed_from_its_query_string() -> None:
    for view in (
        RunView(),
        RunView(at=0),
        RunView(at=3, node="a b.c"),
        RunView(edge=("judge.pages", 2), level=30, find="ä & ö"),
    ):
        from urllib.parse import parse_qsl

        assert RunView.read(dict(parse_qsl(view.query.lstrip("?")))) == view


@pytest.mark.parametrize("text", ["\x00", "\ud800", "x" * 5_000, "9" * 400])
def test_a_malformed_query_string_is_ignored(page: Client, run: Run, text: str) -> None:
    values: dict[str, Any] = dict.fromkeys(
        ("at", "node", "edge", "level", "find"), text
    )
    view = RunView.read(values)
    assert len(view.find) <= 200
    answer = page.get(
        f"/runs/{run.pk}/", {k: v.encode(errors="replace") for k, v in values.items()}
    )
    assert answer.status_code == 200


# States ----------------------------------------------------------------------------------


@pytest.fixture
def changed(db: None) -> Run:
    """Return a run with the states of two steps."""
    run = make_run(sequence=2)
    make_checkpoint(run, sequence=0, data='{"label":"","pages":[]}')
    make_checkpoint(
        run,
        sequence=1,
        kind="delta",
        node_name="read_pages",
        data='[{"op":"add","path":"/pages/-","value":"one"},'
        '{"op":"add","path":"/pages/-","value":"two"}]',
    )
    make_checkpoint(
        run,
        sequence=2,
        kind="delta",
        node_name="weigh",
        data='[{"op":"replace","path":"/label","value":"secret <b>"}]',
    )
    make_stage(run, "read_pages", sequence=1)
    make_stage(run, "weigh", sequence=2)
    return run


def test_steps_show_what_they_changed(page: Client, changed: Run) -> None:
    text = text_of(page, changed, "")
    assert (
        '<span class="change-path">pages</span> <span class="change-word">2 added</span>'
        in text
    )
    assert "<del>&quot;&quot;</del>" in text
    assert "<ins>&quot;secret &lt;b&gt;&quot;</ins>" in text


def test_a_state_has_an_address_with_before_and_after(
    page: Client, changed: Run
) -> None:
    answer = page.get(f"/runs/{changed.pk}/states/2/")
    text = " ".join(answer.content.decode().split())
    assert "State after step 2: Weigh" in text
    assert "changes" in text
    assert "Before" in text
    assert text.count("<tr data-kind") > 1
    only = page.get(f"/runs/{changed.pk}/states/2/?show=changes").content.decode()
    assert 'data-kind="same"' not in only
    assert "/states/1/?show=changes" in only
    assert "After" in text
    whole = page.get(f"/runs/{changed.pk}/states/2.json").json()
    assert whole == {"label": "secret <b>", "pages": ["one", "two"]}


def test_the_first_state_has_no_predecessor(page: Client, changed: Run) -> None:
    text = page.get(f"/runs/{changed.pk}/states/0/").content.decode()
    assert "Initial state" in text
    assert "Before" not in text


def test_a_state_that_does_not_exist_is_not_found(page: Client, changed: Run) -> None:
    for address in ("states/3/", "states/3.json", f"states/{2**40}/"):
        assert page.get(f"/runs/{changed.pk}/{address}").status_code == 404


def test_a_damaged_checkpoint_is_reported_on_the_page(
    page: Client, changed: Run
) -> None:
    changed.checkpoints.filter(sequence=1).update(data="[{]")
    assert "cannot be read" in text_of(page, changed, "")
    answer = page.get(f"/runs/{changed.pk}/states/2/")
    assert answer.status_code == 200
    assert "cannot be read" in answer.content.decode()
    assert page.get(f"/runs/{changed.pk}/states/2.json").status_code == 409


@pytest.mark.parametrize("status", Status)
def test_the_header_of_a_past_step_describes_that_step(
    admin: User, sign_in: SignIn, status: Status
) -> None:
    started = timezone.now() - dt.timedelta(hours=2)
    run = make_run(
        status=status,
        sequence=2,
        result={"label": "the last result"},
        cancel_reason="the last reason",
        started_at=started,
    )
    make_attempt(
        run,
        outcome=Outcome.FAILED if status == Status.FAILED else "",
        traceback="the last traceback",
        error_message="the last error",
    )
    make_approval(run, question="The last question?")
    make_audit_event(run, action="resume", reason="the last resume")
    for sequence, node in enumerate(("read_pages", "judge_pages"), 1):
        make_stage(run, node, sequence=sequence)
        made = started + dt.timedelta(seconds=90 * sequence)
        make_checkpoint(run, sequence=sequence, node_name=node, created_at=made)
    text = text_of(sign_in(admin), run, "?at=1")
    head = text[text.index('id="run-status"') : text.index('id="run-stepper"')]
    assert 'data-status="running"' in head
    assert "Running" in head
    assert "1 m 30 s" in head
    assert "Back to" in head
    assert "The document could not be opened." not in text
    assert "The last question?" not in text
    assert "the last" not in text
    assert "/cancel/" not in head
    if status != Status.RUNNING:
        assert f'data-status="{status}"' not in head


def test_the_last_step_of_a_completed_run_is_its_end(page: Client) -> None:
    run = make_run(sequence=1, result={"label": "done"})
    make_stage(run)
    make_checkpoint(run, sequence=1, node_name="read_pages")
    text = text_of(page, run, "?at=1")
    assert 'aria-label="Status" data-status="completed"' in text
    assert "done" in text


def test_the_last_step_of_a_failed_run_is_before_its_failure(page: Client) -> None:
    run = make_run(status=Status.FAILED, sequence=1)
    make_stage(run)
    make_checkpoint(run, sequence=1, node_name="read_pages")
    assert 'aria-label="Status" data-status="running"' in text_of(page, run, "?at=1")
    assert 'aria-label="Status" data-status="failed"' in text_of(page, run, "")
