"""A run whose end is decided cannot be cancelled, and says why."""

from __future__ import annotations

import pytest

from tests.support.factories import make_run
from workflows.errors import InvalidStatus
from workflows.models import Status
from workflows.system import system


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.RUNNING, Status.PENDING])
def test_a_cancel_while_steps_are_undone_is_refused_with_the_reason(
    status: Status,
) -> None:
    closing = {"status": "failed", "attempt": 1, "sequence": 1}
    run = make_run(status=status, closing=closing)
    with pytest.raises(InvalidStatus) as refused:
        system.cancel(run.pk, by=None)
    assert str(refused.value) == (
        f"Run {run.short_id} ends as failed after its last nodes, which undo or report,"
        " and cannot be cancelled."
    )
    run.refresh_from_db()
    assert (run.status, run.cancel_requested_at) == (status, None)
