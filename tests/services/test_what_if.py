"""What-if reports: recorded decisions with other thresholds, or another version of the file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pydantic import Field

from tests.support import recorded_runs
from tests.support.recorded_runs import NAME, make_runs
from tests.support.workers import ended, working
from workflows.access import permissions
from workflows.engine import (
    State,
    Workflow,
    branches,
    node,
    otherwise,
    predicate,
    when,
)
from workflows.errors import InvalidParams, NotAllowed, WhatIfUnavailable
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Decision, ForkKind, Run
from workflows.registry import VersionRefused, registry
from workflows.services import what_if
from workflows.services.fork_plans import ForkRequest
from workflows.services.what_if import Finding, Limits, Report, Skipped
from workflows.system import system

pytestmark = pytest.mark.django_db


@pytest.fixture
def workflow() -> Iterator[Workflow[Any]]:
    """Register the workflow for one test."""
    made = recorded_runs.make_workflow()
    registry.register(made)
    yield made
    registry.unregister(NAME)


def evaluate(
    settings: dict[str, str] | None = None, **options: Any
) -> tuple[list[Finding], Report]:
    found = system.what_if(NAME, settings or {}, **options)
    return list(found.findings()), found.report


def scores(count: int) -> list[float]:
    """Return scores from 0 to 1, so that some are between any two thresholds."""
    return [number * 7 % count / count for number in range(count)]


def check_threshold(count: int) -> None:
    """Check that exactly the runs between two thresholds are found."""
    planted = dict(zip(make_runs(scores(count)), scores(count), strict=True))
    findings, report = evaluate({"threshold": "0.7"})
    wanted = {pk for pk, score in planted.items() if 0.7 <= score < 0.8}
    assert {one.run_id for one in findings} == wanted
    assert report.runs == count
    assert report.elsewhere == {("grade", "review", "publish"): len(wanted)}
    assert {one.sequence for one in findings} == {1}
    assert not report.failed
    assert not report.skipped


def test_another_threshold_finds_exactly_the_runs_that_it_affects(
    workflow: Any,
) -> None:
    check_threshold(200)


@pytest.mark.slow
def test_another_threshold_finds_exactly_the_affected_runs_of_many(
    workflow: Any,
) -> None:
    check_threshold(10_000)


def test_todays_conditions_repeat_the_recorded_decisions(workflow: Any) -> None:
    make_runs(scores(50))
    findings, report = evaluate()
    assert not findings
    assert report.decisions == 50
    assert report.unconditional == 10 * 4  # after the reviews of four fifths
    assert not report.elsewhere


def test_the_reason_is_that_of_the_condition_with_the_new_threshold(
    workflow: Any,
) -> None:
    make_runs([0.75])
    (finding,), _ = evaluate({"threshold": "0.7"})
    assert finding.reason.startswith("score 0.75, threshold 0.70")


def test_constants_and_bounds_of_conditions_can_be_set(workflow: Any) -> None:
    make_runs([0.5, 0.9])
    findings, _ = evaluate({"MAX_ROUNDS": "3"})
    assert [(one.recorded, one.today) for one in findings] == [("review", "grade")]
    findings, _ = evaluate({"pages.at_most": "0"})
    assert [(one.recorded, one.today) for one in findings] == [("publish", "review")]
    assert recorded_runs.MAX_ROUNDS == 2
    assert not evaluate()[0]


def test_thresholds_have_todays_values(workflow: Any) -> None:
    found = {one.name: one.value for one in system.list_thresholds(NAME)}
    assert found == {"threshold": 0.8, "pages.at_most": 100, "MAX_ROUNDS": 2}


def test_an_unknown_threshold_is_refused_with_those_there_are(workflow: Any) -> None:
    with pytest.raises(InvalidParams, match=r"threshold, pages\.at_most, MAX_ROUNDS"):
        evaluate({"treshold": "0.7"})
    with pytest.raises(InvalidParams, match="less than or equal to 1"):
        evaluate({"threshold": "7"})
    with pytest.raises(InvalidParams, match="“many” is no value"):
        evaluate({"pages.at_most": "many"})


def test_runs_are_selected_by_launch_and_evaluated_newest_first(workflow: Any) -> None:
    old = make_runs([0.75], days_ago=9)
    new = make_runs([0.75, 0.75], days_ago=1)
    newest = Run.objects.get(pk=new[1])
    findings, report = evaluate(
        {"threshold": "0.7"}, since=Run.objects.get(pk=new[0]).created_at
    )
    assert [one.run_id for one in findings] == [new[1], new[0]]
    assert report.older_than is None
    findings, report = evaluate({"threshold": "0.7"}, until=newest.created_at)
    assert [one.run_id for one in findings] == [new[0], old[0]]
    findings, report = evaluate({"threshold": "0.7"}, limits=Limits(runs=1))
    assert [one.run_id for one in findings] == [new[1]]
    assert report.older_than == new[1]
    findings, report = evaluate({"threshold": "0.7"}, older_than=report.older_than)
    assert [one.run_id for one in findings] == [new[0], old[0]]


def test_a_report_ends_after_its_time_with_the_run_to_continue_from(
    workflow: Any,
) -> None:
    ids = make_runs([0.75] * 3)
    found, report = evaluate({"threshold": "0.7"}, limits=Limits(seconds=0.0))
    assert [one.run_id for one in found] == ids[-1:]
    assert report.older_than == ids[-1]


def test_rows_are_read_in_parts_without_mixing_runs(
    workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("RUNS", 3), ("DECISIONS", 2), ("CHECKPOINTS", 2)):
        monkeypatch.setattr(f"workflows.execution.recorded_decisions.{name}", size)
    check_threshold(10)


def test_states_that_are_gone_or_damaged_are_counted(workflow: Any) -> None:
    first, second, third, _ = make_runs([0.1, 0.9, 0.9, 0.9])
    Run.objects.filter(pk=first).update(payload_removed_at="2026-01-01T00:00Z")
    Checkpoint.objects.filter(run_id=second, sequence=1).update(data="[{]")
    Checkpoint.objects.filter(run_id=third, sequence=0).update(data='{"other": 1}')
    findings, report = evaluate()
    assert not findings
    assert report.runs == 4
    assert report.decisions == 1
    assert report.skipped == {
        Skipped.REMOVED: 2,
        Skipped.NO_STATE: 2,  # the patch of the third run does not fit either
    }
    assert report.unexpected == 4


def test_decisions_of_nodes_that_are_gone_and_unfit_states_are_counted(
    workflow: Any, tmp_path: Path
) -> None:
    make_runs([0.9, 0.1])
    source = Path(recorded_runs.__file__).read_text()
    file = tmp_path / "grading.py"
    file.write_text(
        source
        + f"\nmade = Workflow('{NAME}', state=Grading, start=publish, routes={{}})"
    )
    version = registry.load_version(NAME, file)
    _, report = evaluate(workflow=version)
    assert report.skipped == {Skipped.NO_NODE: 3}
    text = source.replace("pages: int = 1", "pages: int = 1\n    more: int = 0")
    file.write_text(text + "\nmade = make_workflow()")
    _, report = evaluate(workflow=registry.load_version(NAME, file))
    assert report.skipped == {Skipped.MISMATCH: 2}


def test_another_version_of_the_file_is_loaded_apart(
    workflow: Any, tmp_path: Path
) -> None:
    ids = make_runs([0.9, 0.5])
    file = tmp_path / "grading.py"
    source = Path(recorded_runs.__file__).read_text()
    changed = source.replace(
        "state.score >= state.params.threshold", "state.score > 0.4"
    )
    assert changed != source
    file.write_text(changed + "\nmade = make_workflow()")
    before = registry.list()
    version = registry.load_version(NAME, file)
    assert registry.list() == before
    assert registry.get(NAME) is workflow
    findings, _ = evaluate(workflow=version)
    assert [(one.run_id, one.today) for one in findings] == [(ids[1], "publish")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise SystemExit('no')", "cannot be imported"),
        ("import nothing_of_this_name", "cannot be imported"),
        ("made = 1", f"has no workflow “{NAME}”. It has: none"),
    ],
)
def test_a_file_that_is_no_version_is_refused(
    workflow: Any, tmp_path: Path, text: str, message: str
) -> None:
    file = tmp_path / "grading.py"
    file.write_text(text)
    with pytest.raises(VersionRefused, match=message):
        registry.load_version(NAME, file)
    assert registry.get(NAME) is workflow


def test_a_workflow_built_by_a_factory_is_refused() -> None:
    registry.register_factory("made-per-run", lambda *_: State())
    try:
        with pytest.raises(WhatIfUnavailable, match="made-per-run"):
            system.what_if("made-per-run")
    finally:
        registry.unregister("made-per-run")


def test_a_person_needs_the_permission_to_read_the_values(
    workflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = User.objects.create_superuser("ann")
    system.what_if(NAME, by=ann)
    monkeypatch.setattr(permissions, "can_read", lambda *_: False)
    for method in (system.what_if, system.list_thresholds):
        with pytest.raises(NotAllowed):
            method(NAME, by=ann)


class Odd(Exception):
    """An error without a usable text."""

    def __str__(self) -> str:
        raise SystemExit


class OddResult:
    """A result that is neither true nor false."""

    def __bool__(self) -> bool:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "behaviour", [SystemExit, KeyboardInterrupt, GeneratorExit, Odd, OddResult, "wait"]
)
def test_hostile_conditions_are_counted_and_named(
    behaviour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    @predicate
    def is_hostile(state: recorded_runs.Grading) -> bool:
        if behaviour == "wait":
            released.wait()
        if behaviour is OddResult:
            return OddResult()  # type: ignore[return-value]
        raise behaviour

    if behaviour == "wait":
        monkeypatch.setattr(what_if, "CALL_SECONDS", 0.05)
    hostile = Workflow(
        NAME,
        state=recorded_runs.Grading,
        start=recorded_runs.grade,
        routes={
            recorded_runs.grade: [
                when(is_hostile, recorded_runs.publish),
                otherwise(recorded_runs.review),
            ],
            recorded_runs.review: recorded_runs.publish,
        },
    )
    registry.register(hostile)
    try:
        ids = make_runs([0.9, 0.1])
        findings, report = evaluate()
    finally:
        registry.unregister(NAME)
        released.set()
    blocked = behaviour == "wait"
    wanted = ids[::-1][:1] if blocked else ids[::-1]
    assert [one.run_id for one in findings] == wanted
    assert all(one.has_failed and one.node == "grade" for one in findings)
    assert report.runs_failed == len(wanted)
    assert report.runs_elsewhere == 0
    assert report.skipped == ({Skipped.BLOCKED: 1} if blocked else {})
    reason = findings[0].reason
    assert ("took longer" if blocked else "is_hostile raised") in reason


# Runs that were executed --------------------------------------------------------------------


class Loop(State):
    """State of the runs below."""

    number: int = 0
    limit: int = 3


FAIL = {"now": False}


@node
def add(state: Loop) -> Loop:
    return state.set(number=state.number + 1)


@node
def finish(state: Loop) -> Loop:
    if FAIL["now"]:
        raise RuntimeError("not yet")
    return state


@node
def give_up(state: Loop) -> Loop:
    return state


@predicate
def is_below(state: Loop) -> bool:
    return state.number < state.limit


def is_odd(state: Loop) -> bool:
    return state.number % 2 == 1


@pytest.mark.django_db(transaction=True)
async def test_loops_resumes_and_forks_are_evaluated_as_they_were_decided() -> None:
    made = Workflow(
        NAME,
        state=Loop,
        start=add,
        routes={
            add: [when(is_below, add), when(is_odd, finish), otherwise(give_up)],
        },
    )
    registry.register(made)
    FAIL["now"] = True
    try:
        async with working():
            run = await run_in_db(lambda: system.execute(NAME))
            await ended(run.pk)
            FAIL["now"] = False
            await run_in_db(lambda: system.resume(run.pk, by=None))
            await ended(run.pk)
            override = ForkRequest(3, ForkKind.OVERRIDE, edge=2)
            fork = await run_in_db(lambda: system.fork(run.pk, override, by=None))
            await ended(fork.pk)
        findings, report = await run_in_db(evaluate)
        assert not findings
        assert report.runs == 2
        assert report.skipped == {Skipped.OVERRIDE: 1}
        # adding up, resumed at the third: as many decisions as steps with edges
        assert report.decisions == 3
        rows = await run_in_db(Decision.objects.count)
        assert rows > report.decisions
        changed = Workflow(
            NAME,
            state=Loop,
            start=add,
            routes={add: [when(is_odd, finish), otherwise(add)], finish: give_up},
        )
        findings, report = await run_in_db(lambda: evaluate(workflow=changed))
        # each run counts once, at the first decision
        assert [(one.run_id, one.sequence) for one in findings] == [(run.pk, 1)]
        assert report.elsewhere == {("add", "add", "finish"): 1}
    finally:
        registry.unregister(NAME)


class Joined(State):
    """State of a run with branches."""

    number: int = 0
    limit: int = 3
    made: dict[str, Any] = Field(default_factory=dict)


@node
def left(state: Joined) -> Joined:
    return state.set(number=1)


@node
def right(state: Joined) -> Joined:
    return state.set(limit=1)


@node
def use(state: Joined) -> Joined:
    return state


@predicate
def has_both(state: Joined) -> bool:
    return len(state.made) == 2


@pytest.mark.django_db(transaction=True)
async def test_ends_of_branches_are_no_conditions_and_the_join_is_evaluated() -> None:
    split = branches({"left": left, "right": right}, into="made", name="split")
    made = Workflow(
        NAME,
        state=Joined,
        start=split,
        routes={split: [when(has_both, use), otherwise(split)]},
    )
    registry.register(made)
    try:
        async with working():
            run = await run_in_db(lambda: system.execute(NAME))
            await ended(run.pk)
        findings, report = await run_in_db(evaluate)
    finally:
        registry.unregister(NAME)
    assert not findings
    assert report.decisions == 1
    assert report.skipped == {Skipped.FIRST: 2}
    assert report.unexpected == 0
