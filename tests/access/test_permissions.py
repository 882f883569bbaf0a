"""Permissions from rows and roles, under both defaults, and their enforcement by System."""

from __future__ import annotations

import ast
import importlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from pytest_django import Settings

from project.env import ROOT
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import (
    make_approval,
    make_document,
    make_role,
    make_run,
    make_user,
)
from workflows.access import permissions, roles
from workflows.access.permissions import (
    ALL,
    EVERYTHING,
    NONE,
    NOTHING,
    Permissions,
    WorkflowSet,
)
from workflows.documents.service import store_document
from workflows.engine.errors import Paused
from workflows.errors import InvalidParams, NotAllowed, RunNotFound, WorkflowNotFound
from workflows.execution.launching import insert_child, new_child
from workflows.models import DocumentUse, Run, Status, WorkflowPermission
from workflows.registry import registry
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, User

pytestmark = pytest.mark.django_db
OURS, THEIRS = "classify-document", "summarize"
VERBS = ("view", "launch", "operate", "approve", "read")


@pytest.fixture
def closed(settings: Settings) -> None:
    """Grant no permissions by default."""
    settings.DEFAULT_ACCESS = "closed"


def person(*groups: str | Group, **fields: Any) -> User:
    """Return a new user in these groups, without cached permissions."""
    found = make_user(**fields)
    found.groups.set(
        one if isinstance(one, Group) else make_role(one) for one in groups
    )
    return found


def team(name: str = "harbour") -> Group:
    return Group.objects.get_or_create(name=name)[0]


def grant(workflow: str, group: Group | None, *verbs: str) -> WorkflowPermission:
    flags = {f"can_{verb}": verb in verbs for verb in VERBS}
    return WorkflowPermission.objects.create(
        workflow_name=workflow, group=group, **flags
    )


def verbs_of(user: User, workflow: str = OURS) -> set[str]:
    """Return the permissions of a user for a workflow."""
    user.__dict__.pop(permissions.CACHE_ATTRIBUTE, None)
    granted = permissions.permissions_for(user)
    return {verb for verb in VERBS if workflow in getattr(granted, verb)}


# Sets of workflows -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        ALL,
        NONE,
        WorkflowSet(frozenset("ab")),
        WorkflowSet(frozenset("b"), all_but=True),
    ],
)
@pytest.mark.parametrize(
    "other",
    [
        ALL,
        NONE,
        WorkflowSet(frozenset("bc")),
        WorkflowSet(frozenset("bc"), all_but=True),
    ],
)
def test_an_intersection_contains_the_names_in_both_sets(
    one: WorkflowSet, other: WorkflowSet
) -> None:
    for name in "abcd":
        assert (name in (one & other)) == (name in one and name in other)


# Rows and roles --------------------------------------------------------------------------


def test_an_anonymous_user_has_no_permission(charlie: AnonymousUser) -> None:
    assert permissions.permissions_for(charlie) is NOTHING


def test_an_inactive_account_has_no_permission() -> None:
    assert (
        permissions.permissions_for(person(is_active=False, is_superuser=True))
        is NOTHING
    )


def test_open_permissions_are_granted_to_everyone() -> None:
    assert verbs_of(person()) == set(VERBS)


def test_closed_permissions_are_granted_to_no_one(closed: None) -> None:
    assert verbs_of(person()) == set()


@pytest.mark.parametrize(
    ("role", "verbs"),
    [
        (roles.VIEWER, {"view", "read"}),
        (roles.LAUNCHER, {"view", "launch", "read"}),
        (roles.OPERATOR, {"view", "launch", "operate", "approve", "read"}),
        (roles.AUDITOR, {"view", "read"}),
        (roles.ADMIN, {"view", "launch", "operate", "approve", "read"}),
    ],
)
def test_a_role_grants_permissions_that_are_closed_by_default(
    closed: None, role: str, verbs: set[str]
) -> None:
    assert verbs_of(person(role)) == verbs


