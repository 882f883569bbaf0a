"""Each invariant holds for a consistent history, and only it fails for its damage."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos import invariants
from tests.chaos.damage import PLANTS, RUNS, Plant, in_ledger, locate
from tests.chaos.evidence import COPIED, NOTICED, execute, read, verification
from tests.chaos.ledger import BEGIN
from tests.crash.processes import Installation
from tests.support.servers import HOME


@pytest.fixture(scope="module")
def world() -> Path:
    """Return a directory with the history of `world`; it is executed once a run."""
    shared = Path(os.environ[HOME])
    home = shared / "chaos-world"
    with (shared / "chaos-world.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            building = shared / "chaos-world.building"
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
            built = Installation(building, WORKFLOW_APPS="tests.chaos.app")
            execute(built.environment, "-m", "tests.chaos.world", str(building))
            building.rename(home)
    return home


@pytest.fixture
def rows(world: Path) -> Iterator[sqlite3.Connection]:
    """Give a copy of the rows in memory, without the constraints that forbid the damage."""
    with (
        closing(sqlite3.connect(world / "data" / "db.sqlite3")) as source,
        closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.backup(copy)
        copy.execute("PRAGMA ignore_check_constraints = ON")
        yield copy


def ids(rows: sqlite3.Connection) -> dict[str, str]:
    """Return the id of the run of each name, as SQL parameters."""
    launched = rows.execute(
        "SELECT json_extract(params, '$.order'), id FROM workflows_run"
        " WHERE parent_id IS NULL"
    )
    by_order = dict(launched.fetchall())
    return {name: by_order.get(order, "") for name, order in RUNS.items()}


def failed(findings: list[invariants.Finding]) -> dict[str, list[str]]:
    """Return the violations by invariant."""
    return {one.name: one.violations for one in findings if one.violations}


def test_a_history_without_faults_satisfies_every_invariant(
    world: Path, rows: sqlite3.Connection
) -> None:
    findings = invariants.check(read(rows.cursor(), world))
    assert failed(findings) == {}
    assert [one.name for one in findings if not one.checked] == []


def test_every_invariant_has_a_damage() -> None:
    names = [invariant.__name__ for invariant in invariants.all_invariants()]
    assert sorted(plant.name for plant in PLANTS) == sorted(names)
    assert len(names) >= 25
    assert all(invariant.__doc__ for invariant in invariants.all_invariants())


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_damage_violates_only_its_invariant(
    world: Path, rows: sqlite3.Connection, plant: Plant
) -> None:
    runs = ids(rows)
    for statement in filter(None, plant.sql.split(";")):
        assert rows.execute(statement, runs).rowcount > 0, statement
    evidence = read(rows.cursor(), world)
    if plant.edit is not None:
        plant.edit(evidence)
    assert set(failed(invariants.check(evidence))) == {plant.name}


@pytest.mark.parametrize("is_rewound", [True, False])
def test_a_rollback_excuses_only_calls_within_the_lost_time(
    world: Path, rows: sqlite3.Connection, is_rewound: bool
) -> None:
    again = in_ledger(
        BEGIN, "sequence", 1, lambda line: [line, replace(line, token="again")]
    )
    evidence = read(rows.cursor(), world)
    again(evidence)
    run = evidence.ledger[locate(evidence, BEGIN, "sequence", 1)].run
    place = next(
        place
        for place, line in enumerate(evidence.ledger)
        if (line.run == run) is is_rewound
    )
    evidence.journal += [
        {"kind": COPIED, "executions": place},
        {"kind": NOTICED, "executions": place + 1},
    ]
    violated = set() if is_rewound else {"recorded_steps_run_once"}
    assert set(failed(invariants.check(evidence))) == violated


def test_the_verification_reports_a_decision_that_was_changed(
    world: Path, rows: sqlite3.Connection, tmp_path: Path
) -> None:
    rows.execute(
        "UPDATE workflows_decision SET reason = 'because' WHERE id ="
        " (SELECT MIN(id) FROM workflows_decision WHERE run_id = :sequence)",
        ids(rows),
    )
    rows.commit()
    damaged = Installation(tmp_path, WORKFLOW_APPS="tests.chaos.app")
    with closing(sqlite3.connect(damaged.data_dir / "db.sqlite3")) as copy:
        rows.backup(copy)
    (finding,) = verification(damaged.environment)
    assert "is not what was recorded" in finding
