"""What a fork changes, and whether a run can be forked so: the checks before it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workflows.access import permissions
from workflows.agents.recordings import recorded_calls
from workflows.engine import GraphShape
from workflows.engine.frozen import freeze
from workflows.engine.json_patch import diff
from workflows.errors import (
    FingerprintChanged,
    ForkRefused,
    InvalidStatus,
    PayloadRemoved,
    StepNotFound,
)
from workflows.execution import checkpoints, replayed_answers
from workflows.execution.fork_rows import SharedHistory, start_of
from workflows.execution.params import check_params
from workflows.models import (
    ENDED,
    RESUMABLE,
    Approval,
    ApprovalKind,
    ApprovalStatus,
    Checkpoint,
    Decision,
    EventWait,
    ForkKind,
    Run,
    Stage,
    StageKind,
    StageStatus,
    WorkflowPause,
)
from workflows.services import approvals
from workflows.services.edited_states import checked_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.engine.graph_shape import EdgeShape
    from workflows.registry import AnyWorkflow, Registry

RECORDED: Final = "recorded"
NO_RESPONSE: Final = "Step {} has no approval that a person responded to."
SEVERAL_VOTES: Final = (
    "The approval of step {} takes {} responses: rerun from this step, so that they are"
    " requested again."
)
ONE_OF_SEVERAL: Final = (
    "The approval of step {} was one of several waits: rerun from this step, so that the run"
    " waits for them again."
)
NO_ITEM: Final = "Step {} has no item {} that can run again without the others."
ITEM_AND_CHANGE: Final = (
    "One item runs again with its input as it was, since the results of the other items are"
    " kept. Rerun the whole step to change the state or the parameters."
)
NO_ANSWERS: Final = (
    "Run {} has no recorded answers of agents from step {} on: let the fork call the agents"
    " again. A workflow records them with call_content=True."
)
UNDONE: Final = (
    "Steps before step {} were undone when run {} ended, so that the state after them is no"
    " longer that of the systems it uses. Rerun it from step {} or an earlier one."
)


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """What a fork changes, and from which step of its origin."""

    # The step that runs again, with its approval asked again or answered otherwise; of an
    # override, the step after which another edge is taken.
    step: int
    kind: ForkKind = ForkKind.RERUN
    state: Mapping[str, Any] | None = None  # before the step, if edited
    params: Mapping[str, Any] | None = None  # if changed
    edge: int | None = None  # of an override: index among the edges of the node
    response: Mapping[str, Any] | None = None  # to the approval of the step
    replay: bool = False  # use the recorded answers of agents
    item: int | None = None  # index of the only item of a parallel node that runs again

    @property
    def change(self) -> dict[str, Any]:
        """Return what is changed, as JSON; {} for a step that runs again as it was."""
        parts = {
            "state": self.state,
            "params": self.params,
            "edge": self.edge,
            "response": self.response,
            "answers": RECORDED if self.replay else None,
            "item": self.item,
        }
        return {name: value for name, value in parts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ForkPlan:
    """A fork that was checked: what it shares, and where it begins."""

    request: ForkRequest
    workflow: AnyWorkflow
    history: SharedHistory
    entry: str  # the node that runs first
    params: Mapping[str, Any]
    before: Mapping[str, Any]  # the state after the last shared step
    state: Mapping[str, Any] | None = None  # instead of it, if edited
    edge: EdgeShape | None = None  # of an override
    approval: Approval | None = None  # whose response is changed
    response: Mapping[str, Any] | None = None  # to it, as it is stored
    recorded: int = 0  # answers of agents that can be replayed

    @property
    def origin(self) -> Run:
        """The run that is forked."""
        return self.history.origin

    @property
    def enters_after(self) -> int:
        """The number of the last step before the entry."""
        return self.history.kept + (self.state is not None)

    @property
    def change(self) -> dict[str, Any]:
        """What is changed, as stored: the state as a patch."""
        change = {**self.request.change}
        if self.state is not None:
            change["state"] = diff(freeze(self.before), freeze(self.state))
        if "params" in change:
            change["params"] = dict(self.params)
        if self.response is not None:
            change["response"] = dict(self.response)
        if self.edge is not None:
            change["edge"] = {
                "index": self.edge.index,
                "from": self.edge.source,
                "to": self.edge.target,
            }
        return change


# Checks ---------------------------------------------------------------------------------


def plan(
    origin: Run,
    request: ForkRequest,
    workflows: Registry,
    *,
    by: AbstractBaseUser | None,
) -> ForkPlan:
    """Check that a run can be forked so.

    Raises InvalidStatus, PayloadRemoved, StepNotFound, FingerprintChanged, ForkRefused,
    WorkflowNotFound, InvalidParams.
    """
    workflow = _require_forkable(origin, workflows)
    edge = approval = response = None
    if request.kind == ForkKind.OVERRIDE:
        history, edge = _override(origin, request)
        entry = edge.target
    else:
        history, entry = start_of_step(origin, request.step)
    if request.kind == ForkKind.RESPONSE:
        approval = _answered_approval(origin, request.step)
        if request.response is not None:  # else it is a preview
            response = approvals.checked(workflows, approval, request.response)
    if request.item is not None:
        _require_item(origin, request, history.kept)
    _require_not_undone(origin, history.kept)
    recorded = recorded_answers(origin, history.kept)
    if request.replay and not recorded:
        raise ForkRefused(NO_ANSWERS.format(origin.short_id, history.kept + 1))
    snapshot = checkpoints.rebuild(origin.pk, at=history.kept)
    if snapshot is None or snapshot.sequence != history.kept:
        raise StepNotFound(origin, request.step)
    params, state = _changed_input(workflow, origin, request, snapshot.data, by)
    return ForkPlan(
        request=request,
        workflow=workflow,
        history=history,
        entry=entry,
        params=params,
        before=snapshot.data,
        state=state,
        edge=edge,
        approval=approval,
        response=response,
        recorded=recorded,
    )


def _require_item(origin: Run, request: ForkRequest, kept: int) -> None:
    """Refuse to rerun one item where the results of the others cannot be kept."""
    if request.kind != ForkKind.RERUN or {"state", "params"} & request.change.keys():
        raise ForkRefused(ITEM_AND_CHANGE)
    stages = Stage.objects.filter(run=origin, sequence=request.step)
    stage = stages.filter(kind=StageKind.NODE).order_by("-attempt").first()
    total = stage.items_total if stage is not None else None
    is_inside = total is not None and 0 <= (request.item or 0) < total
    if not is_inside or request.step != kept + 1:
        raise ForkRefused(NO_ITEM.format(request.step, (request.item or 0) + 1))


def recorded_answers(origin: Run, kept: int) -> int:
    """Return how many answers of agents are recorded after the last shared step."""
    calls = recorded_calls(origin.pk)
    own = sum(one.row.sequence > kept for one in calls)
    return own + replayed_answers.count_in_children(origin, kept)


def _require_forkable(origin: Run, workflows: Registry) -> AnyWorkflow:
    if origin.status not in ENDED:
        raise InvalidStatus(
            origin, wanted="rerun from a step before it has ended: cancel it first"
        )
    if origin.payload_removed_at is not None:
        raise PayloadRemoved
    workflow = workflows.get(origin.workflow_name)
    if origin.fingerprint and not workflow.accepts(origin.fingerprint):
        before = GraphShape.from_json(origin.graph)
        raise FingerprintChanged(origin, workflow.differences(before))
    if WorkflowPause.objects.filter(workflow_name=origin.workflow_name).exists():
        raise ForkRefused(
            f"The workflow “{origin.workflow_name}” is paused, and a run that continues a"
            " history would start at once. Unpause it first."
        )
    return workflow


def start_of_step(origin: Run, step: int) -> tuple[SharedHistory, str]:
    """Return the history before a step started, and its node. Raises StepNotFound.

    The steps of branches run again together, with the node that splits and joins them.
    """
    stages = Stage.objects.filter(run=origin, kind=StageKind.NODE)
    stage = stages.filter(sequence=step).order_by("-attempt").first()
    if stage is None:
        raise StepNotFound(origin, step)
    node, first = _place_in_branches(origin, stage)
    history = start_of(origin, stage)
    if first < stage.sequence:
        began = stages.filter(sequence__gte=first, sequence__lte=step)
        earliest = began.filter(attempt=stage.attempt).order_by("created_at").first()
        stage.created_at = (earliest or stage).created_at
        stage.sequence = first
        history = start_of(origin, stage)
    return history, node


def _place_in_branches(origin: Run, stage: Stage) -> tuple[str, int]:
    """Return the node to run again for a stage, and the first of its numbers."""
    shape = GraphShape.from_json(origin.graph) if origin.graph.get("entry") else None
    for node in shape.nodes_with_branches if shape else ():
        if node.kind != "branches":  # it waits for the first of several: one step
            continue
        names = [inner.name for branch in node.branches for inner in branch.nodes]
        if stage.node_name == node.name:
            return node.name, stage.sequence - len(names)
        if stage.branch is not None and stage.node_name in names:
            return node.name, stage.sequence - names.index(stage.node_name)
    return stage.node_name, stage.sequence


def _override(origin: Run, request: ForkRequest) -> tuple[SharedHistory, EdgeShape]:
    """Return the history up to the decision after a step, and the edge to take instead."""
    step = request.step
    checkpoint, edges = _edges_after(origin, step)
    node = checkpoint.node_name
    found = [edge for edge in edges if edge.index == request.edge]
    if not found:
        offered = ", ".join(f"{edge.index} to “{edge.target}”" for edge in edges)
        raise ForkRefused(
            f"“{node}”, the node of step {step}, has no edge {request.edge} to take."
            f" Edges of the node: {offered or 'none'}."
        )
    # without those on what a node waited for
    made = Decision.objects.filter(run=origin, sequence=step, from_node=node)
    made = made.order_by("-attempt")
    newest = made.first()
    taken = made.filter(taken=True).first()
    if taken is not None and taken.edge_index == request.edge:
        raise ForkRefused(
            f"After step {step}, run {origin.short_id} took the edge to"
            f" “{taken.to_node}” itself. Choose another one, or rerun from the next step."
        )
    attempt = max(checkpoint.attempt, newest.attempt if newest else 0)
    at = newest.created_at if newest else checkpoint.created_at
    return SharedHistory(origin, step, attempt, at), found[0]


def _edges_after(origin: Run, step: int) -> tuple[Checkpoint, list[EdgeShape]]:
    """Return the checkpoint of a step, and the edges that may leave it. Raises StepNotFound."""
    checkpoint = Checkpoint.objects.filter(run=origin, sequence=step).first()
    if checkpoint is None or not step or not origin.graph.get("entry"):
        raise StepNotFound(origin, step)
    has_failed = checkpoint.failure is not None
    edges = GraphShape.from_json(origin.graph).edges_from(checkpoint.node_name)
    return checkpoint, [edge for edge in edges if edge.on_failure is has_failed]


def other_edges(origin: Run, step: int) -> list[EdgeShape]:
    """Return the edges that a run did not take after a step. Raises StepNotFound, ForkRefused."""
    checkpoint, edges = _edges_after(origin, step)
    made = Decision.objects.filter(run=origin, sequence=step, taken=True)
    taken = made.order_by("-attempt").first()
    others = [edge for edge in edges if taken is None or edge.index != taken.edge_index]
    if not others:
        raise ForkRefused(
            f"“{checkpoint.node_name}”, the node of step {step}, has no other edge."
        )
    return others


def _answered_approval(origin: Run, step: int) -> Approval:
    approval = Approval.objects.filter(run=origin, sequence=step).first()
    closed = (ApprovalStatus.ANSWERED, ApprovalStatus.EXPIRED)
    if (
        approval is None
        or approval.kind == ApprovalKind.BUDGET
        or approval.status not in closed
    ):
        raise ForkRefused(NO_RESPONSE.format(step))
    if EventWait.objects.filter(run=origin, sequence=step).exists():
        raise ForkRefused(ONE_OF_SEVERAL.format(step))
    if approval.votes_needed > 1:
        raise ForkRefused(SEVERAL_VOTES.format(step, approval.votes_needed))
    return approval


def _require_not_undone(origin: Run, kept: int) -> None:
    """Refuse a history with steps that were undone when the run ended."""
    undone = Stage.objects.filter(
        run=origin, kind=StageKind.UNDO, status=StageStatus.COMPLETED, undoes__lte=kept
    )
    first = undone.order_by("undoes").values_list("undoes", flat=True).first()
    if first is not None:
        raise ForkRefused(UNDONE.format(kept + 1, origin.short_id, first))


def _changed_input(
    workflow: AnyWorkflow,
    origin: Run,
    request: ForkRequest,
    before: Mapping[str, Any],
    by: AbstractBaseUser | None,
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """Return the params of the fork, and its state if that is another one.

    A state keeps its params in the field `params`, or in fields of their names; those that are
    still as they were are changed with them. Raises InvalidParams.
    """
    params: Mapping[str, Any] = origin.params
    state: Mapping[str, Any] | None = request.state
    if request.params is not None:
        params = check_params(workflow, request.params, by=by)
        edited = dict(before if state is None else state)
        was, now = (
            {"params": origin.params, **origin.params},
            {
                "params": params,
                **params,
            },
        )
        for name, value in now.items():
            if name in edited and edited[name] == was.get(name):
                edited[name] = value
        state = edited
    if state is not None:
        state = checked_state(workflow, origin, state)
        if freeze(state) == freeze(before):
            state = None
    return params, state


def failed_step(run: Run) -> int:
    """Return the step at which a run failed or was cancelled. Raises InvalidStatus.

    That is the step that did not complete, or the last one, after which no edge was followed.
    """
    if run.status not in RESUMABLE:
        raise InvalidStatus(run, wanted="rerun from the step where it failed")
    stages = Stage.objects.filter(run=run, kind=StageKind.NODE)
    failed = stages.filter(sequence__gt=run.sequence).order_by("-attempt", "sequence")
    found = failed.values_list("sequence", flat=True).first()
    return found or max(run.sequence, 1)


def require_forker(
    origin: Run, request: ForkRequest, by: AbstractBaseUser | None
) -> None:
    """Raise NotAllowed unless a person may make such a fork.

    A step is rerun by those who may launch, a decision overridden by those who may operate, a
    response changed by those who may respond; a state is edited by those who may read it.
    """
    if by is None:
        return
    if request.kind == ForkKind.OVERRIDE:
        may = permissions.can_operate_run(by, origin)
        permissions.require(may, "override decisions of this run")
    elif request.kind == ForkKind.RESPONSE:
        may = permissions.can_approve_run(by, origin)
        permissions.require(may, "respond to approvals of this run")
    else:
        may = permissions.can_launch(by, origin.workflow_name)
        permissions.require(may, "launch this workflow")
    if request.state is not None:
        may = permissions.can_read(by, origin.workflow_name)
        permissions.require(may, "view the data of this run")
