"""Migrations go forth and back, and rows that were there before fit afterwards."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from tests.support.factories import make_decision, make_run
from tests.support.servers import HOME, migrated_file
from workflows.access import roles
from workflows.audit import audit_events, seal_rows
from workflows.audit.verifier import Checker
from workflows.models import AuditEvent, WorkflowPermission

APP = "workflows"


def migrate(name: str | None = None) -> StateApps:
    """Go to a migration, the newest one by default; return the models as they are there."""
    call_command("migrate", APP, *filter(None, [name]), verbosity=0)
    loader = MigrationExecutor(connection).loader
    leaves = [key for key in loader.graph.leaf_nodes() if key[0] == APP]
    return apps_at(name or leaves[0][1])


def apps_at(name: str) -> StateApps:
    """Return the models as of a migration; the database is not changed."""
    state = MigrationExecutor(connection).loader.project_state([(APP, name)])
    return state.apps


@pytest.fixture
def at_the_newest(transactional_db: None) -> Iterator[None]:
    """Leave the database as it was found, whatever happens."""
    yield
    migrate()


def test_existing_decisions_get_their_workflow(db: None) -> None:
    run = make_run(workflow_name="old-one")
    decision = make_decision(run, "a", "b", workflow_name="")
    import_module("workflows.migrations.0004_decisions_name_their_workflow").fill(
        apps, None
    )
    decision.refresh_from_db()
    assert decision.workflow_name == "old-one"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_migration_from_before_names_the_workflow_of_decisions(
    at_the_newest: None,
) -> None:
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


def permissions_of(group: Group) -> set[str]:
    """Return the codenames of a group's permissions on our models."""
    rows = group.permissions.filter(content_type__app_label=APP)
    return set(rows.values_list("codename", flat=True))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_renaming_models_preserves_rows_permissions_and_seals(
    at_the_newest: None,
) -> None:
    run = make_run(is_pinned=True)
    seal_rows.begin(run)
    run.save()
    audit_events.record(run, "label", by=None, reason="")
    WorkflowPermission.objects.create(workflow_name="sum", can_view=True)
    group = Group.objects.create(name="keepers")
    ours = Permission.objects.filter(content_type__app_label=APP)
    new = {"view_auditevent", "change_workflowpermission"}
    group.permissions.set(ours.filter(codename__in=new))
    run.refresh_from_db()
    heads = [bytes(run.history_chain_head or b""), bytes(run.audit_chain_head or b"")]

    call_command("migrate", APP, "0016", verbosity=0)
    before = permissions_of(group)
    old = apps_at("0016_cancelled_stages")
    row = old.get_model(APP, "Run").objects.get()
    assert [bytes(row.chain), bytes(row.deeds), row.is_golden] == [*heads, True]
    assert old.get_model(APP, "Intervention").objects.get().action == "label"
    assert old.get_model(APP, "WorkflowRight").objects.get().workflow_name == "sum"
    call_command("migrate", APP, verbosity=0)

    assert before == {"view_intervention", "change_workflowright"}
    assert permissions_of(group) == new
    assert not Permission.objects.filter(codename__endswith="_intervention").exists()
    models = set(
        ContentType.objects.filter(app_label=APP).values_list("model", flat=True)
    )
    assert {"auditevent", "workflowpermission"} <= models
    assert not {"intervention", "workflowright"} & models
    assert AuditEvent.objects.get().run == run
    assert WorkflowPermission.objects.get().can_view
    assert Checker().run(run.pk) == []


GRANTED = """
    SELECT auth_group.name, auth_permission.codename FROM auth_group
    JOIN auth_group_permissions granted ON granted.group_id = auth_group.id
    JOIN auth_permission ON auth_permission.id = granted.permission_id
"""


@pytest.fixture
def granted(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    """Return role and permission of each row in a database that was only migrated."""
    if connection.vendor == "postgresql":
        url = request.getfixturevalue("migrated_url")
        with psycopg.connect(url) as postgres:
            return postgres.execute(GRANTED).fetchall()
    file = migrated_file(Path(os.environ[HOME]))
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as sqlite:
        return sqlite.execute(GRANTED).fetchall()


def test_the_roles_of_a_new_installation_have_the_permissions_of_the_roles(
    granted: list[tuple[str, str]],
) -> None:
    for name, permissions in roles.ROLES.items():
        of_role = {codename for role, codename in granted if role == name}
        assert of_role
        assert {one for one in permissions if "*" not in one} <= of_role


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_migrations_can_be_reversed_and_applied_again(at_the_newest: None) -> None:
    before = set(connection.introspection.table_names())
    call_command("migrate", APP, "zero", verbosity=0)
    left = set(connection.introspection.table_names())
    assert not {name for name in left if name.startswith(f"{APP}_")}
    call_command("migrate", verbosity=0)
    assert set(connection.introspection.table_names()) == before
    for name, permissions in roles.ROLES.items():
        role = Group.objects.get(name=name)
        of_role = set(role.permissions.values_list("codename", flat=True))
        assert {one for one in permissions if "*" not in one} <= of_role
