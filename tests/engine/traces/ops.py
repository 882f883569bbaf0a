"""Builds nodes, predicates and graphs from the description of a case."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from workflows.engine import (
    Cancellation,
    ChainConfig,
    ConditionalConfig,
    DefinitionError,
    Failed,
    Graph,
    Node,
    ParallelConfig,
    Predicate,
    State,
    all_of,
    always,
    any_of,
    chain,
    conditional,
    key,
    key_equals,
    key_exists,
    node,
    not_,
    parallel,
)

FRESH_RUN = "fresh-run"  # the run id of a state created by `fresh`

Op = Mapping[str, Any]


class World:
    """Shared by the nodes of a case: calls per node, and the current step's cancellation."""

    def __init__(self) -> None:
        self.visits: Counter[str] = Counter()
        self.handled: Counter[str] = Counter()
        self.cancellation = Cancellation()


async def apply(ops: list[Op], state: State, visit: int, world: World) -> State:
    """Apply the operations in order; return the state."""
    given = state
    for op in ops:
        if visit in op.get("on_visits", (visit,)):
            state = await OPS[op["op"]](op, state, given, world)
    return state


async def _set(op: Op, state: State, _given: State, _world: World) -> State:
    return state.set(op["key"], op["value"])


async def _inc(op: Op, state: State, _given: State, _world: World) -> State:
    return state.set(op["key"], state.get(op["key"], 0) + op.get("by", 1))


async def _append(op: Op, state: State, _given: State, _world: World) -> State:
    return state.set(op["key"], [*state.get(op["key"], []), op["value"]])


async def _merge(op: Op, state: State, _given: State, _world: World) -> State:
    other = State()
    for name in sorted(op["data"]):
        other = other.set(name, op["data"][name])
    return state.merge(other)


async def _require(op: Op, state: State, _given: State, _world: World) -> State:
    if op["key"] not in state:
        raise Failed(f"the key {op['key']} is required", output=state)
    return state


async def _fail(op: Op, state: State, given: State, _world: World) -> State:
    output = {"input": given, "current": state, "zero": None}[
        op.get("returns", "input")
    ]
    raise Failed(op["message"], output=output)


async def _cancel(_op: Op, state: State, _given: State, world: World) -> State:
    world.cancellation.cancel()
    return state


async def _sleep(op: Op, state: State, _given: State, _world: World) -> State:
    try:
        await asyncio.sleep(op["ms"] / 1000)
    except asyncio.CancelledError as error:
        raise Failed("interrupted", output=state) from error
    return state


async def _fresh(_op: Op, _state: State, _given: State, _world: World) -> State:
    return State().stamped(run_id=FRESH_RUN)


async def _mutate_nested(op: Op, state: State, _given: State, _world: World) -> State:
    try:
        state.get(op["key"])[op["sub"]] = op["value"]
    except TypeError:  # frozen: the node continues without its change
        return state
    return state


async def _panic(op: Op, _state: State, _given: State, _world: World) -> State:
    raise ZeroDivisionError(op["message"])


OPS: dict[str, Callable[[Op, State, State, World], Awaitable[State]]] = {
    "set": _set,
    "inc": _inc,
    "append": _append,
    "merge": _merge,
    "require": _require,
    "fail": _fail,
    "cancel": _cancel,
    "sleep": _sleep,
    "fresh": _fresh,
    "mutate_nested": _mutate_nested,
    "panic": _panic,
}


def node_of(call: Mapping[str, Any], world: World) -> Node[Any, Any] | None:
    """Return the node that an `add_node` describes."""
    if call.get("nil"):
        return None
    for kind, make in (
        ("chain", _chain),
        ("parallel", _parallel),
        ("conditional", _conditional),
    ):
        if kind in call:
            return make(call["name"], call[kind], world)

    async def run(state: State) -> State:
        world.visits[call["name"]] += 1
        return await apply(call["ops"], state, world.visits[call["name"]], world)

    return node(name=call["name"] or "unnamed")(run)


def failures(spec: Mapping[str, Any]) -> list[tuple[Any, str]]:
    """Return the failing items with their messages."""
    return [(failure["item"], failure["message"]) for failure in spec.get("fail") or ()]