@pytest.mark.parametrize("default", ["open", "closed"])
def test_permission_rows_restrict_a_workflow_to_their_groups(
    settings: Settings, default: str
) -> None:
    settings.DEFAULT_ACCESS = default
    grant(OURS, team(), "view", "launch")
    assert verbs_of(person(team())) == {"view", "launch", "read"}
    assert verbs_of(person()) == set()
    for role in (roles.VIEWER, roles.LAUNCHER, roles.OPERATOR):
        assert verbs_of(person(role)) == set()
    assert verbs_of(person(roles.AUDITOR)) == {"view", "read"}
    assert verbs_of(person(roles.ADMIN)) == set(VERBS)


def test_rows_of_one_workflow_do_not_affect_another(closed: None) -> None:
    grant(OURS, team(), "view")
    assert verbs_of(person(team()), THEIRS) == set()
    assert verbs_of(person(team(), roles.LAUNCHER), THEIRS) == {
        "view",
        "launch",
        "read",
    }


def test_a_permission_row_without_a_group_applies_to_everyone(closed: None) -> None:
    grant(OURS, None, "view", "launch")
    grant(OURS, team(), "view", "operate")
    assert verbs_of(person()) == {"view", "launch", "read"}
    assert verbs_of(person(team())) == {"view", "launch", "operate", "read"}


def test_rows_of_several_groups_add_up() -> None:
    grant(OURS, team("one"), "view", "launch")
    grant(OURS, team("two"), "view", "approve")
    both = person(team("one"), team("two"))
    assert verbs_of(both) == {"view", "launch", "approve", "read"}


@pytest.mark.parametrize("role", [None, *roles.ROLES])
def test_values_are_visible_to_named_groups_and_superusers(role: str | None) -> None:
    grant(OURS, team(), "read")
    assert "read" not in verbs_of(person(role) if role else person())
    assert "view" in verbs_of(person())
    assert "read" in verbs_of(person(team()))
    assert "read" in verbs_of(person(is_superuser=True))


def test_permission_to_read_data_does_not_include_viewing(closed: None) -> None:
    grant(OURS, team(), "read")
    assert verbs_of(person(team())) == set()


def test_a_superuser_may_do_everything(closed: None) -> None:
    grant(OURS, team(), "view", "read")
    assert permissions.permissions_for(person(is_superuser=True)) is EVERYTHING


def test_equal_permissions_of_two_users_compare_and_hash_as_equal() -> None:
    grant(OURS, team(), "view")
    one, other = person(team()), person(team())
    assert permissions.permissions_for(one) == permissions.permissions_for(other)
    assert permissions.permissions_for(one) != permissions.permissions_for(person())
    assert hash(permissions.permissions_for(one)) == hash(
        permissions.permissions_for(other)
    )
    assert isinstance(permissions.permissions_for(one), Permissions)


def test_permissions_are_queried_once(django_assert_max_num_queries: object) -> None:
    user = person(team())
    permissions.permissions_for(user)
    with django_assert_max_num_queries(0):  # type: ignore[operator] # a fixture
        permissions.permissions_for(user)


def test_rows_of_many_runs_are_filtered_by_visible_workflow_names() -> None:
    grant(THEIRS, team(), "view")
    ours, theirs = make_run(workflow_name=OURS), make_run(workflow_name=THEIRS)
    seen = permissions.visible(person(), Run.objects.all())
    assert set(seen) == {ours}
    assert " IN (" in str(seen.query)
    assert "NOT" not in str(seen.query).partition("WHERE")[2]
    everything = permissions.visible(person(is_superuser=True), Run.objects.all())
    assert set(everything) == {ours, theirs}
    assert "WHERE" not in str(everything.query)


# Validation of rows ----------------------------------------------------------------------


def test_a_row_that_grants_no_permission_is_refused() -> None:
    nothing = WorkflowPermission(workflow_name=OURS, group=team(), can_view=False)
    with pytest.raises(ValidationError, match="Select at least one permission"):
        nothing.full_clean()


def test_other_permissions_require_viewing() -> None:
    blind = WorkflowPermission(
        workflow_name=OURS, group=team(), can_view=False, can_launch=True
    )
    with pytest.raises(ValidationError, match="require “view”"):
        blind.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        blind.save()


