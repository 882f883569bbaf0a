"""Pages read runs and decisions through helpers that apply the viewer's permissions."""

from __future__ import annotations

import ast
from pathlib import Path

from django.contrib.auth.models import Group, User

from tests.support.factories import make_decision, make_run
from tests.support.permission_fixtures import OURS, THEIRS
from workflows import pages
from workflows.models import WorkflowPermission
from workflows.pages.visible_rows import visible_decisions, visible_runs

PAGES = Path(pages.__file__).parent
GUARDED = {"Run", "Decision"}  # models whose manager pages do not use
EXCEPTIONS = {
    "visible_rows.py",  # the helpers of the pages
    "live/consumers.py",  # one run by id, after a permission check
    "run/lineage.py",  # runs of the workflow of a run that the viewer can see
    "run/baselines.py",  # durations of a workflow that the viewer can see
}


def uses_manager(source: str) -> bool:
    """Return whether a module uses the manager of a guarded model."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in {"objects", "_default_manager", "_base_manager"}
        and isinstance(node.value, ast.Name)
        and node.value.id in GUARDED
        for node in ast.walk(ast.parse(source))
    )


def test_pages_query_runs_and_decisions_through_the_helpers() -> None:
    offenders = {
        path.relative_to(PAGES).as_posix()
        for path in PAGES.rglob("*.py")
        if uses_manager(path.read_text())
    }
    assert offenders == EXCEPTIONS


def test_a_manager_is_detected() -> None:
    assert uses_manager("rows = Run.objects.filter(pk=1)")
    assert uses_manager("Decision.objects")
    assert not uses_manager("rows = visible_runs(user)")


def test_the_helpers_apply_the_permissions(alice: User) -> None:
    mine, hidden = make_run(workflow_name=OURS), make_run(workflow_name=THEIRS)
    make_decision(mine, workflow_name=OURS)
    make_decision(hidden, workflow_name=THEIRS)
    others = Group.objects.create(name="others")
    WorkflowPermission.objects.create(workflow_name=THEIRS, group=others)
    viewer = User.objects.get(pk=alice.pk)
    assert list(visible_runs(viewer)) == [mine]
    assert [one.run for one in visible_decisions(viewer)] == [mine]
