"""A step that a cancel ended is shown as cancelled, and the reason is no error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import make_attempt, make_audit_event, make_run, make_stage
from tests.support.sealed_runs import (
    WORKER,
    Step,
    found_in,
    launch,
    record_of,
    write,
)
from workflows.audit.seal_rows import head_of
from workflows.execution import queue
from workflows.models import Outcome, Run, Stage, StageStatus, Status
from workflows.pages.lists.usage import usage_of
from workflows.pages.run.compare import Comparison
from workflows.pages.run.diagram import draw_run
from workflows.pages.run.rows_at_step import PointInTime
from workflows.pages.run.stage_rows import rows_of
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import StreamingHttpResponse

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
REASON = "wrong <file>"


def cancelled_run(recorded: str) -> Run:
    """Return a cancelled run whose second step was recorded with this status."""
    run = make_run(
        status=Status.CANCELLED,
        sequence=1,
        cancel_reason=REASON,
        error_message=REASON,
        error_code="cancelled",
    )
    waited = recorded == StageStatus.WAITING
    make_attempt(
        run,
        outcome=Outcome.WAITING if waited else Outcome.CANCELLED,
        error_message="" if waited else REASON,
    )
    make_stage(run, "read_pages")
    make_stage(
        run,
        "judge_pages",
        sequence=2,
        status=recorded,
        error_message=REASON if recorded == StageStatus.CANCELLED else "asked to stop",
    )
    return run


RECORDED = (StageStatus.CANCELLED, StageStatus.FAILED, StageStatus.WAITING)


@pytest.mark.parametrize("recorded", RECORDED)
def test_the_page_shows_a_cancelled_stage_with_the_reason_and_without_an_error(
    admin: User, sign_in: SignIn, recorded: str
) -> None:
    run = cancelled_run(recorded)
    for address in (
        f"/runs/{run.pk}/",
        f"/runs/{run.pk}/?node=judge_pages",
        f"/runs/{run.pk}/steps/",
    ):
        text = " ".join(sign_in(admin).get(address).content.decode().split())
        assert 'data-status="cancelled">Cancelled' in text, address
        assert "<q>wrong &lt;file&gt;</q>" in text, address
        assert "step-error" not in text, address
        assert 'data-status="failed"' not in text, address
        assert 'data-state="failed"' not in text, address


@pytest.mark.parametrize("recorded", RECORDED)
def test_graph_timeline_and_comparison_show_the_same_cancelled_stage(
    recorded: str,
) -> None:
    run, other = cancelled_run(recorded), make_run(status=Status.FAILED, sequence=1)
    make_stage(other, "read_pages")
    make_stage(other, "judge_pages", sequence=2, status=StageStatus.FAILED)
    states = {node.name: node.state for node in draw_run(run, PointInTime()).nodes}
    assert states["judge_pages"].state == "cancelled"
    assert states["judge_pages"].text == "Cancelled"
    (_, row) = rows_of(run, PointInTime())
    assert (row.status, row.is_failed_or_interrupted) == ("cancelled", False)
    title = Comparison(run, other).divergence.title
    assert title == "Step 2, Judge pages: A was cancelled, B failed."


def test_a_cancelled_stage_stays_cancelled_after_a_resume(
    admin: User, sign_in: SignIn
) -> None:
    run = cancelled_run(StageStatus.FAILED)
    make_audit_event(run, action="resume", actor_name="bob", reason="a mistake")
    Run.objects.filter(pk=run.pk).update(
        status=Status.COMPLETED, cancel_reason="", error_message="", error_code=""
    )
    make_attempt(run, number=2)
    make_stage(run, "judge_pages", sequence=2, attempt=2)
    text = sign_in(admin).get(f"/runs/{run.pk}/").content.decode()
    assert 'data-status="cancelled">Cancelled' in text
    assert "<q>wrong &lt;file&gt;</q>" in text
    assert "step-error" not in text


@pytest.mark.parametrize("recorded", RECORDED)
def test_a_cancelled_stage_does_not_count_as_a_failure_of_its_node(
    admin: User, recorded: str
) -> None:
    cancelled_run(recorded)
    failed = make_run(status=Status.FAILED)
    make_attempt(failed, outcome=Outcome.FAILED)
    make_stage(failed, "judge_pages", status=StageStatus.FAILED)
    took = {
        one.node: one
        for one in usage_of(admin, failed.workflow_name, failed.graph).durations
    }
    assert took["judge_pages"].failed == 1


@pytest.mark.django_db(transaction=True)
def test_an_export_of_runs_separates_the_reason_from_errors(
    admin: User, sign_in: SignIn
) -> None:
    cancelled_run(StageStatus.CANCELLED)
    make_run(status=Status.FAILED)
    answer = sign_in(admin).get("/runs/export.json")

    stream = cast("StreamingHttpResponse", answer).streaming_content
    parts = cast("Iterator[bytes]", stream)
    failed, cancelled = json.loads(b"".join(parts))
    errors = ("error_code", "error_node", "error_message")
    assert [cancelled[key] for key in errors] == ["", "", ""]
    assert cancelled["cancel_reason"] == REASON
    assert failed["error_code"] == "node_failed"
    assert failed["cancel_reason"] == ""


def test_the_stage_of_a_wait_that_is_over_ends_when_its_pending_run_is_cancelled() -> (
    None
):
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    record = record_of(claimed, 1, Step("ask", (), status=StageStatus.WAITING))
    record.sequence, record.status = 0, Status.WAITING
    write(record, head_of(claimed.history_chain_head, claimed.pk))
    assert Run.objects.filter(pk=run.pk).wake() == 1
    system.cancel(run.pk, by=None, reason="stop")
    assert Stage.objects.get(run=run).status == StageStatus.CANCELLED
    assert found_in(run) == []
