"""Actions of System with which people judge runs that have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.models import WHOLE_RUN
from workflows.services import assessments, golden_runs, promotion
from workflows.services.queries import Queries

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import Assessment, GoldenRun
    from workflows.services.golden_runs import Expectation


class Reviews(Queries):
    """Golden runs, assessments, promotion of profiles."""

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
        self._require_reason(run.workflow_name, "mark golden", reason, by)
        return golden_runs.mark(run, expected, by=by, reason=reason)

    def unmark_golden(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> None:
        """Unmark a golden run; unpin it if marking it had pinned it.

        Raises RunNotFound, NotAllowed, InvalidStatus, ReasonMissing.
        """
        run = self._operable(run_id, by)
        self._require_reason(run.workflow_name, "mark golden", reason, by)
        golden_runs.unmark(run, by=by, reason=reason)

    def assess(
        self,
        run_id: UUID | str,
        is_right: bool | None,
        *,
        by: AbstractBaseUser | None,
        step: int = WHOLE_RUN,
        note: str = "",
    ) -> Assessment | None:
        """Assess an ended run as right or wrong, or the edge taken after a step.

        It replaces the last assessment, which the audit log keeps; None withdraws it. Needs
        the permission to add notes. Raises RunNotFound, NotAllowed, InvalidStatus,
        StepNotFound, InvalidParams.
        """
        run = self.find_run(run_id, by=by)
        if by is not None:
            permissions.require(permissions.can_note_run(by, run), "assess this run")
        return assessments.assess(run, is_right, step=step, note=note, by=by)

    def promote_profile(
        self,
        workflow: str,
        profile: str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> None:
        """Make a profile the default: each launch that names none uses it from now on.

        "" makes the settings of the workflow itself the default. Raises WorkflowNotFound,
        NotAllowed, InvalidParams, ReasonMissing.
        """
        found = self.find_workflow(workflow, by=by)
        if by is not None:
            permissions.require(
                permissions.can_manage_agents(by), "promote profiles of this workflow"
            )
        audit_events.require_reason(reason, by=by)
        promotion.promote(found, profile, by=by, reason=reason)