def fail_if_specified(spec: Mapping[str, Any], item: object) -> None:
    """Raise the failure that a case defines for an item."""
    for failing, message in failures(spec):
        if failing == item:
            raise ValueError(message)


def config_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a pattern, including an observer given next to them."""
    named = {"observer": spec["observer"]} if "observer" in spec else {}
    return {**(spec.get("config") or {}), **named}


def _chain(name: str, spec: Mapping[str, Any], _world: World) -> Node[Any, Any]:
    async def step(state: State, item: Any) -> State:
        fail_if_specified(spec, item)
        return state.append(spec["key"], item)

    config = ChainConfig(**config_of(spec))
    return chain(
        step,
        over=lambda _: spec["items"],
        name=name,
        config=config,
        progress=_progress(spec),
    )


def _parallel(name: str, spec: Mapping[str, Any], _world: World) -> Node[Any, Any]:
    async def double(item: int) -> int:
        await asyncio.sleep((spec.get("sleep_ms") or {}).get(str(item), 0) / 1000)
        fail_if_specified(spec, item)
        return 2 * item

    async def gather(state: State, results: list[int]) -> State:
        return state.set(spec["list_key"], results).set(spec["sum_key"], sum(results))

    config = ParallelConfig(**config_of(spec))
    items = spec["items"]
    return parallel(
        double,
        over=lambda _: items,
        into=gather,
        name=name,
        config=config,
        progress=_progress(spec),
    )


def _progress(spec: Mapping[str, Any]) -> Callable[..., None] | None:
    def nothing(*_: object) -> None:
        """Do nothing; an event reports that a callback is set."""

    return nothing if spec.get("progress") else None


def _conditional(name: str, spec: Mapping[str, Any], world: World) -> Node[Any, Any]:
    def handler(ops: list[Op]) -> Callable[[State], Awaitable[State]]:
        async def handle(state: State) -> State:
            world.handled[name] += 1
            return await apply(ops, state, world.handled[name], world)

        return handle

    handlers = {route: handler(ops) for route, ops in spec["handlers"].items()}
    default = [] if spec.get("default") is True else spec.get("default")
    return conditional(
        choose_by(spec["route_key"]),
        handlers,
        handler(default) if isinstance(default, list) else None,
        name=name,
        config=ConditionalConfig(**config_of(spec)),
    )


def choose_by(route_key: str) -> Callable[[State], Awaitable[str]]:
    """Return a selector that reads the route from a key, and fails without one."""

    async def choose(state: State) -> str:
        route = state.get(route_key)
        if not isinstance(route, str):
            raise KeyError(route_key)
        return route

    return choose


def predicate_of(spec: Mapping[str, Any] | None) -> Predicate[Any] | None:
    """Return the predicate that a case describes."""
    if spec is None:
        return None
    parts = [part for each in _parts(spec) if (part := predicate_of(each)) is not None]
    makers: dict[str, Callable[[], Predicate[Any]]] = {
        "always": lambda: always,
        "exists": lambda: key_exists(spec["key"]),
        "equals": lambda: key_equals(spec["key"], spec.get("value")),
        "gte": lambda: key(spec["key"]).at_least(spec["value"]),
        "not": lambda: not_(all_of(*parts)),
        "and": lambda: all_of(*parts),
        "or": lambda: any_of(*parts),
    }
    return makers[spec["p"]]()


def _parts(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = spec.get("of") or []
    return [parts] if isinstance(parts, Mapping) else parts


def build(
    graph: Graph, calls: Sequence[Mapping[str, Any]], world: World
) -> list[str | None]:
    """Make the builder calls of a case; return the code of each refusal, or None."""
    return [_refusal(graph, call, world) for call in calls]


def _refusal(graph: Graph, call: Mapping[str, Any], world: World) -> str | None:
    try:
        if call["call"] == "add_node":
            graph.add_node(call["name"], node_of(call, world))
        elif call["call"] == "add_edge":
            # Edges have no names in the reference.
            graph.add_edge(
                call["from"], call["to"], predicate_of(call["when"]), name=""
            )
        elif call["call"] == "set_entry":
            graph.set_entry_point(call["node"])
        else:
            graph.set_exit_point(call["node"])
    except DefinitionError as error:
        return error.code
    return None
