"""A run with hostile texts that can be forked, and its workflow.

Names of nodes are hostile only in the stored graph: a workflow refuses some of them.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final

from django.contrib.auth.models import User
from django.utils import timezone
from pydantic import AfterValidator, BaseModel, Field

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_checkpoint,
    make_decision,
    make_run,
    make_stage,
)
from tests.support.hostile_graph import hostile_form, hostile_graph
from workflows.engine import State, Workflow, node
from workflows.engine.failure_questions import form_of
from workflows.models import (
    Approval,
    ApprovalKind,
    ApprovalStatus,
    Checkpoint,
    Run,
    Status,
)
from workflows.registry import registry

NAME: Final = "hostile-forks"
REFUSED: Final = 13  # an amount that the state refuses with a hostile sentence


def make_origin(payload: str, user: User) -> Run:
    """Return a completed run of three steps; a person responded to the second one."""
    graph = hostile_graph(payload)
    first, second, third = (one["name"] for one in graph["nodes"])
    fourth = f"{payload[:180]} not reached"
    other = {"name": fourth, "kind": "node", "doc": payload, "effects": payload}
    graph["nodes"].append(other)
    edge = {"source": second, "target": fourth, "index": 1, "predicate": payload}
    graph["edges"].append(edge)
    graph["exits"].append(fourth)
    run = make_run(workflow_name=NAME, graph=graph, launched_by=user, sequence=3)
    make_attempt(run)
    states: list[dict[str, Any]] = [
        {payload: payload},  # no field of the state: the form has JSON
        {"text": payload, "amount": 3},
        {"text": payload, "amount": 4},
        {"text": payload, "amount": 5},
    ]
    for sequence, state in enumerate(states):
        name = ("", first, second, third)[sequence]
        text = json.dumps(state)
        make_checkpoint(
            run, sequence=sequence, data=text, bytes=len(text), node_name=name
        )
        if sequence:
            make_stage(run, name, sequence=sequence)
    make_decision(run, first, second, sequence=1)
    make_decision(run, first, first, sequence=1, index=1, taken=False)
    make_decision(run, second, third, sequence=2)
    make_approval(
        run,
        sequence=2,
        node_name=second,
        form=hostile_form(payload),
        groups=[payload[:150]],
        status=ApprovalStatus.ANSWERED,
        responded_by=user,
        responded_at=timezone.now(),
    )
    return run


def make_failed_step(payload: str) -> Run:
    """Return a run that waits for a person to decide about a failed step."""
    graph = hostile_graph(payload)
    first, second = (one["name"] for one in graph["nodes"][:2])
    graph["nodes"][0]["effects"] = payload
    run = make_run(
        status=Status.WAITING,
        workflow_name=NAME,
        graph=graph,
        sequence=1,
        params={payload: payload},
    )
    text = json.dumps({payload: [payload]})
    make_checkpoint(run, sequence=1, data=text, bytes=len(text), node_name=first)
    failure = {"node": first, "type": payload, "message": payload, "tries": 2}
    make_approval(
        run,
        sequence=2,
        kind=ApprovalKind.FAILURE,
        node_name=second,
        form=form_of(State, [payload, second]),
        evidence={"failure": failure},
        groups=[payload[:150]],
    )
    return run


@contextmanager
def forkable(origin: Run, payload: str) -> Iterator[None]:
    """Register the workflow of a run, and restore the values that a fork reads."""
    workflow = _workflow(payload)
    registry.register(workflow)
    Run.objects.filter(pk=origin.pk).update(
        fingerprint=workflow.fingerprint,
        profile_name="",
        params={"text": payload, payload: payload},
    )
    response = {"outcome": payload, "text": payload}
    Approval.objects.filter(run=origin).update(response=response)
    Checkpoint.objects.filter(run=origin).update(failure=None)
    try:
        yield
    finally:
        registry.unregister(NAME)


def _workflow(payload: str) -> Workflow[Any]:
    """Return a workflow whose params and state have hostile texts."""

    def refuse(amount: int) -> int:
        if amount == REFUSED:
            raise ValueError(payload)
        return amount

    said = Field(title=payload, description=payload)

    class Params(BaseModel):
        text: Annotated[str, said]

    class Texts(State):
        text: Annotated[str, said] = payload
        amount: Annotated[int, said, AfterValidator(refuse)] = 3

    @node(name="write", effects=payload[:200])
    async def write(state: Texts) -> Texts:
        return state

    return Workflow(
        NAME,
        state=Texts,
        params=Params,
        start=write,
        routes={},
        title=payload,
        description=payload,
    )


FORKING = ("step=1", "step=2", "do=override&step=1", "do=response&step=2")


def refused_forks(payload: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the query and the form of forks whose values are refused."""
    amount = {"state-text": payload, "state-amount": REFUSED}
    other = json.dumps({payload: f"{payload} again"})
    return [
        ("step=1", {"edit": ["state", "params"], "state-text": payload}),
        ("step=1", {"edit": "state", "state-text": other}),
        (
            "step=2",
            {"edit": "state", "state-text": payload, "state-amount": payload},
        ),
        ("step=2", {"edit": "state", **amount}),
        ("do=override&step=1", {"edge": payload}),
        ("do=response&step=2", {"response-outcome": f"not {payload}"}),
    ]


def accepted_forks(payload: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the query and the form of forks that are launched."""
    state = {"state-text": f"{payload} again", "state-amount": "4"}
    params = {"params-text": f"{payload} again"}
    return [
        ("step=2", {"edit": ["state", "params"], **state, **params}),
        ("do=override&step=1", {"edge": "1"}),
    ]
