"""The workflow a case describes, as a plain factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tests.engine.traces import ops
from tests.lifecycle.cases import Case
from workflows.engine import Cancellation, DefinitionError, Graph, State, node
from workflows.factories import Factory

WORKFLOW = "wf"  # what the reference registers it as
TOKEN_SEEN = "token_seen"  # the key in which `use_token` tells what it found


StopRun = Callable[[str], None]


class Stop(Cancellation):
    """What a node's `cancel` raises: that of its own run, wherever it executes."""

    def __init__(self, stop_run: StopRun, run_id: str) -> None:
        super().__init__()
        self._stop_run, self._run_id = stop_run, run_id

    def cancel(self, reason: str = "") -> None:  # noqa: ARG002 - a node gives none
        self._stop_run(self._run_id)


def factory_of(case: Case, world: ops.World, stop_run: StopRun) -> Factory:
    """The factory: it builds the graph, then sets every param in alphabetical order."""

    def factory(graph: Graph, _runtime: object, params: Mapping[str, Any]) -> State:
        for call in case["build"]:
            _call(graph, call, world, stop_run)
        state = State()
        for name in sorted(params):
            state = state.set(name, params[name])
        return state

    return factory


def _call(
    graph: Graph, call: Mapping[str, Any], world: ops.World, stop_run: StopRun
) -> None:
    """Make one call; a refused one leaves the graph as it was."""
    if call["call"] == "add_node" and "ops" in call and not call.get("nil"):
        with suppress(DefinitionError):
            graph.add_node(call["name"], _node_of(call, world, stop_run))
    else:
        ops.build(graph, [call], world)


def _node_of(call: Mapping[str, Any], world: ops.World, stop_run: StopRun) -> Any:
    name = call["name"]

    async def run(state: State) -> State:
        world.visits[name] += 1
        world.cancellation = Stop(stop_run, state.run_id)
        steps = [_told(op, state) for op in call["ops"]]
        return await ops.apply(steps, state, world.visits[name], world)

    return node(name=name or "unnamed")(run)


def _told(op: ops.Op, state: State) -> ops.Op:
    """`use_token` as the `set` it comes to: whether the node was given that token."""
    if op["op"] != "use_token":
        return op
    given = state.secret("token")
    seen = True if given and given == op.get("message", given) else None
    return {**op, "op": "set", "key": TOKEN_SEEN, "value": seen}


def operations(case: Case) -> list[ops.Op]:
    """Every operation of the case's nodes."""
    return [op for call in case["build"] for op in call.get("ops", [])]
