"""Builds the factory of the workflow that a case describes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.engine.traces import ops
from tests.lifecycle.cases import Case
from workflows.engine import Cancellation, DefinitionError, Graph, State, node
from workflows.engine.factory import Factory

WORKFLOW = "wf"  # the name used by the recorded cases
TOKEN_RECEIVED = "token_seen"  # state key in which `use_token` stores its result


CancelRun = Callable[[str], None]
Hold = Callable[[str], Awaitable[None]]


class FactoryFailed(Exception):
    """The error that a case requires from the workflow's factory."""


@dataclass(frozen=True, slots=True)
class NodeEnvironment:
    """What the nodes of a case use besides their state."""

    world: ops.World
    cancel_run: CancelRun
    hold: Hold  # called with the name of each node that starts


async def no_hold(_node: str) -> None:
    """Let a node continue at once."""


def cancel_nothing(_run_id: str) -> None:
    """Ignore the request: there is no worker."""


class CancelOwnRun(Cancellation):
    """The cancellation of a node's own run, on the worker that executes it."""

    def __init__(self, cancel_run: CancelRun, run_id: str) -> None:
        super().__init__()
        self._stop_run, self._run_id = cancel_run, run_id

    def cancel(self, reason: str = "") -> None:  # noqa: ARG002 - nodes give no reason
        self._stop_run(self._run_id)


def factory_of(case: Case, environment: NodeEnvironment) -> Factory:
    """Return a factory that builds the graph and sets all params in alphabetical order.

    If the case has a `factory_error`, the factory raises it after building the graph.
    """

    def factory(graph: Graph, _runtime: object, params: Mapping[str, Any]) -> State:
        for call in case["build"]:
            _call(graph, call, environment)
        if "factory_error" in case:
            raise FactoryFailed(case["factory_error"])
        state = State()
        for name in sorted(params):
            state = state.set(name, params[name])
        return state

    return factory


def _call(graph: Graph, call: Mapping[str, Any], environment: NodeEnvironment) -> None:
    """Make one builder call; a rejected call leaves the graph unchanged."""
    if call["call"] == "add_node" and "ops" in call and not call.get("nil"):
        with suppress(DefinitionError):
            graph.add_node(call["name"], _node_of(call, environment))
    else:
        ops.build(graph, [call], environment.world)


def _node_of(call: Mapping[str, Any], environment: NodeEnvironment) -> Any:
    name, world = call["name"], environment.world

    async def run(state: State) -> State:
        world.visits[name] += 1
        visit = world.visits[name]
        world.cancellation = CancelOwnRun(environment.cancel_run, state.run_id)
        await environment.hold(name)
        steps = [_report(op, state) for op in call["ops"]]
        return await ops.apply(steps, state, visit, world)

    return node(name=name or "unnamed")(run)


def _report(op: ops.Op, state: State) -> ops.Op:
    """Replace `use_token` by a `set` of whether the node received that token."""
    if op["op"] != "use_token":
        return op
    given = state.secret("token")
    received = True if given and given == op.get("message", given) else None
    return {**op, "op": "set", "key": TOKEN_RECEIVED, "value": received}


def operations(case: Case) -> list[ops.Op]:
    """Return all operations of the case's nodes."""
    return [op for call in case["build"] for op in call.get("ops", [])]
