"""Queries of System: workflows and runs, limited to the permissions of the viewer.

`by` is the viewer; None stands for the system itself or an operator at the shell, without
restrictions.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.engine.thresholds import thresholds_of
from workflows.errors import ApprovalNotFound, RunNotFound, RunRemoved, WorkflowNotFound
from workflows.execution import queue_position, state_changes
from workflows.models import Approval, Decision, RemovedRun, Run, Stage, with_current
from workflows.models.id_ranges import run_id_at
from workflows.registry import AnyWorkflow, Registry, registry
from workflows.services import events, run_order, state_diff, usage_reports
from workflows.services.what_if import (
    EVERYTHING,
    Limits,
    WhatIf,
    require_declared,
    routing_of,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.access.permissions import Person
    from workflows.engine.thresholds import Threshold
    from workflows.execution.state_changes import Changes
    from workflows.services.usage_reports import UsageFilter, UsageReport


class Queries:
    """Queries on workflows and runs."""

    def __init__(self, workflows: Registry = registry) -> None:
        """Use the workflows of a registry."""
        self._registry = workflows

    def list_workflows(self, *, by: Person | None = None) -> Sequence[AnyWorkflow]:
        """Return the installed workflows that `by` may see, ordered by name."""
        known = self._registry.list()
        if by is None:
            return known
        visible = permissions.permissions_for(by).view
        return [workflow for workflow in known if workflow.name in visible]

    def find_workflow(self, name: str, *, by: Person | None = None) -> AnyWorkflow:
        """Return one workflow. Raises WorkflowNotFound, also if `by` may not see it."""
        visible = {workflow.name: workflow for workflow in self.list_workflows(by=by)}
        if name not in visible:
            raise WorkflowNotFound(name, list(visible))
        return visible[name]

    def usage_report(
        self, wanted: UsageFilter, *, by: AbstractBaseUser | None = None
    ) -> UsageReport:
        """Return the usage of agents that `by` may see, by group. Raises InvalidParams."""
        return usage_reports.report(wanted, by=by)

    def list_events(self, *, by: Person | None = None) -> Mapping[str, Sequence[str]]:
        """Return the events that `by` may send: names of workflows by name of the event."""
        return events.events_for(self._registry, by)

    def list_runs(
        self,
        *,
        workflow: str = "",
        status: str = "",
        launched_by: int | None = None,
        search: str = "",
        sort: str = "",
    ) -> QuerySet[Run]:
        """Return the matching runs, newest first or ordered by `sort`.

        `sort` names fields of run_order.SORTABLE, such as "status,-started_at"; ties are
        ordered by id. `search` covers the id, workflow, launcher and error.
        Raises InvalidSort.
        """
        runs: QuerySet[Run] = Run.objects.select_related("launched_by")
        runs = runs.order_by(*run_order.order(sort))
        if search:
            runs = runs.filter(run_order.mentions(search))
        if workflow:
            runs = runs.filter(workflow_name=workflow)
        if status:
            runs = runs.filter(status=status)
        if launched_by is not None:
            runs = runs.filter(launched_by=launched_by)
        return runs.defer("params", "result", "graph", "secrets", "profile_stages")

    def find_run(self, run_id: UUID | str, *, by: Person | None = None) -> Run:
        """Return one run. Raises RunNotFound, also if `by` may not see it."""
        try:
            run: Run = Run.objects.select_related(
                "launched_by", "parent", "fork", "golden"
            ).get(pk=run_id)
        except Run.DoesNotExist as error:
            raise self._not_found(run_id, by) from error
        except (ValidationError, ValueError) as error:
            raise RunNotFound(run_id) from error
        if by is not None and not permissions.can_view_run(by, run):
            raise RunNotFound(run_id)
        return run

    def _operable(self, run_id: UUID | str, by: AbstractBaseUser | None) -> Run:
        """Return a run that `by` may operate. Raises RunNotFound, NotAllowed."""
        run = self.find_run(run_id, by=by)
        if by is not None:
            permissions.require(permissions.can_operate_run(by, run), "change this run")
        return run

    def _require_reason(
        self, name: str, action: str, reason: str, by: AbstractBaseUser | None
    ) -> None:
        """Raise ReasonMissing or ReasonTooLong, as the workflow of this name asks for one."""
        if self._registry.asks_reason(name, action):
            audit_events.require_reason(reason, by=by)
        else:
            audit_events.check_length(reason)

    @staticmethod
    def _not_found(run_id: UUID | str, by: Person | None) -> RunNotFound:
        """Return the error for a missing run; viewers are informed of its deletion."""
        removed = RemovedRun.objects.filter(pk=run_id).first()
        if removed and (by is None or permissions.can_view(by, removed.workflow_name)):
            return RunRemoved(removed)
        return RunNotFound(run_id)

    def get_stages(self, run_id: UUID | str) -> Sequence[Stage]:
        """Return the stages of a run in order; one in progress is last. Raises RunNotFound."""
        run = self.find_run(run_id)
        return with_current(run, run.stages.all())

    def get_decisions(self, run_id: UUID | str) -> QuerySet[Decision]:
        """Return the decisions of a run in order. Raises RunNotFound."""
        return self.find_run(run_id).decisions.select_related("decided_by")

    def compare_states(
        self, first: tuple[UUID, int], second: tuple[UUID, int]
    ) -> list[state_diff.Difference]:
        """Return the differences between the states of two runs, each after a step.

        Raises CheckpointMismatch.
        """
        return state_diff.compare(first, second)

    def get_changes(
        self,
        run_id: UUID,
        steps: Mapping[int, dt.datetime],
        of_branches: Mapping[int, tuple[int, int]] = MappingProxyType({}),
    ) -> Mapping[int, Changes]:
        """Return the state changes of some steps of a run, as far as known.

        `steps` has the start of the stage of each step. `of_branches` has, for those of
        branches, the number of the join and the index among its steps.
        """
        changes = dict(state_changes.changes_of(run_id, steps))
        if of_branches:
            changes |= state_changes.branch_changes(run_id, of_branches)
        return changes

    def get_states(self, run_id: UUID, sequence: int) -> tuple[Any, Any, Changes]:
        """Return the states before and after a step, and the changes between them.

        A missing state is None. Raises CheckpointMismatch.
        """
        return state_changes.between(run_id, sequence)

    def list_thresholds(
        self, name: str, *, by: Person | None = None
    ) -> Sequence[Threshold]:
        """Return what a what-if report of a workflow can replace.

        Raises WorkflowNotFound, NotAllowed, WhatIfUnavailable.
        """
        workflow = self._readable_workflow(name, by)
        return thresholds_of(require_declared(workflow))

    def what_if(  # noqa: PLR0913 - the selection of runs, all by name
        self,
        name: str,
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        by: Person | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        older_than: UUID | None = None,
        limits: Limits = EVERYTHING,
        workflow: AnyWorkflow | None = None,
    ) -> WhatIf:
        """Return the evaluation of recorded decisions with other thresholds.

        Runs launched from `since` to before `until` are evaluated, the newest first, and of these
        the ones before the run `older_than`. `workflow` is another version of the workflow of this
        name. Values of states decide, so `by` needs the permission to read them.
        Raises WorkflowNotFound, NotAllowed, WhatIfUnavailable, InvalidParams.
        """
        installed = self._readable_workflow(name, by)
        routing = routing_of(workflow or installed, settings)
        runs = self.select_runs(workflow=name, since=since, until=until)
        if older_than is not None:
            runs = runs.filter(pk__lt=older_than)
        return WhatIf(routing, runs, limits)

    def check_routing(self, name: str, runs: QuerySet[Run]) -> WhatIf:
        """Return the evaluation of those of the runs that are of a workflow, as it is today.

        Raises WorkflowNotFound, WhatIfUnavailable.
        """
        routing = routing_of(self.find_workflow(name), {})
        return WhatIf(routing, runs.filter(workflow_name=name))

    def select_runs(  # noqa: PLR0913 - conditions, all by name
        self,
        *,
        ids: Sequence[UUID] = (),
        workflow: str = "",
        label: str = "",
        golden: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
    ) -> QuerySet[Run]:
        """Return the runs launched from `since` to before `until`, in no order.

        With `golden` only golden runs, of this dataset unless it is "". Regardless of
        permissions: for commands, and for one workflow that was checked.
        """
        runs: QuerySet[Run] = Run.objects.order_by()
        if ids:
            runs = runs.filter(pk__in=ids)
        if workflow:
            runs = runs.filter(workflow_name=workflow)
        if label:
            runs = runs.filter(labels__name=label)
        if golden is not None:
            runs = runs.filter(golden__isnull=False)
        if golden:
            runs = runs.filter(golden__dataset=golden)
        if since is not None:
            runs = runs.filter(pk__gte=run_id_at(since))
        if until is not None:
            runs = runs.filter(pk__lt=run_id_at(until))
        return runs

    def _readable_workflow(self, name: str, by: Person | None) -> AnyWorkflow:
        """Return a workflow whose values `by` may read. Raises WorkflowNotFound, NotAllowed."""
        found = self.find_workflow(name, by=by)
        if by is not None:
            permissions.require(
                permissions.can_read(by, name), "read the values of this workflow"
            )
        return found

    def runs_before(self, run: Run) -> int:
        """Return the number of pending runs ahead of this one in the queue."""
        return queue_position.runs_before(run)

    def find_approval(self, run_id: UUID | str) -> Approval:
        """Return the newest approval of a run. Raises RunNotFound, ApprovalNotFound."""
        run = self.find_run(run_id)
        approval = (
            run.approvals.select_related("responded_by").order_by("-sequence").first()
        )
        if approval is None:
            raise ApprovalNotFound(run_id)
        return approval
