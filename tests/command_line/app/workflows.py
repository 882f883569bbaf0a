"""A workflow that logs, asks a person and ends as the answer says."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from workflows.engine import State, Workflow, approval, node, otherwise, predicate, when
from workflows.runtime import Runtime


class Params(BaseModel):
    """The input."""

    lines: int = 3


class Review(BaseModel):
    """The response."""

    outcome: Literal["publish", "reject"]


class Counted(State):
    """The data."""

    params: Params
    review: Review | None = None


@node
async def count(state: Counted, runtime: Runtime) -> Counted:
    """Log some lines."""
    for number in range(state.params.lines):
        runtime.logger.info("line %d", number)
    return state


@node
async def finish(state: Counted, runtime: Runtime) -> Counted:
    """End the run."""
    runtime.logger.info("the last line")
    return state


@node
async def fail(state: Counted, runtime: Runtime) -> Counted:
    """Fail the run."""
    raise ValueError("The reviewer rejected it.")


@predicate("outcome: {s.review.outcome}")
def was_approved(state: Counted) -> bool:
    """Whether the reviewer chose to publish."""
    return state.review is not None and state.review.outcome == "publish"


review = approval("Publish?", answer=Review, into="review")
count_lines = Workflow(
    "count-lines",
    state=Counted,
    start=count,
    routes={count: review, review: [when(was_approved, finish), otherwise(fail)]},
)
