"""The workflow a case describes, as a plain factory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.engine.traces import ops
from tests.lifecycle.cases import Case
from workflows.engine import Cancellation, DefinitionError, Graph, State, node
from workflows.engine.factory import Factory

WORKFLOW = "wf"  # what the reference registers it as
TOKEN_RECEIVED = "token_seen"  # the key in which `use_token` tells what it found


StopRun = Callable[[str], None]
Hold = Callable[[str], Awaitable[None]]


class FactoryFailed(Exception):
    """What the case says the workflow's factory fails with."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the nodes of a case have to do with next to their state."""

    world: ops.World
    stop_run: StopRun
    hold: Hold  # called with the name of each node that begins


async def never_held(_node: str) -> None:
    """Let a node continue at once."""


def nobody(_run_id: str) -> None:
    """Stop no run: no one executes one."""


class Stop(Cancellation):
    """What a node's `cancel` raises: that of its own run, wherever it executes."""

    def __init__(self, stop_run: StopRun, run_id: str) -> None:
        super().__init__()
        self._stop_run, self._run_id = stop_run, run_id

    def cancel(self, reason: str = "") -> None:  # noqa: ARG002 - a node gives none
        self._stop_run(self._run_id)


def factory_of(case: Case, around: Surroundings) -> Factory:
    """The factory: it builds the graph, then sets every param in alphabetical order.

    Where the case says so it fails instead, once the graph is built.
    """

    def factory(graph: Graph, _runtime: object, params: Mapping[str, Any]) -> State:
        for call in case["build"]:
            _call(graph, call, around)
        if "factory_error" in case:
            raise FactoryFailed(case["factory_error"])
        state = State()
        for name in sorted(params):
            state = state.set(name, params[name])
        return state

    return factory


def _call(graph: Graph, call: Mapping[str, Any], around: Surroundings) -> None:
    """Make one call; a refused one leaves the graph as it was."""
    if call["call"] == "add_node" and "ops" in call and not call.get("nil"):
        with suppress(DefinitionError):
            graph.add_node(call["name"], _node_of(call, around))
    else:
        ops.build(graph, [call], around.world)


def _node_of(call: Mapping[str, Any], around: Surroundings) -> Any:
    name, world = call["name"], around.world

    async def run(state: State) -> State:
        world.visits[name] += 1
        visit = world.visits[name]
        world.cancellation = Stop(around.stop_run, state.run_id)
        await around.hold(name)
        steps = [_report(op, state) for op in call["ops"]]
        return await ops.apply(steps, state, visit, world)

    return node(name=name or "unnamed")(run)


def _report(op: ops.Op, state: State) -> ops.Op:
    """`use_token` as the `set` it comes to: whether the node was given that token."""
    if op["op"] != "use_token":
        return op
    given = state.secret("token")
    seen = True if given and given == op.get("message", given) else None
    return {**op, "op": "set", "key": TOKEN_RECEIVED, "value": seen}


def operations(case: Case) -> list[ops.Op]:
    """Every operation of the case's nodes."""
    return [op for call in case["build"] for op in call.get("ops", [])]
