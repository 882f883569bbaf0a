"""`signalbox what-if`, `usage`, `accuracy`, `assess`, `mark-golden`, `promote-profile`."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model

from tests.command_line.conftest import Shell
from tests.support.agent_rows import make_call, make_content
from tests.support.factories import make_run, make_whole_run
from tests.support.recorded_runs import NAME, make_runs
from workflows.api.routes import what_if
from workflows.models import (
    Assessment,
    AuditEvent,
    CallStatus,
    GoldenRun,
    Profile,
    Status,
)
from workflows.services.what_if import Limits

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("recorded_workflow"),
]
LOW = ("--set", "threshold=0.7")


def test_a_what_if_report_adds_up_the_parts_of_the_api(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "PART", Limits(runs=2))
    ids = make_runs([0.1, 0.75, 0.75, 0.9, 0.72])
    report = shell.json("what-if", NAME, *LOW)
    assert {name: report[name] for name in ("runs", "runs_elsewhere", "decisions")} == {
        "runs": 5,
        "runs_elsewhere": 3,
        "decisions": 5,
    }
    assert report["edges"] == [
        {"node": "grade", "recorded": "review", "today": "publish", "runs": 3}
    ]
    affected = [str(ids[number]) for number in (4, 2, 1)]
    assert [one["run"] for one in report["items"]] == affected
    text = shell.run("what-if", NAME, *LOW)
    assert f"{NAME}: 3 of 5 runs would have gone elsewhere." in text
    assert "  grade → publish, not review: 3 runs (60.0%)" in text
    assert f"http://localhost/runs/{ids[1]}/?at=1  score 0.75, threshold 0.70" in text


def test_what_if_selects_runs_by_time_and_lists_only_some_of_many(shell: Shell) -> None:
    make_runs([0.75] * 12, days_ago=40)
    make_runs([0.75], days_ago=1)
    recent = shell.run("what-if", NAME, *LOW, "--since", "30d")
    assert "1 of 1 run would" in recent
    older = shell.run("what-if", NAME, *LOW, "--until", "4w")
    assert "12 of 12 runs would" in older
    assert "    and 2 more: --json lists all" in older


def test_what_if_lists_thresholds_and_refuses_what_it_cannot_read(shell: Shell) -> None:
    assert "threshold = 0.8  (param)" in shell.run("what-if", NAME, "--thresholds")
    shell.run("what-if", NAME, "--since", "yesterday", code=2)
    assert "“yesterday” is not a time: use --since 2026-11-01" in shell.errors
    shell.run("what-if", NAME, "--set", "threshold", code=2)
    assert "“threshold” is not KEY=VALUE" in shell.errors
    shell.run("what-if", NAME, "--set", "nothing=1", code=2)
    assert "No threshold has this name. Can be set: threshold" in shell.errors
    shell.run("what-if", "no-such-workflow", code=2)


def test_usage_is_shown_by_person_with_its_total(shell: Shell) -> None:
    admin = get_user_model().objects.get()
    for tokens in (7, 5):
        make_call(
            make_run(launched_by=admin),
            person=admin,
            agent_name="writer",
            tokens_in=tokens,
            tokens_out=1,
            cost=Decimal("0.25"),
        )
    rows = [line.split() for line in shell.run("usage").splitlines()[1:]]
    assert [row[:4] for row in rows] == [
        ["admin", "2", "12", "2"],
        ["total", "2", "12", "2"],
    ]
    assert {Decimal(row[4]) for row in rows} == {Decimal("0.5")}
    assert shell.run("usage", "--person", "nobody").split()[-4:] == ["total", *"000"]
    assert shell.json("usage", "--by", "agent")["groups"][0]["key"] == "writer"
    shell.run("usage", "--by", "colour", code=2)


def test_calls_of_a_run_are_listed_with_what_was_sent_and_received(
    shell: Shell,
) -> None:
    run = make_run()
    make_content(make_call(run, cost=Decimal("0.25")), "Summarize it.", "It is short.")
    make_call(run, status=CallStatus.FAILED, error_message="The model is away.")
    table = shell.run("calls", str(run.pk))
    assert [line.split()[:4] for line in table.splitlines()[1:]] == [
        ["0", "writer", "tiny", "completed"],
        ["0", "writer", "tiny", "failed"],
    ]
    assert table.rstrip().endswith("The model is away.")
    text = shell.run("calls", str(run.pk), "--content")
    assert "  user: Summarize it.\n  answer: It is short.\n" in text
    assert text.count("No content is stored, or you don’t have permission") == 1
    found = shell.json("calls", str(run.pk), "--content")
    assert [one["content"] is None for one in found] == [False, True]
    assert found[0]["content"]["answer"] == "It is short."


def test_a_run_and_a_decision_are_assessed_and_counted(shell: Shell) -> None:
    run = make_whole_run(status=Status.COMPLETED)
    pk, step = str(run.pk), run.decisions.filter(taken=True).earliest("sequence")
    assert shell.run("assess", pk, "right") == f"Run {pk} is assessed as right.\n"
    number = str(step.sequence)
    text = shell.run("assess", pk, "wrong", "--step", number, "--note", "A banner.")
    assert text.endswith(f"as wrong: {step.from_node} → {step.to_node}.\n")
    rows = Assessment.objects.order_by("sequence")
    assert [(one.sequence, one.is_right, one.note) for one in rows] == [
        (0, True, ""),
        (step.sequence, False, "A banner."),
    ]
    table = shell.run("accuracy", run.workflow_name)
    assert "100.0%" in table
    assert f"{step.from_node} → {step.to_node}" in table
    assert shell.json("assess", pk, "none") is None
    assert [one.sequence for one in Assessment.objects.all()] == [step.sequence]
    assert AuditEvent.objects.filter(action="assess").count() == 3
    shell.run("assess", str(make_run(status=Status.RUNNING).pk), "right", code=2)
    assert "assessed before it has ended" in shell.errors


def test_a_run_is_marked_golden_with_fields_and_unmarked(shell: Shell) -> None:
    run = make_run(status=Status.COMPLETED, result={"total": {"net": 5}, "name": "x"})
    fields = ("--field", "total.net=0.5", "--field", "name", "--no-path")
    pk, reason = str(run.pk), ("--reason", "A good one.")
    text = shell.run("mark-golden", pk, *fields, "--dataset", "orders", *reason)
    assert text == f"Run {pk} is golden, in the dataset orders.\n"
    row = GoldenRun.objects.get()
    assert not row.checks_path
    assert row.fields == [
        {"field": "total.net", "tolerance": 0.5},
        {"field": "name", "tolerance": None},
    ]
    shell.run("mark-golden", pk, "--field", "name=much", *reason, code=2)
    assert "has no tolerance: use --field total.net=0.5" in shell.errors
    assert shell.run("unmark-golden", pk, *reason) == f"Run {pk} is not golden.\n"
    assert not GoldenRun.objects.exists()


def test_a_profile_is_promoted(shell: Shell) -> None:
    Profile.objects.create(workflow_name=NAME, name="good", weight=1, stages={})
    reason = ("--reason", "More accurate.")
    text = shell.run("promote-profile", NAME, "good", *reason)
    assert text == f"Launches of {NAME} that name none get the profile good.\n"
    assert Profile.objects.get().weight == 100
    shell.run("promote-profile", NAME, "other", *reason, code=2)
    assert "other" in shell.errors
    shell.run("promote-profile", NAME, "", *reason)
    assert Profile.objects.get().weight == 0
