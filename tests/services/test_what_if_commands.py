"""`manage.py what_if` and `manage.py check_routing`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support import recorded_runs
from tests.support.recorded_runs import NAME, make_runs
from workflows.models import Checkpoint, GoldenRun, Run, RunLabel
from workflows.registry import registry

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("recorded_workflow"),
]


def called(name: str, *options: str) -> tuple[str, str, int]:
    """Return output, errors and exit code of a command."""
    out, errors = StringIO(), StringIO()
    try:
        call_command(name, *options, stdout=out, stderr=errors)
    except SystemExit as end:
        return out.getvalue(), errors.getvalue(), int(end.code or 0)
    return out.getvalue(), errors.getvalue(), 0


def replace_workflow(text: str, by: str, tmp_path: Path) -> None:
    """Register a changed version of the workflow, as if its file had been edited."""
    file = tmp_path / "grading.py"
    source = Path(recorded_runs.__file__).read_text()
    assert text in source
    file.write_text(source.replace(text, by) + "\nmade = make_workflow()")
    version = registry.load_version(NAME, file)
    registry.unregister(NAME)
    registry.register(version)


def test_the_report_counts_runs_by_edge_and_links_to_their_steps() -> None:
    ids = make_runs([0.1, 0.75, 0.75, 0.9])
    out, errors, code = called("what_if", NAME, "--set", "threshold=0.7")
    assert (errors, code) == ("", 0)
    assert f"{NAME}: 2 of 4 runs would have gone elsewhere." in out
    assert "grade → publish, not review: 2 runs (50.0%)" in out
    assert f"/runs/{ids[1]}/?at=1  score 0.75, threshold 0.70" in out
    assert "Evaluated: 4 decisions with a condition, 1 without." in out


def test_json_has_every_run_and_the_totals_last() -> None:
    ids = make_runs([0.75] * 15)
    out, _, _ = called("what_if", NAME, "--set", "threshold=0.7", "--json")
    *found, last = [json.loads(line) for line in out.splitlines()]
    assert [one["run_id"] for one in found] == [str(pk) for pk in ids[::-1]]
    assert last["totals"]["runs_elsewhere"] == 15
    assert last["totals"]["edges"] == [
        {"node": "grade", "recorded": "review", "today": "publish", "runs": 15}
    ]
    out, _, _ = called("what_if", NAME, "--set", "threshold=0.7")
    assert "and 5 more: --json lists all" in out


def test_runs_are_selected_by_period_and_limit() -> None:
    make_runs([0.75], days_ago=40)
    make_runs([0.75, 0.75], days_ago=1)
    low = ("--set", "threshold=0.7")
    assert "3 of 3 runs" in called("what_if", NAME, *low)[0]
    assert "2 of 2 runs" in called("what_if", NAME, *low, "--since", "30d")[0]
    assert "1 of 1 run " in called("what_if", NAME, *low, "--until", "30d")[0]
    assert "1 of 1 run " in called("what_if", NAME, *low, "--limit", "1")[0]
    with pytest.raises(CommandError, match="“soon” is no time"):
        call_command("what_if", NAME, "--since", "soon")


def test_thresholds_are_listed_and_unknown_ones_refused() -> None:
    out, _, _ = called("what_if", NAME, "--thresholds")
    assert "threshold = 0.8  (param)" in out
    assert "MAX_ROUNDS = 2  (read by “has_rounds_left”)" in out
    _, errors, code = called("what_if", NAME, "--set", "nothing=1")
    assert code == 2
    assert "Can be set: threshold, pages.at_most, MAX_ROUNDS." in errors
    assert called("what_if", NAME, "--set", "threshold")[2] == 2
    assert called("what_if", "no-such-workflow")[2] == 2


def test_another_version_of_the_file_is_evaluated(tmp_path: Path) -> None:
    make_runs([0.5])
    file = tmp_path / "grading.py"
    source = Path(recorded_runs.__file__).read_text()
    changed = source.replace(">= state.params.threshold", "> 0.4")
    file.write_text(f"{changed}\nmade = make_workflow()")
    out, _, _ = called("what_if", NAME, "--file", str(file))
    assert "1 of 1 run would have gone elsewhere." in out
    assert called("what_if", NAME, "--file", str(tmp_path / "none.py"))[2] == 2


def test_the_check_passes_while_runs_are_routed_as_recorded(tmp_path: Path) -> None:
    make_runs([0.1, 0.9])
    out, errors, code = called("check_routing", "--workflow", NAME)
    assert (errors, code) == ("", 0)
    assert "0 of 2 runs would have gone elsewhere." in out
    replace_workflow(">= state.params", "> 0.05 + 0 * state.params", tmp_path)
    out, _, code = called("check_routing", "--workflow", NAME)
    assert code == 1
    assert "grade → publish, not review: 1 run (50.0%)" in out


def test_the_check_covers_the_selected_runs_only(tmp_path: Path) -> None:
    low, high = make_runs([0.1, 0.9])
    RunLabel.objects.create(run_id=high, name="keep")
    replace_workflow(">= state.params", "> 0.05 + 0 * state.params", tmp_path)
    assert called("check_routing", "--label", "keep")[2] == 0
    assert called("check_routing", str(high))[2] == 0
    assert called("check_routing", str(low))[2] == 1
    assert called("check_routing", "--since", "1h")[2] == 2


def test_the_check_covers_golden_runs_of_a_dataset(tmp_path: Path) -> None:
    low, high = make_runs([0.1, 0.9])
    assert called("check_routing", "--golden")[2] == 2  # there are none
    for run, dataset in ((low, "edge cases"), (high, "main")):
        GoldenRun.objects.create(run_id=run, workflow_name=NAME, dataset=dataset)
    assert called("check_routing", "--golden")[2] == 0
    replace_workflow(">= state.params", "> 0.05 + 0 * state.params", tmp_path)
    assert called("check_routing", "--golden", "main")[2] == 0
    out, _, code = called("check_routing", "--golden")
    assert code == 1
    assert f"/runs/{low}/?at=1" in out


def test_a_check_that_evaluates_nothing_or_not_everything_does_not_pass() -> None:
    _, errors, code = called("check_routing")
    assert (code, "No decision was evaluated" in errors) == (2, True)
    (run,) = make_runs([0.9])
    Checkpoint.objects.filter(run_id=run).delete()
    out, errors, code = called("check_routing", str(run))
    assert (code, "Not every decision" in errors) == (2, True)
    assert "1: the state is not stored" in out
    other = Run.objects.exclude(pk=run).first()
    assert other is None
    assert called("check_routing", "00000000-0000-7000-8000-000000000000")[2] == 2
