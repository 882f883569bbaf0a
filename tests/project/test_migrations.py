"""Migrations go forth and back, and rows that were there before fit afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import StateApps

from tests.support.factories import make_run
from workflows.access import roles
from workflows.audit import chain, trail
from workflows.audit.verifier import Checker
from workflows.models import AuditEvent, WorkflowPermission

APP = "workflows"


def migrate(name: str | None = None) -> StateApps:
    """Go to a migration, the newest one by default; return the models as they are there."""
    executor = MigrationExecutor(connection)
    leaves = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    return executor.migrate([(APP, name)] if name else leaves).apps


def apps_at(name: str) -> StateApps:
    """Return the models as of a migration; the database is not changed."""
    state = MigrationExecutor(connection).loader.project_state([(APP, name)])
    return state.apps


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


def permissions_of(group: Group) -> set[str]:
    """Return the codenames of a group's permissions on our models."""
    rows = group.permissions.filter(content_type__app_label=APP)
    return set(rows.values_list("codename", flat=True))


def test_the_rename_of_models_keeps_rows_permissions_and_seals(
    at_the_newest: None,
) -> None:
    run = make_run(is_pinned=True)
    chain.begin(run)
    run.save()
    trail.record(run, "label", by=None, reason="")
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


def test_the_roles_of_a_new_installation_have_the_permissions_of_the_roles(
    at_the_newest: None,
) -> None:
    call_command("migrate", APP, "zero", verbosity=0)
    call_command("migrate", verbosity=0)
    for name, permissions in roles.ROLES.items():
        role = Group.objects.get(name=name)
        granted = set(role.permissions.values_list("codename", flat=True))
        assert {one for one in permissions if "*" not in one} <= granted