@pytest.mark.parametrize("group", ["harbour", None])
def test_a_group_has_one_row_per_workflow(group: str | None) -> None:
    grant(OURS, team(group) if group else None, "view")
    again = WorkflowPermission(workflow_name=OURS, group=team(group) if group else None)
    with pytest.raises(ValidationError, match="Edit those"):
        again.full_clean()


# The roles -------------------------------------------------------------------------------


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_permission_of_a_role_exists(role: str) -> None:
    there_are = set(Permission.objects.values_list("codename", flat=True))
    named = {name for name in roles.ROLES[role] if "*" not in name}
    assert named <= there_are
    given = set(make_role(role).permissions.values_list("codename", flat=True))
    assert named <= given


def test_an_existing_group_of_a_team_is_not_changed() -> None:
    Group.objects.filter(name=roles.OPERATOR).delete()
    Group.objects.create(name=roles.OPERATOR)
    roles.create_missing(Group, Permission)
    assert not Group.objects.get(name=roles.OPERATOR).permissions.exists()


# System ----------------------------------------------------------------------------------


def actions(run: Run, by: User) -> dict[str, object]:
    return {
        "cancel": lambda: system.cancel(run.pk, by=by),
        "resume": lambda: system.resume(run.pk, by=by),
        "delete": lambda: system.delete_run(run.pk, by=by),
        "label": lambda: system.label(run.pk, "odd", by=by),
        "unlabel": lambda: system.unlabel(run.pk, "odd", by=by),
        "note": lambda: system.add_note(run.pk, "odd", by=by),
        "respond": lambda: system.respond(run.pk, {"outcome": "publish"}, by=by),
    }


@pytest.mark.parametrize(
    "action", ["cancel", "resume", "delete", "label", "unlabel", "note", "respond"]
)
def test_system_refuses_users_without_permission(closed: None, action: str) -> None:
    run = make_approval().run
    for who, refusal in ((person(), RunNotFound), (person(roles.VIEWER), NotAllowed)):
        call = actions(run, who)[action]
        assert callable(call)
        with pytest.raises(refusal):
            call()
    run.refresh_from_db()
    assert run.status == Status.WAITING
    assert not run.audit_events.exists()


def test_a_hidden_run_gets_the_same_message_as_a_missing_one(closed: None) -> None:
    run = make_run()
    run_id = run.pk
    with pytest.raises(RunNotFound) as hidden:
        system.find_run(run_id, by=person())
    run.delete()
    with pytest.raises(RunNotFound) as missing:
        system.find_run(run_id, by=person())
    assert str(hidden.value) == str(missing.value)


def test_a_hidden_workflow_gets_the_same_message_as_a_missing_one(closed: None) -> None:
    grant(THEIRS, team(), "view")
    with pytest.raises(WorkflowNotFound) as hidden:
        system.execute(OURS, {}, by=person(team()))
    assert str(hidden.value) == f"Workflow “{OURS}” not found. Available: {THEIRS}."
    with pytest.raises(WorkflowNotFound) as missing:
        system.execute("nothing", {}, by=person(team()))
    assert str(missing.value) == f"Workflow “nothing” not found. Available: {THEIRS}."


def test_a_viewer_cannot_launch(closed: None) -> None:
    document = str(make_document().pk)
    with pytest.raises(NotAllowed, match="launch this workflow"):
        system.execute(OURS, {"document": document}, by=person(roles.VIEWER))
    assert not Run.objects.exists()


def test_deleting_a_parent_deletes_its_children(closed: None) -> None:
    """An action on a parent includes its children, whatever their permissions."""
    grant(OURS, team(), "view", "operate")
    parent = make_run(status=Status.WAITING, waiting_for="subworkflow")
    child = make_run(status=Status.PENDING, parent=parent, workflow_name=THEIRS)
    system.cancel(parent.pk, by=person(team()), reason="wrong document")
    child.refresh_from_db()
    assert child.status == Status.CANCELLED


def test_users_without_access_to_values_cannot_respond(closed: None) -> None:
    grant(OURS, team("others"), "read")
    run = make_approval().run
    with pytest.raises(NotAllowed, match="respond to approvals"):
        system.respond(run.pk, {"outcome": "publish"}, by=person(roles.OPERATOR))


