"""Migrations go forth and back, and rows that were there before fit afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from tests.support.factories import make_run

APP = "workflows"


def migrate(name: str | None = None) -> StateApps:
    """Go to a migration, the newest one by default; return the models as they are there."""
    executor = MigrationExecutor(connection)
    leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    return executor.migrate([(APP, name)] if name else leaves).apps


@pytest.fixture
def at_the_newest(transactional_db: None) -> Iterator[None]:
    """Leave the database as it was found, whatever happens."""
    yield
    migrate()


def test_decisions_made_before_learn_their_workflow(at_the_newest: None) -> None:
    run = make_run(workflow_name="old-one")
    old = migrate("0002_lean_history")
    old.get_model(APP, "Decision").objects.create(
        run_id=run.pk,
        attempt=1,
        sequence=1,
        edge_index=0,
        from_node="a",
        to_node="b",
        predicate_result=True,
    )
    migrate()
    assert run.decisions.get().workflow_name == "old-one"


def test_postgresql_finds_values_by_an_index(db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such index: newest rows are looked through.")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%% gin %%'"
        )
        found = {name for (name,) in cursor.fetchall()}
    assert {"run_params", "run_result", "decision_values"} <= found
