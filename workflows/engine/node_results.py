"""What the end of a node means: the state that it returned, or how it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .errors import Cancelled, DeadlinePassed, caused_by, describe
from .nodes import Failed
from .state import State

if TYPE_CHECKING:
    from .context import NodeContext

S = TypeVar("S", bound=State)

# Errors that fail the node; everything else that author code raises is contained before.
NODE_ERRORS = (Exception, Cancelled, DeadlinePassed)


def stamp(after: S, before: S, context: NodeContext) -> S:
    """Return a node's state with the metadata and, if the node dropped them, the secrets."""
    if after.run_id != before.run_id:
        for name, value in before.secrets.items():
            if name not in after.secrets:
                after = after.set_secret(name, value)
    return after.stamped(
        run_id=before.run_id,
        checkpoint_node=context.node,
        sequence=context.sequence,
        timestamp=context.clock.now(),
    )


def require_state(after: object, before: S) -> S:
    """Return a node's result if it is a state of the run's class. Raises TypeError."""
    if isinstance(after, type(before)):
        return after
    wanted = type(before).__name__
    raise TypeError(
        f"It returned {type(after).__name__}, and a node of this run returns a {wanted}: "
        "end it with `return state…`."
    )


def is_cancellation(error: BaseException) -> bool:
    """Return whether the cancellation of the run ended the node."""
    return isinstance(error, Cancelled) or caused_by(error, Cancelled)


def failure_data(error: BaseException, before: State) -> dict[str, Any]:
    """Return event data of a failed node: its error, and the output of a `Failed`."""
    failed = next(
        (each for each in (error, error.__cause__) if isinstance(each, Failed)), None
    )
    output = failed.output if failed else before
    return {
        "cancelled": is_cancellation(error),
        "error_message": describe(error),
        "output_snapshot": None if output is None else output.data,
    }
