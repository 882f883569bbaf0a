"""System: the entry point of pages, admin, API and commands for changes to runs.

`by` is the acting user, whose permissions are checked; None stands for the system itself
or an operator at the shell, without restrictions. Each change is one conditional update in
one transaction with its audit event; the loser of a race gets an error. Nothing here
executes a node: workers do. Queries are in `services/queries.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction
from opentelemetry.trace import SpanKind

from workflows.access import permissions
from workflows.agents import budgets
from workflows.audit import audit_events
from workflows.documents import uses
from workflows.engine.errors import RequestError
from workflows.errors import (
    AlreadyAnswered,
    InvalidParams,
    InvalidStatus,
    KeyReused,
    PayloadRemoved,
    WorkerAlive,
    WorkflowNotFound,
)
from workflows.execution import (
    event_delivery,
    launching,
    limited_launches,
    resumption,
    run_cancellation,
    workers,
)
from workflows.execution.launch_commits import launch_commits
from workflows.execution.params import check_params
from workflows.infra import notifications, tracing
from workflows.models import (
    Approval,
    ApprovalKind,
    Run,
    Status,
)
from workflows.retention.pin import set_pinned
from workflows.services import (
    approvals,
    callbacks,
    deletion,
    events,
    fork_plans,
    fork_preview,
    forks,
    labels,
    notes,
    pauses,
    saved_views,
)
from workflows.services.approval_handling import ApprovalHandling, Responded
from workflows.services.fork_plans import ForkRequest

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser, User

    from workflows.models import Note, SavedView, WorkflowPause
    from workflows.services.approval_handling import Target
    from workflows.services.events import Sent
    from workflows.services.fork_preview import ForkPreview


class System(ApprovalHandling):
    """Queries and actions on workflows and runs."""

    def execute(  # noqa: PLR0913 - options of a launch
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        by: AbstractBaseUser | None = None,
        token: str = "",
        priority: int = 0,
        idempotency_key: str | None = None,
        profile: str | None = None,
        scheduled_for: dt.datetime | None = None,
        deadline: dt.timedelta | None = None,
        rerun_of: UUID | None = None,
    ) -> Run:
        """Launch a run.

        1. Check the params against the workflow's types, and that its agents are
           available: nothing is queued on an error.
        2. Insert the pending run, together with those of concurrent launches; a worker of
           this process with a free slot that no other run waits for claims it in the same
           transaction. An idempotency key in use returns the existing run, if its params
           are the same.
        3. On commit, notify the workers if none has claimed it.

        `token` is a secret for the run's nodes, stored encrypted until the run ends.
        `profile` is the name of a profile, "" for the workflow's defaults, None to choose
        by weight. `scheduled_for` is the moment of a schedule. `deadline` counts from now and
        replaces that of the workflow. `rerun_of` is the run of the same workflow that it
        reruns, for the lineage; it may have been deleted. Raises WorkflowNotFound,
        NotAllowed, InvalidParams, InvalidDeadline, AgentUnavailable, SubworkflowMissing,
        KeyReused, LimitReached, LimitKeyInvalid.
        """
        workflow = self.find_workflow(name, by=by)
        if by is not None:
            permissions.require(
                permissions.can_launch(by, name), "launch this workflow"
            )
        self._registry.check_children(workflow)
        run = launching.new_run(
            workflow,
            check_params(workflow, params or {}, by=by),
            profile=profile,
            token=token,
            launched_by_id=by.pk if by else None,
            priority=priority,
            idempotency_key=idempotency_key,
            scheduled_for=scheduled_for,
            deadline=deadline,
        )
        event = audit_events.entry(run, "launch", by=by, after=Status.PENDING)
        uses.note(name, run.params)
        attributes = {"signalbox.workflow": name, "signalbox.run.id": str(run.pk)}
        with tracing.span(f"launch {name}", SpanKind.PRODUCER, attributes):
            run.traceparent = tracing.traceparent()
            if workflow.limits is None:
                is_new = launch_commits.insert(workflow, run, event)
            else:
                is_new = limited_launches.insert(workflow.limits, run, event)
        if not is_new:
            return _launched_before(run)
        if rerun_of is not None:
            forks.link_rerun(run, rerun_of, by=by)
        return run

    def pause_workflow(
        self, name: str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> WorkflowPause:
        """Pause a workflow: when this returns, no run of it starts until it is unpaused.

        Launches are accepted and wait; runs that have started continue.
        Raises WorkflowNotFound, NotAllowed, PauseUnchanged, ReasonMissing.
        """
        self.find_workflow(name, by=by)
        _require_pausing(name, by)
        self._require_reason(name, "pause workflow", reason, by)
        return pauses.pause(name, by=by, reason=reason)

    def unpause_workflow(self, name: str, *, by: AbstractBaseUser | None) -> None:
        """End the pause of a workflow, also of one that is not installed any more.

        Raises WorkflowNotFound, NotAllowed, PauseUnchanged.
        """
        if by is not None and not permissions.can_view(by, name):
            raise WorkflowNotFound(name)
        _require_pausing(name, by)
        pauses.unpause(name, by=by)

    def cancel(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> Run:
        """Cancel a run: immediately if no worker has it, else at its next await or node.

        Child runs that it waits for are cancelled too, regardless of their permissions.
        Raises RunNotFound, NotAllowed, InvalidStatus, ReasonMissing.
        """
        run = self._operable(run_id, by)
        self._require_reason(run.workflow_name, "cancel", reason, by)
        run_cancellation.cancel(run, by=by, reason=reason)
        return self.find_run(run_id)

    def resume(
        self,
        run_id: UUID | str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
        token: str = "",
    ) -> Run:
        """Queue a failed or cancelled run again, from its last checkpoint; return it as queued.

        A failed or cancelled child run is resumed too, regardless of its permissions, or
        replaced if it cannot be resumed (`execution/resumption.py`).
        Raises RunNotFound, NotAllowed, InvalidStatus, WorkflowNotFound,
        FingerprintChanged, PayloadRemoved, StepsUndone, DeadlineOver, ReasonMissing.
        """
        run = self._operable(run_id, by)
        self._require_reason(run.workflow_name, "resume", reason, by)
        with transaction.atomic():  # a worker takes it as soon as it is committed
            resumption.resume(run, self._registry, by=by, reason=reason, token=token)
            return self.find_run(run_id)

    def fork(  # noqa: PLR0913 - options of a launch
        self,
        run_id: UUID | str,
        request: ForkRequest,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
        token: str = "",
        idempotency_key: str | None = None,
    ) -> Run:
        """Launch a run that shares the history of an ended one up to a step, with a change.

        1. Check what is to be changed: nothing is inserted on an error.
        2. Insert the run with copies of the rows that it shares, what was changed, and an audit
           event of each run. An idempotency key in use returns the existing fork, if it is the
           same.
        3. On commit, notify the workers.

        A step is rerun by those who may launch, a decision overridden by those who may operate,
        a response changed by those who may respond. Raises RunNotFound, NotAllowed,
        InvalidStatus, StepNotFound, ForkRefused, HistoryChanged, FingerprintChanged,
        PayloadRemoved, InvalidParams, ResponseRefused, ReasonMissing, KeyReused, LimitReached,
        AgentUnavailable.
        """
        origin = self.find_run(run_id, by=by)
        self._require_reason(origin.workflow_name, "fork", reason, by)
        fork_plans.require_forker(origin, request, by)
        planned = fork_plans.plan(origin, request, self._registry, by=by)
        if planned.approval is not None and planned.response is None:
            raise InvalidParams({"": ["Enter the response."]})
        if by is not None and planned.approval is not None:
            approvals.require_respondent(planned.approval, by)
        return forks.make(
            planned, by=by, reason=reason, token=token, idempotency_key=idempotency_key
        )

    def preview_fork(
        self,
        run_id: UUID | str,
        request: ForkRequest,
        *,
        by: AbstractBaseUser | None,
    ) -> ForkPreview:
        """Return what a fork would share and what would run again. Raises the errors of `fork`."""
        origin = self.find_run(run_id, by=by)
        fork_plans.require_forker(origin, request, by)
        planned = fork_plans.plan(origin, request, self._registry, by=by)
        return fork_preview.preview(planned)

    def rerun_failed_step(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> Run:
        """Fork a failed or cancelled run before the step that did not complete.

        Raises the errors of `fork`.
        """
        step = fork_plans.failed_step(self.find_run(run_id, by=by))
        return self.fork(run_id, ForkRequest(step), by=by, reason=reason)

    def rerun(  # noqa: PLR0913 - options of a launch
        self,
        run_id: UUID | str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
        params: Mapping[str, Any] | None = None,
        token: str = "",
        idempotency_key: str | None = None,
    ) -> Run:
        """Launch a new run with the params of another one, or others; both get an audit event.

        It shares no step: `fork` reruns from a later one. An idempotency key in use returns the
        existing run, if its params are the same. Raises RunNotFound, NotAllowed,
        WorkflowNotFound, InvalidParams, AgentUnavailable, PayloadRemoved, ReasonMissing.
        """
        with transaction.atomic():
            run = self.find_run(run_id, by=by)
            self._require_reason(run.workflow_name, "rerun", reason, by)
            if run.payload_removed_at is not None:
                raise PayloadRemoved
            name, profile = run.workflow_name, run.profile_name
            rerun = self.execute(
                name,
                run.params if params is None else params,
                by=by,
                profile=profile,
                scheduled_for=run.scheduled_for,
                deadline=run.deadline,
                token=token,
                idempotency_key=idempotency_key,
            )
            if not rerun.already_launched:
                forks.link_rerun(rerun, run.pk, by=by, reason=reason)
        return rerun

    def release(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> Run:
        """Expire the lease of a lost worker, so that another worker recovers the run.

        Raises RunNotFound, NotAllowed, InvalidStatus, WorkerAlive, ReasonMissing.
        """
        with transaction.atomic():
            run = self._operable(run_id, by)
            self._require_reason(run.workflow_name, "release", reason, by)
            if run.status != Status.RUNNING:
                raise InvalidStatus(run, wanted="released: no worker holds it")
            if workers.alive().filter(name=run.worker).exists():
                raise WorkerAlive(run)
            same = Run.objects.filter(pk=run.pk, attempt=run.attempt, worker=run.worker)
            if not same.expire():
                raise InvalidStatus(self.find_run(run_id), wanted="released")
            audit_events.record(run, "release", by=by, reason=reason, after=run.status)
            notifications.pending_on_commit()
        return self.find_run(run_id)

    def delete_run(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> None:
        """Delete an ended run with its history; its audit events are kept.

        Raises RunNotFound, NotAllowed, InvalidStatus, InUse, ReasonMissing.
        """
        with transaction.atomic():
            run = self._operable(run_id, by)
            self._require_reason(run.workflow_name, "delete", reason, by)
            deletion.delete(run, by=by, reason=reason)
            notifications.changed_on_commit(UUID(str(run_id)))

    def set_pinned(
        self,
        run_id: UUID | str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
        pinned: bool = True,
    ) -> Run:
        """Pin a run, which exempts it from retention, or unpin it.

        Raises RunNotFound, NotAllowed, InvalidStatus, InUse, ReasonMissing.
        """
        with transaction.atomic():
            run = self._operable(run_id, by)
            self._require_reason(run.workflow_name, "pin", reason, by)
            set_pinned(run, pinned, by=by, reason=reason)
        return self.find_run(run_id)

    def label(
        self,
        run_id: UUID | str,
        name: str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> str:
        """Add a label to a run; return the normalised label.

        Raises RunNotFound, NotAllowed, InvalidLabel.
        """
        return labels.add(self._operable(run_id, by), name, by=by, reason=reason)

    def unlabel(
        self,
        run_id: UUID | str,
        name: str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> str:
        """Remove a label from a run. Raises RunNotFound, NotAllowed, InvalidLabel."""
        return labels.remove(self._operable(run_id, by), name, by=by, reason=reason)

    def save_view(self, name: str, query: str, *, by: User, shared: bool) -> SavedView:
        """Save filters of the runs list under a name. Raises InvalidView."""
        return saved_views.save(name, query, by=by, shared=shared)

    def change_view(self, pk: int, name: str, *, by: User, shared: bool) -> SavedView:
        """Rename or share a view. Raises ViewNotFound, NotAllowed, InvalidView."""
        return saved_views.change(pk, name, by=by, shared=shared)

    def delete_view(self, pk: int, *, by: User) -> SavedView:
        """Delete a view. Raises ViewNotFound, NotAllowed."""
        return saved_views.delete(pk, by=by)

    def add_note(self, run_id: UUID | str, text: str, *, by: AbstractBaseUser) -> Note:
        """Add a note; it does not affect the run.

        Raises RunNotFound, NotAllowed, InvalidParams.
        """
        run = self.find_run(run_id, by=by)
        permissions.require(permissions.can_note_run(by, run), "add notes to this run")
        return notes.add(run, text, by=by)

    def respond(
        self,
        run_id: UUID | str,
        value: Mapping[str, Any],
        *,
        by: AbstractBaseUser,
        comment: str = "",
        sequence: int | None = None,
    ) -> Run:
        """Respond to the approval that a run waits for, which resumes the run.

        The first response wins; later ones raise AlreadyAnswered. An approval that needs
        several votes takes one of each person, and the last one resumes the run.
        `sequence` is the step of the approval, if another one is to be refused.
        Raises RunNotFound, ApprovalNotFound, NotAllowed, ResponseRefused, InvalidParams,
        AlreadyAnswered, ReasonMissing.
        """
        run = self.find_run(run_id, by=by)
        approval = self.find_approval(run.pk)
        approvals.require_respondent(approval, by)
        approvals.require_step(approval, sequence)
        checked = approvals.checked(self._registry, approval, value)
        self._require_reason(run.workflow_name, "respond", comment, by)
        try:
            with transaction.atomic():
                Run.objects.filter(pk=approval.run_id).lock()
                if approval.votes_needed > 1:
                    self._vote(approval, checked, by, comment)
                else:
                    self._answer(approval, checked, by, comment)
        except AlreadyAnswered:
            # a claim that found the run locked has skipped it
            notifications.pending_on_commit()
            raise
        return self.find_run(run_id)

    def respond_to_each(
        self,
        targets: Sequence[Target],
        value: Mapping[str, Any],
        *,
        by: AbstractBaseUser,
        comment: str = "",
    ) -> list[Responded]:
        """Respond to several approvals alike; each is checked, saved and refused by itself."""
        found = []
        for one in targets:
            error = None
            try:
                self.respond(
                    *(one.run_id, value), by=by, comment=comment, sequence=one.sequence
                )
            except RequestError as refused:
                error = refused
            found.append(Responded(one, error))
        return found

    def _answer(
        self,
        approval: Approval,
        value: Mapping[str, Any],
        by: AbstractBaseUser,
        comment: str,
    ) -> None:
        """Close an approval with its only response; raise a budget, or resume the run."""
        mine = Approval.objects.filter(pk=approval.pk)
        if not mine.respond(value=value, by_id=by.pk, comment=comment):
            found = self.find_approval(approval.run_id)
            raise AlreadyAnswered(approvals.closed_reason(found))
        if approval.kind != ApprovalKind.BUDGET:
            self._wake(approval, "respond", by, comment)
        elif budgets.grant_increase(approval, value, by):
            reason = f"{budgets.increase_text(value)}. {comment}"
            self._wake(approval, "raise budget", by, reason)
        else:
            run_cancellation.cancel(approval.run, by=by, reason=comment)

    def _vote(
        self,
        checked: Approval,
        value: Mapping[str, Any],
        by: AbstractBaseUser,
        comment: str,
    ) -> None:
        """Add a vote, with the run's row locked; the last one resumes the run.

        The value was checked for this approval: the run may wait for another one by now.
        """
        approval = self.find_approval(checked.run_id)  # as it is under the lock
        approvals.require_open(approval, checked.sequence)
        changed = approvals.vote(approval, value, by=by, comment=comment)
        votes = approvals.votes_of(approval)
        if not approvals.is_decided(approval, votes):
            audit_events.record(
                approval.run,
                "respond",
                by=by,
                reason=comment,
                after=Status.WAITING,
                changed=changed,
            )
            Run.objects.filter(pk=approval.run_id).touch()
            notifications.changed_on_commit(approval.run_id)
            return
        responses = [one.response for one in votes]
        Approval.objects.filter(pk=approval.pk).respond(
            value=responses, by_id=by.pk, comment=comment
        )
        self._wake(approval, "respond", by, comment, changed)

    def send(  # noqa: PLR0913 - fields of a message
        self,
        name: str,
        key: str = "",
        value: Mapping[str, Any] | None = None,
        *,
        by: AbstractBaseUser | None,
        workflow: str = "",
        idempotency_key: str | None = None,
    ) -> list[Sent]:
        """Send a message to every run that waits for an event with this name and key.

        1. Check the value against the type of every workflow that waits for the event, or of
           `workflow` alone: nothing is stored on an error.
        2. Insert the message, with an audit event for each workflow. An idempotency key in use
           returns the existing message, if it is the same.
        3. Move the runs that wait. A message that nobody waits for is kept for EVENT_KEEP_DAYS;
           kept messages are taken in the order of their receipt.

        Returns the message of each workflow, with the runs that it moved. Raises EventNotFound,
        NotAllowed, InvalidParams, InvalidMessage, MessageKeyReused.
        """
        return events.send(
            self._registry,
            name,
            key,
            value or {},
            by=by,
            workflow=workflow,
            idempotency_key=idempotency_key,
        )

    def receive_callback(self, token: str, value: Mapping[str, Any]) -> None:
        """Continue the run whose node gave a third party the address with this token.

        The address is the permission; it is accepted once. Raises CallbackNotFound,
        CallbackUsed, CallbackOver, WorkflowUnavailable, InvalidParams.
        """
        callbacks.receive(self._registry, token, value)

    def check_event(
        self,
        name: str,
        key: str,
        value: Mapping[str, Any],
        *,
        by: AbstractBaseUser | None,
        workflow: str = "",
    ) -> None:
        """Return if `send` would accept the message. Raises its errors."""
        events.checked(self._registry, name, key, value, by=by, workflow=workflow)

    def _wake(
        self,
        approval: Approval,
        action: str,
        by: AbstractBaseUser,
        reason: str,
        changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    ) -> None:
        """Queue the waiting run, in the transaction of the response."""
        event_delivery.answered(approval)
        Run.objects.filter(pk=approval.run_id).wake()
        audit_events.record(
            approval.run,
            action,
            by=by,
            reason=reason,
            after=Status.PENDING,
            changed=changed,
        )
        notifications.pending_on_commit()
        notifications.changed_on_commit(approval.run_id)


def _require_pausing(name: str, by: AbstractBaseUser | None) -> None:
    if by is not None:
        permissions.require(
            permissions.can_pause_workflow(by, name),
            "pause or unpause this workflow",
        )


def _launched_before(run: Run) -> Run:
    """Return the run that has the idempotency key of this one. Raises KeyReused."""
    earlier = Run.objects.get(
        workflow_name=run.workflow_name, idempotency_key=run.idempotency_key
    )
    if (earlier.params, earlier.launched_by_id) != (run.params, run.launched_by_id):
        raise KeyReused(earlier)
    earlier.already_launched = True
    return earlier


system = System()