def calls_of_system(path: Path) -> list[ast.Call]:
    """Return the calls of System that read or change a run or workflow."""
    named = {
        *("find_run", "find_workflow", "list_workflows", "execute", "cancel", "resume"),
        *("delete_run", "label", "unlabel", "add_note", "respond"),
    }
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in named
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "system"
    ]


def test_pages_and_admin_always_pass_the_user() -> None:
    """Code that renders for many viewers receives permissions instead, and is excepted."""
    missing = {
        f"{path.relative_to(ROOT)}: {ast.unparse(call)}"
        for room in ("pages", "admin")
        for path in (ROOT / "workflows" / room).rglob("*.py")
        for call in calls_of_system(path)
        if "by" not in {keyword.arg for keyword in call.keywords}
    }
    assert missing == {
        "workflows/pages/catalog.py: system.find_workflow(name)",
        "workflows/pages/live/consumers.py: system.find_run(part.run_id)",
    }


# Documents -------------------------------------------------------------------------------


def test_a_document_is_visible_to_viewers_of_its_runs(closed: None) -> None:
    owner, reader = person(roles.LAUNCHER), person(team())
    document = make_document(uploaded_by=owner)
    grant(OURS, team(), "view")
    assert document not in permissions.visible_documents(reader)
    DocumentUse.objects.create(document=document, workflow_name=OURS)
    assert document in permissions.visible_documents(reader)
    assert document in permissions.visible_documents(owner)
    assert document not in permissions.visible_documents(person(roles.LAUNCHER))


def test_a_document_without_runs_requires_permission_to_view_documents(
    closed: None,
) -> None:
    document = make_document()
    assert document in permissions.visible_documents(person(roles.LAUNCHER))
    assert document not in permissions.visible_documents(person(roles.VIEWER))


def test_a_launch_with_an_invisible_document_is_refused() -> None:
    grant(OURS, team(), "view", "launch")
    mine, other = person(team()), person(team())
    other_document = make_document(uploaded_by=other)
    DocumentUse.objects.create(document=other_document, workflow_name=THEIRS)
    grant(THEIRS, team("nobody"), "view")
    with pytest.raises(InvalidParams, match="There is no document"):
        system.execute(OURS, {"document": str(other_document.pk)}, by=mine)
    run = system.execute(OURS, {"document": str(other_document.pk)}, by=other)
    assert DocumentUse.objects.filter(document=other_document).count() == 2
    assert run.launched_by == other
    assert other_document in permissions.visible_documents(mine)


def test_uploading_the_same_file_shows_the_document_but_not_its_first_uploader(
    closed: None,
) -> None:
    content = many_pages(1)
    first = store_document("secret.pdf", BytesIO(content), by=person(roles.LAUNCHER))
    DocumentUse.objects.create(document=first, workflow_name=THEIRS)
    grant(THEIRS, team("nobody"), "view")
    later = person(roles.LAUNCHER)
    assert first not in permissions.visible_documents(later)
    again = store_document("mine.pdf", BytesIO(content), by=later)
    assert again.pk == first.pk
    assert not again.already_stored
    assert first in permissions.visible_documents(later)
    assert store_document("mine.pdf", BytesIO(content), by=later).already_stored


def test_documents_of_a_child_run_are_recorded() -> None:
    document = make_document()
    paused = Paused("subworkflow", workflow=OURS, params={"d": str(document.pk)})
    paused.sequence = 1
    parent = make_run(status=Status.WAITING, waiting_for="subworkflow")
    child = new_child(parent, paused, registry, "")
    assert child is not None
    insert_child(child)
    assert document.uses.get().workflow_name == OURS


def test_the_migration_records_documents_of_existing_runs() -> None:
    document = make_document()
    make_run(params={"deep": [{"document": str(document.pk)}]})
    migration = importlib.import_module(
        "workflows.migrations.0009_roles_and_document_uses"
    )
    migration.find_uses(apps, None)
    assert document.uses.get().workflow_name == OURS
