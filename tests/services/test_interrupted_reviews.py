"""Golden marks, golden reruns, assessments and promotions that end at any of their statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.support.factories import make_decision, make_run
from tests.support.failing_statements import done_at_last
from workflows.audit.verifier import Checker
from workflows.engine import State, Workflow, node
from workflows.models import (
    Assessment,
    AuditEvent,
    GoldenOutcome,
    GoldenResult,
    GoldenRun,
    Profile,
    Run,
    Status,
)
from workflows.registry import registry
from workflows.services.golden_fields import GoldenField
from workflows.services.golden_rerun import Mode, compare
from workflows.services.golden_runs import Expectation
from workflows.system import system

pytestmark = pytest.mark.django_db(transaction=True)
NAME = "golden-sums"


class Sum(State):
    total: int = 0


@node
def add(state: Sum) -> Sum:
    return state.set(total=state.total + 1)


@pytest.fixture(autouse=True)
def workflow() -> Iterator[None]:
    """Register the workflow for one test."""
    registry.register(Workflow(NAME, state=Sum, start=add, routes={}))
    yield
    registry.unregister(NAME)


def stored() -> list[Any]:
    """Return all rows that these actions write."""
    models: list[Any] = [GoldenRun, GoldenResult, Assessment, AuditEvent, Profile]
    pins = Run.objects.order_by("pk").values_list("pk", "is_pinned", "version")
    return [*pins, *(list(model.objects.order_by("pk").values()) for model in models)]


def problems() -> list[str]:
    """Return what is wrong with the sealed audit events: the rows of the runs have no seals."""
    found = Checker().everything()
    return [str(one) for one in found if one.kind not in {"run", "decision"}]


def test_a_mark_is_made_changed_and_removed_as_a_whole(admin: User) -> None:
    run = make_run(workflow_name=NAME, status=Status.COMPLETED, result={"total": 1})
    fields = [GoldenField("total")]

    def mark(dataset: str) -> GoldenRun:
        wanted = Expectation(dataset, fields=fields)
        return system.mark_golden(run.pk, wanted, by=admin, reason="Typical.")

    assert done_at_last(lambda: mark("main"), stored) >= 4
    assert done_at_last(lambda: mark("other"), stored) >= 4
    row = GoldenRun.objects.get()
    assert (row.dataset, row.run.is_pinned) == ("other", True)
    unmark = lambda: system.unmark_golden(run.pk, by=admin, reason="Old.")  # noqa: E731
    assert done_at_last(unmark, stored) >= 4
    assert not GoldenRun.objects.exists()
    assert not Run.objects.get(pk=run.pk).is_pinned
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["mark golden", "mark golden", "unmark golden"]
    assert problems() == []


def test_a_rerun_stores_its_result_once_and_nothing_of_a_run() -> None:
    run = make_run(
        workflow_name=NAME, status=Status.COMPLETED, params={}, result={"total": 1}
    )
    wanted = Expectation(checks_path=False, fields=[GoldenField("total")])
    golden = system.mark_golden(run.pk, wanted, by=None)

    def rerun() -> None:
        found = compare(golden, Mode())
        assert found.outcome == GoldenOutcome.SAME
        found.store()

    assert done_at_last(rerun, stored) >= 4
    rerun()
    assert GoldenResult.objects.count() == 1
    assert Run.objects.count() == 1


def test_an_assessment_is_stored_with_its_audit_event_or_not_at_all(
    admin: User,
) -> None:
    run = make_run(workflow_name=NAME, status=Status.COMPLETED)
    make_decision(run, "add", "pay", sequence=1)
    verdicts: tuple[bool | None, ...] = (True, False, None)
    for step in (0, 1):
        for verdict in verdicts:
            act = lambda: system.assess(run.pk, verdict, step=step, by=admin)  # noqa: E731, B023 - called at once
            assert done_at_last(act, stored) >= 4
            found = Assessment.objects.values_list("is_right", flat=True)
            assert list(found) == ([] if verdict is None else [verdict])
    assert AuditEvent.objects.filter(action="assess").count() == 6
    assert problems() == []


def test_a_promotion_leaves_one_profile_that_launches_get(admin: User) -> None:
    for name in ("fast", "good"):
        Profile.objects.create(workflow_name=NAME, name=name, weight=1, stages={})
    promote = lambda: system.promote_profile(NAME, "good", by=admin, reason="x")  # noqa: E731
    assert done_at_last(promote, stored) >= 3
    weights = dict(Profile.objects.values_list("name", "weight"))
    assert weights == {"fast": 0, "good": 100}
