"""Actions of System with which people divide open approvals among themselves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import transaction

from workflows.access import permissions
from workflows.errors import AlreadyAnswered
from workflows.infra import notifications
from workflows.models import Run
from workflows.services import approval_claims, approvals
from workflows.services.reviews import Reviews

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import Approval, ApprovalClaim


class ApprovalWork(Reviews):
    """Claims of approvals."""

    def claim_approval(
        self, run_id: UUID | str, *, by: AbstractBaseUser, sequence: int | None = None
    ) -> ApprovalClaim:
        """Note that a person works on the open approval of a run; others may still respond.

        It ends after APPROVAL_CLAIM_HOURS; another claim of the same person renews it.
        `sequence` is the step of the approval, if another one is to be refused.
        Raises RunNotFound, ApprovalNotFound, NotAllowed, ResponseRefused, AlreadyAnswered,
        AlreadyClaimed.
        """
        with self._working_on(run_id, by, sequence) as approval:
            return approval_claims.claim(approval, by=by)

    def release_approval(
        self, run_id: UUID | str, *, by: AbstractBaseUser, sequence: int | None = None
    ) -> None:
        """End the claim of the open approval of a run, also that of another person.

        Raises the errors of `claim_approval`, and NotClaimed.
        """
        with self._working_on(run_id, by, sequence) as approval:
            approval_claims.release(approval, by=by)

    @contextmanager
    def _working_on(
        self, run_id: UUID | str, by: AbstractBaseUser, sequence: int | None
    ) -> Iterator[Approval]:
        """Lock the run; yield its open approval, to which this person may respond.

        Raises RunNotFound, ApprovalNotFound, NotAllowed, ResponseRefused, AlreadyAnswered.
        """
        run = self.find_run(run_id, by=by)
        permissions.require(
            permissions.can_approve_run(by, run), "respond to approvals of this run"
        )
        try:
            with transaction.atomic():
                # the run first, as everywhere: a response locks it before its approval
                Run.objects.select_for_update().filter(pk=run.pk).first()
                approval = self.find_approval(run_id)
                approvals.require_open(approval, sequence)
                approvals.require_respondent(approval, by)
                yield approval
        except AlreadyAnswered:
            # a worker's claim that found the run locked has skipped it
            notifications.pending_on_commit()
            raise
