"""System: the only door for pages, admin, API and commands.

It answers questions about workflows and runs, and does what people ask for. Each
change is one conditional update in one transaction with its audit row; whoever
comes second is told so. Nothing here executes a node: that is a worker's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, OrderBy, Q, QuerySet

from workflows import (
    answering,
    audit,
    budgets,
    comparing,
    labelling,
    noting,
    profiles,
    saved_views,
    secrets,
)
from workflows.engine import GraphShape
from workflows.errors import (
    AlreadyAnswered,
    ApprovalNotFound,
    FingerprintChanged,
    InvalidSort,
    InvalidStatus,
    NotAllowed,
    RunNotFound,
)
from workflows.execution import changes, live, places, queue
from workflows.models import (
    CANCELLABLE,
    RESUMABLE,
    Approval,
    ApprovalKind,
    ApprovalStatus,
    Decision,
    Run,
    Stage,
    Status,
)
from workflows.params import check_params
from workflows.registry import Known, Registry, registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser, User

    from workflows.execution.changes import Changes
    from workflows.models import Note, SavedView

SORTABLE = (
    "id",
    "workflow_name",
    "status",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
)


class System:
    """Workflows and runs, as people and programs see them."""

    def __init__(self, workflows: Registry = registry) -> None:
        """Take the registry whose workflows can be launched."""
        self._registry = workflows

    # -- questions --------------------------------------------------------------------

    def list_workflows(self) -> Sequence[Known]:
        """Return every workflow that can be launched, by name."""
        return self._registry.list()

    def find_workflow(self, name: str) -> Known:
        """Return one workflow. Raises WorkflowNotFound."""
        return self._registry.get(name)

    def list_runs(
        self,
        *,
        workflow: str = "",
        status: str = "",
        launched_by: int | None = None,
        search: str = "",
        sort: str = "",
    ) -> QuerySet[Run]:
        """Return the runs that match, newest first or as `sort` says.

        `sort` names fields of SORTABLE, such as "status,-started_at"; ties go by id.
        `search` looks into the id, the names of workflow and launcher and the error.
        Raises InvalidSort.
        """
        runs: QuerySet[Run] = Run.objects.select_related("launched_by")
        runs = runs.order_by(*_order(sort))
        if search:
            runs = runs.filter(_mentions(search))
        if workflow:
            runs = runs.filter(workflow_name=workflow)
        if status:
            runs = runs.filter(status=status)
        if launched_by is not None:
            runs = runs.filter(launched_by=launched_by)
        return runs.defer("params", "result", "graph", "secrets", "profile_stages")

    def find_run(self, run_id: UUID | str) -> Run:
        """Return one run. Raises RunNotFound."""
        try:
            run: Run = Run.objects.select_related("launched_by", "parent").get(
                pk=run_id
            )
        except (Run.DoesNotExist, ValidationError, ValueError) as error:
            raise RunNotFound(run_id) from error
        return run

    def get_stages(self, run_id: UUID | str) -> QuerySet[Stage]:
        """Return the stages of a run in order. Raises RunNotFound."""
        return self.find_run(run_id).stages.all()

    def get_decisions(self, run_id: UUID | str) -> QuerySet[Decision]:
        """Return every edge a run evaluated, in order. Raises RunNotFound."""
        return self.find_run(run_id).decisions.select_related("decided_by")

    def compare_states(
        self, first: tuple[UUID, int], second: tuple[UUID, int]
    ) -> list[comparing.Difference]:
        """Return how the states of two runs differ, each after one of its steps.

        Raises CheckpointMismatch.
        """
        return comparing.states_of(first, second)

    def get_changes(
        self, run_id: UUID, sequences: Iterable[int]
    ) -> Mapping[int, Changes]:
        """Return what these steps of a run changed in its state, as far as is known."""
        return changes.changes_of(run_id, sequences)

    def get_states(self, run_id: UUID, sequence: int) -> tuple[Any, Any, Changes]:
        """Return the states before and after a step, and what lies between.

        A state that there is not is None. Raises CheckpointMismatch.
        """
        return changes.between(run_id, sequence)

    def runs_before(self, run: Run) -> int:
        """Return how many pending runs a worker would take before this one."""
        return places.runs_before(run)

    # -- deeds ------------------------------------------------------------------------

    def execute(  # noqa: PLR0913 - what a launch may say
        self,
        name: str,
        params: Mapping[str, Any] | None = None,
        *,
        by: AbstractBaseUser | None = None,
        token: str = "",
        priority: int = 0,
        idempotency_key: str | None = None,
        profile: str | None = None,
    ) -> Run:
        """Accept a run: it will reach an end, or wait for a person.

        1. Check the params against the workflow's types, and whether the agents it asks
           are there: nothing is queued on an error.
        2. Insert the pending run; the same idempotency key returns the run it made first.
        3. On commit, nudge the workers.

        `token` is a secret for the run's nodes; it is kept encrypted while they need it.
        `profile` names one of the workflow's, "" its own settings, None leaves it to the
        weights. Raises WorkflowNotFound, InvalidParams, NobodyToAsk.
        """
        workflow = self.find_workflow(name)
        run = Run(
            workflow_name=name,
            params=check_params(workflow, params or {}),
            graph=workflow.drawn,
            fingerprint=workflow.fingerprint,
            launched_by_id=by.pk if by else None,
            priority=priority,
            idempotency_key=idempotency_key,
            secrets=secrets.encrypt({"token": token}) if token else None,
        )
        run.profile_name, run.profile_stages = profiles.choose(
            workflow, profile, run.pk
        )
        profiles.check_agents(workflow, run.profile_stages, run.params)
        deed = audit.entry(run, "launch", by=by, after=Status.PENDING)
        if not queue.enqueue(run, deed):
            return Run.objects.get(workflow_name=name, idempotency_key=idempotency_key)
        live.launched_on_commit()
        return run

    def cancel(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> Run:
        """Stop a run: at once when no worker has it, else at its next await or node.

        Children that the run waits for are cancelled with it.
        Raises RunNotFound, InvalidStatus.
        """
        person = by.pk if by else None
        with transaction.atomic():
            run = self.find_run(run_id)
            rows = Run.objects.filter(pk=run.pk)
            if rows.cancel(by_id=person, reason=reason):
                Approval.objects.filter(run=run).close(ApprovalStatus.WITHDRAWN)
                after = Status.CANCELLED
            elif rows.request_cancel(by_id=person, reason=reason):
                live.cancel_on_commit(run.pk)
                after = Status.RUNNING
            else:
                raise InvalidStatus(self.find_run(run_id), wanted="cancelled")
            audit.record(run, "cancel", by=by, reason=reason, after=after)
            live.changed_on_commit(run.pk)
            for child in run.children.filter(status__in=CANCELLABLE):
                if child.is_cancellable:
                    self.cancel(
                        child.pk, by=by, reason=reason or "its parent was cancelled"
                    )
        return self.find_run(run_id)

    def resume(
        self,
        run_id: UUID | str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
        token: str = "",
    ) -> Run:
        """Queue a failed or cancelled run again, from its last checkpoint.

        Raises RunNotFound, InvalidStatus, WorkflowNotFound, FingerprintChanged.
        """
        with transaction.atomic():
            run = self.find_run(run_id)
            if run.status not in RESUMABLE:
                raise InvalidStatus(run, wanted="resumed")
            workflow = self.find_workflow(run.workflow_name)
            if not workflow.accepts(run.fingerprint):
                before = GraphShape.from_json(run.graph)
                raise FingerprintChanged(run, workflow.differences(before))
            kept = {"secrets": secrets.encrypt({"token": token})} if token else {}
            if not Run.objects.filter(pk=run.pk).resume(**kept):
                raise InvalidStatus(self.find_run(run_id), wanted="resumed")
            audit.record(run, "resume", by=by, reason=reason, after=Status.PENDING)
            live.pending_on_commit()
            live.changed_on_commit(run.pk)
        return self.find_run(run_id)

    def delete_run(
        self, run_id: UUID | str, *, by: AbstractBaseUser | None, reason: str = ""
    ) -> None:
        """Delete an ended run with its history; the audit row stays.

        Raises RunNotFound, InvalidStatus.
        """
        with transaction.atomic():
            run = self.find_run(run_id)
            ended = Run.objects.select_for_update().filter(pk=run.pk)
            if not ended.exclude(pk__in=Run.objects.live()).exists():
                raise InvalidStatus(run, wanted="deleted; cancel it first")
            audit.record(run, "delete", by=by, reason=reason)
            run.delete()
            live.changed_on_commit(UUID(str(run_id)))

    def label(
        self,
        run_id: UUID | str,
        name: str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> str:
        """Put a label on a run; return it as it is kept. Raises RunNotFound, InvalidLabel."""
        return labelling.add(self.find_run(run_id), name, by=by, reason=reason)

    def unlabel(
        self,
        run_id: UUID | str,
        name: str,
        *,
        by: AbstractBaseUser | None,
        reason: str = "",
    ) -> str:
        """Take a label off a run. Raises RunNotFound, InvalidLabel."""
        return labelling.remove(self.find_run(run_id), name, by=by, reason=reason)

    def save_view(self, name: str, query: str, *, by: User, shared: bool) -> SavedView:
        """Keep filters of the runs list under a name. Raises InvalidView."""
        return saved_views.save(name, query, by=by, shared=shared)

    def change_view(self, pk: int, name: str, *, by: User, shared: bool) -> SavedView:
        """Rename or share a view. Raises ViewNotFound, NotAllowed, InvalidView."""
        return saved_views.change(pk, name, by=by, shared=shared)

    def delete_view(self, pk: int, *, by: User) -> SavedView:
        """Forget a view. Raises ViewNotFound, NotAllowed."""
        return saved_views.delete(pk, by=by)

    def add_note(self, run_id: UUID | str, text: str, *, by: AbstractBaseUser) -> Note:
        """Append a note; the run goes on as it was. Raises RunNotFound, InvalidParams."""
        return noting.add(self.find_run(run_id), text, by=by)

    def find_approval(self, run_id: UUID | str) -> Approval:
        """Return the newest question of a run. Raises RunNotFound, ApprovalNotFound."""
        run = self.find_run(run_id)
        approval = (
            run.approvals.select_related("answered_by").order_by("-sequence").first()
        )
        if approval is None:
            raise ApprovalNotFound(run_id)
        return approval

    def answer(
        self,
        run_id: UUID | str,
        value: Mapping[str, Any],
        *,
        by: AbstractBaseUser,
        comment: str = "",
    ) -> Run:
        """Answer the question a run waits with; it goes on with the answer.

        The first answer counts: whoever comes later is told who was faster.
        Raises RunNotFound, ApprovalNotFound, NotAllowed, InvalidParams, AlreadyAnswered.
        """
        approval = self.find_approval(run_id)
        if not answering.may_answer(approval, by):
            raise NotAllowed(
                f"Only members of {' or '.join(approval.groups)} may answer this."
            )
        checked = answering.checked(self._registry, approval, value)
        with transaction.atomic():
            mine = Approval.objects.filter(pk=approval.pk)
            if not mine.answer(value=checked, by_id=by.pk, comment=comment):
                raise AlreadyAnswered(
                    answering.who_was_faster(self.find_approval(run_id))
                )
            if approval.kind != ApprovalKind.BUDGET:
                self._go_on(approval, "answer", by, comment)
            elif budgets.allow_more(approval, checked, by):
                reason = ". ".join(filter(None, [budgets.told(checked), comment]))
                self._go_on(approval, "raise budget", by, reason)
            else:
                reason = comment or "its budget was not raised"
                self.cancel(approval.run_id, by=by, reason=reason)
        return self.find_run(run_id)

    def _go_on(
        self, approval: Approval, action: str, by: AbstractBaseUser, reason: str
    ) -> None:
        """Queue the run that waited, within the transaction of the answer."""
        Run.objects.filter(pk=approval.run_id).wake()
        audit.record(approval.run, action, by=by, reason=reason, after=Status.PENDING)
        live.pending_on_commit()
        live.changed_on_commit(approval.run_id)


def _order(sort: str) -> list[OrderBy]:
    """Return what a list is ordered by; without ties, so that pages do not overlap."""
    order = []
    for name in filter(None, (part.strip() for part in sort.split(","))):
        field = name.removeprefix("-")
        if field not in SORTABLE:
            raise InvalidSort(field, SORTABLE)
        turned = F(field).desc if name.startswith("-") else F(field).asc
        # what is not there comes last on every database, whichever way round
        order.append(turned(nulls_last=True))
    return [*order, F("id").desc()]


def _mentions(text: str) -> Q:
    """Return the condition that a run has to do with a text."""
    text = text.replace("\x00", "\ufffd")  # PostgreSQL would refuse it
    return (
        Q(workflow_name__icontains=text)
        | Q(error_message__icontains=text)
        | Q(launched_by__username__icontains=text)
        | Q(pk__iendswith=text)  # pages show the end of an id
    )


system = System()
