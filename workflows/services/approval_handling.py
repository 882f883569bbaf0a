"""Actions of System with which people divide open approvals among themselves."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import AlreadyAnswered
from workflows.execution import approval_escalations
from workflows.infra import notifications
from workflows.models import Run
from workflows.services import (
    approval_assignments,
    approval_claims,
    approval_snoozes,
    approvals,
)
from workflows.services.approval_errors import NotEscalated
from workflows.services.reviews import Reviews

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.engine.errors import RequestError
    from workflows.models import (
        Approval,
        ApprovalAssignment,
        ApprovalClaim,
        ApprovalEscalation,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """The open approval of a run, and its step, if another one is to be refused."""

    run_id: UUID
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Responded:
    """What became of the response to one of several approvals."""

    target: Target
    error: RequestError | None = None  # None: saved


class ApprovalHandling(Reviews):
    """Claims, assignments, escalations, snoozes and reminders of approvals."""

    def claim_approval(
        self, run_id: UUID | str, *, by: AbstractBaseUser, sequence: int | None = None
    ) -> ApprovalClaim:
        """Note that a person works on the open approval of a run; others may still respond.

        It ends after APPROVAL_CLAIM_HOURS; another claim of the same person renews it.
        `sequence` is the step of the approval, if another one is to be refused.
        Raises RunNotFound, ApprovalNotFound, NotAllowed, ResponseRefused, AlreadyAnswered,
        AlreadyClaimed.
        """
        with self._locked_approval(run_id, by, sequence) as approval:
            return approval_claims.claim(approval, by=by)

    def release_approval(
        self, run_id: UUID | str, *, by: AbstractBaseUser, sequence: int | None = None
    ) -> None:
        """End claim and assignment of the open approval of a run, also of another person.

        Raises the errors of `claim_approval`, and NotClaimed.
        """
        with self._locked_approval(run_id, by, sequence) as approval:
            approval_claims.release(approval, by=by)

    def reassign_approval(
        self,
        run_id: UUID | str,
        to: str,
        *,
        by: AbstractBaseUser,
        reason: str = "",
        sequence: int | None = None,
    ) -> ApprovalAssignment:
        """Assign the open approval of a run to a person or group that may respond; notify them.

        `to` is the name of a person or else of a group. Others may still respond.
        Raises the errors of `claim_approval`, InvalidAssignee, ReasonTooLong.
        """
        audit_events.check_length(reason)
        run = self.find_run(run_id, by=by)
        seen = self.find_approval(run.pk)
        approvals.require_respondent(seen, by)
        approvals.require_open(seen, sequence)
        assignee = approval_assignments.find_assignee(seen, to)
        with self._locked_approval(run.pk, by, seen.sequence) as approval:
            return approval_assignments.reassign(
                approval, assignee, by=by, reason=reason
            )

    def escalate_approval(
        self,
        run_id: UUID | str,
        *,
        by: AbstractBaseUser,
        reason: str = "",
        sequence: int | None = None,
    ) -> ApprovalEscalation:
        """Let the open approval of a run go to the group that its workflow declares, now.

        Its members are notified and may respond from then on. Raises the errors of
        `claim_approval`, NotEscalated, ReasonTooLong.
        """
        audit_events.check_length(reason)
        with self._locked_approval(run_id, by, sequence) as approval:
            declared = approval_escalations.escalation_of(approval)
            if declared is None:
                raise NotEscalated("This approval goes to no other group.")
            found = approval_escalations.escalate(approval, by=by, reason=reason)
            if found is None:
                raise NotEscalated(f"It was escalated to {declared.to} already.")
            return found

    def snooze_approval(
        self,
        run_id: UUID | str,
        until: dt.datetime | None,
        *,
        by: AbstractBaseUser,
        sequence: int | None = None,
    ) -> dt.datetime | None:
        """Hide the open approval of a run from the lists of a person; None shows it again.

        Returns until when: at most until it is about to expire. Raises the errors of
        `claim_approval`, and InvalidSnooze.
        """
        with self._locked_approval(run_id, by, sequence) as approval:
            return approval_snoozes.snooze(approval, until, by=by)

    def remind_approvers(
        self, run_id: UUID | str, *, by: AbstractBaseUser, sequence: int | None = None
    ) -> None:
        """Notify the assignee, or the approvers, of the open approval of a run once more.

        For everyone who may add notes to the run; once an hour for each approval. Raises
        RunNotFound, ApprovalNotFound, NotAllowed, AlreadyAnswered, RemindedAlready.
        """
        run = self.find_run(run_id, by=by)
        permissions.require(
            permissions.can_note_run(by, run), "send reminders of this run"
        )
        with self._open_approval(run, sequence) as approval:
            approval_assignments.remind(approval, by=by)

    @contextmanager
    def _locked_approval(
        self, run_id: UUID | str, by: AbstractBaseUser, sequence: int | None
    ) -> Iterator[Approval]:
        """Lock the run; yield its open approval, to which this person may respond.

        Raises RunNotFound, ApprovalNotFound, NotAllowed, ResponseRefused, AlreadyAnswered.
        """
        run = self.find_run(run_id, by=by)
        permissions.require(
            permissions.can_approve_run(by, run), "respond to approvals of this run"
        )
        with self._open_approval(run, sequence) as approval:
            approvals.require_respondent(approval, by)
            yield approval

    @contextmanager
    def _open_approval(self, run: Run, sequence: int | None) -> Iterator[Approval]:
        """Lock a run; yield its open approval. Raises ApprovalNotFound, AlreadyAnswered."""
        try:
            with transaction.atomic():
                Run.objects.filter(pk=run.pk).lock()
                approval = self.find_approval(run.pk)
                approvals.require_open(approval, sequence)
                yield approval
        except AlreadyAnswered:
            # a worker's claim that found the run locked has skipped it
            notifications.pending_on_commit()
            raise
