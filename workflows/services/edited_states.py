"""States that a person has edited: they have to be states that the nodes can read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.engine import State
from workflows.engine.author_code import call_contained
from workflows.engine.errors import WorkflowError
from workflows.engine.failure_questions import (
    FailureQuestion,
    FailureResponse,
    edited_data,
)
from workflows.engine.frozen import freeze
from workflows.engine.input_validation import reason_of
from workflows.errors import ApprovalNotFound, InvalidParams
from workflows.execution import checkpoints
from workflows.execution.params import check_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.models import Approval, Run
    from workflows.registry import AnyWorkflow


def checked_state(
    workflow: AnyWorkflow, run: Run, state: Mapping[str, Any], *, field: str = "state"
) -> Mapping[str, Any]:
    """Return an edited state that the nodes can read.

    Raises InvalidParams, with the messages at `field`.
    """
    kind: type[State] = getattr(workflow, "state_type", State)

    def read() -> State:
        return kind.from_data(workflow.migrated(state, run.fingerprint))

    try:
        call_contained(read)
        text = checkpoints.dumps(freeze(state))
    except WorkflowError as error:
        raise InvalidParams({field: [str(error)]}) from error
    except Exception as error:  # an author's validators may raise anything
        raise InvalidParams({field: [reason_of(error)]}) from error
    limit = checkpoints.Encoder().max_bytes
    if len(text) > limit:
        too_large = checkpoints.StateTooLarge(len(text), limit)
        raise InvalidParams({field: [str(too_large)]})
    return state


def state_before(approval: Approval) -> Mapping[str, Any]:
    """Return the data of the state with which the step of an approval began."""
    snapshot = checkpoints.rebuild(approval.run_id, at=approval.sequence - 1)
    return {} if snapshot is None else snapshot.data


def checked_choice(
    workflow: AnyWorkflow, approval: Approval, value: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the response to a failed step as JSON, with the edited state checked.

    Raises InvalidParams, ApprovalNotFound.
    """
    node = workflow.graph.all_nodes.get(approval.node_name)
    if not isinstance(node, FailureQuestion):
        raise ApprovalNotFound(approval.node_name)
    given = check_answer(FailureResponse, value, of="The response")
    response = FailureResponse.model_validate(given)
    if mistake := node.mistake_in(response):
        field, message = mistake
        raise InvalidParams({field: [message]})
    if response.changes or response.removed:
        edited = edited_data(state_before(approval), response)
        checked_state(workflow, approval.run, edited, field="changes")
    return given
