"""Actions of System with which people judge runs that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.services import golden_runs
from workflows.services.queries import Queries

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import GoldenRun
    from workflows.services.golden_runs import Expectation


class Reviews(Queries):
    """Golden runs."""

    def mark_golden(
        self,
        run_id: UUID | str,
        expected: Expectation,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> GoldenRun:
        """Mark a completed or failed run golden, or change what of it matters; pin it.

        Fields of the result are chosen by people who may read it. Raises RunNotFound,
        NotAllowed, InvalidStatus, PayloadRemoved, InvalidParams, ReasonMissing.
        """
        run = self._operable(run_id, by)
        if by is not None and expected.fields:
            permissions.require(
                permissions.can_read(by, run.workflow_name), "view the data of this run"
            )
        audit_events.require_reason(reason, by=by)
        return golden_runs.mark(run, expected, by=by, reason=reason)

    def unmark_golden(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> None:
        """Unmark a golden run; unpin it if marking it had pinned it.

        Raises RunNotFound, NotAllowed, InvalidStatus, ReasonMissing.
        """
        run = self._operable(run_id, by)
        audit_events.require_reason(reason, by=by)
        golden_runs.unmark(run, by=by, reason=reason)
