"""Executes the steps of a case and records their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine import (
    Cancellation,
    CheckpointConfig,
    ConfigurationError,
    DefinitionError,
    Event,
    EventType,
    ExecutionError,
    Graph,
    GraphConfig,
    ResumeError,
    State,
)

from .cases import Case
from .ops import World, build
from .store import RecordingStore

ZERO_STATE: Mapping[str, Any] = {"checkpoint_node": "", "data": None, "run_id": ""}


@dataclass(slots=True)
class Step:
    """The result of an execute or resume."""

    do: str
    ok: bool = False
    error: Exception | None = None
    code: str = ""  # of the error
    state: Mapping[str, Any] = field(default_factory=dict)
    initial_after: Mapping[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    store_calls: list[dict[str, Any]] | None = None
    checkpoints: dict[str, Any] | None = None


@dataclass(slots=True)
class Replay:
    """The results of a replayed case."""

    build: list[str | None]
    steps: list[Step]
    world: World
    initial: State
    store: RecordingStore | None

    @property
    def visits(self) -> dict[str, int]:
        return dict(self.world.visits)


class Recorder:
    """Records copies of emitted events, and cancels at a given event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reported: list[
            tuple[str, Any]
        ] = []  # the content of each when it was emitted
        self.cancel: Mapping[str, Any] = {}
        self.cancellation = Cancellation()
        self._seen = 0

    def begin(self, cancel: Mapping[str, Any], cancellation: Cancellation) -> None:
        """Start the recording of a step."""
        self.events, self.reported, self._seen = [], [], 0
        self.cancel, self.cancellation = cancel, cancellation

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.reported.append((event.type, plain(event.data)))
        if event.type != self.cancel.get("event_type"):
            return
        if event.data.get("node") == self.cancel.get("node", event.data.get("node")):
            self._seen += 1
            if self._seen == self.cancel.get("nth", 1):
                self.cancellation.cancel()


async def replay(case: Case) -> Replay:
    """Build the graph of a case and execute its steps in order on one store."""
    world = World()
    store = None if case["store"]["kind"] == "none" else RecordingStore(case["store"])
    recorder = Recorder()
    initial = State()
    for name, value in case["initial"]["set"]:
        initial = initial.set(name, value)
    initial = initial.stamped(run_id=case["initial"]["run_id"])
    result = Replay([], [], world, initial, store)
    graph = _graph(case["graph"], recorder, store)
    if isinstance(graph, Graph):
        result.build = build(graph, case["graph"]["build"], world)
    for spec in case["steps"]:
        current_graph = graph
        if "graph" in spec:
            current_graph = _graph(spec["graph"], recorder, store)
            if isinstance(current_graph, Graph):
                build(current_graph, spec["graph"]["build"], world)
        result.steps.append(await _step(spec, current_graph, result, recorder))
    return result


def _graph(
    spec: Mapping[str, Any], recorder: Recorder, store: RecordingStore | None
) -> Graph | ConfigurationError:
    """Return the graph without nodes, or the error of its refusal."""
    checkpoint = CheckpointConfig(
        store="",
        interval=spec["checkpoint"]["interval"],
        preserve=spec["checkpoint"]["preserve"],
    )
    config = GraphConfig(
        name=spec["name"],
        observer=spec.get("observer", ""),
        max_iterations=spec["max_iterations"],
        checkpoint=checkpoint,
    )
    try:
        return Graph(spec["name"], config, None if config.observer else recorder, store)
    except ConfigurationError as error:
        return error


async def _step(
    spec: Mapping[str, Any],
    graph: Graph | ConfigurationError,
    result: Replay,
    recorder: Recorder,
) -> Step:
    cancel = spec.get("cancel") or {}
    result.world.cancellation = cancellation = Cancellation()
    recorder.begin(cancel, cancellation)
    if cancel.get("before"):
        cancellation.cancel()
    if result.store is not None:
        result.store.calls = []
    step = Step(spec["do"])
    await _run(spec, graph, result, step, recorder)
    step.events = recorder.events
    shown = [(event.type, plain(event.data)) for event in recorder.events]
    assert shown == recorder.reported, (
        "the data of an event changed after it was emitted"
    )
    if spec["do"] == "execute":
        step.initial_after = content(result.initial)
    if result.store is not None:
        step.store_calls = result.store.calls
        step.checkpoints = {
            run_id: content(state) for run_id, state in result.store.content().items()
        }
    return step


async def _run(
    spec: Mapping[str, Any],
    graph: Graph | ConfigurationError,
    result: Replay,
    step: Step,
    recorder: Recorder,
) -> None:
    executes = spec["do"] == "execute"
    try:
        step.state = content(await _execute_or_resume(spec, graph, result, recorder))
        step.ok = True
    except ExecutionError as error:
        step.error, step.code = error, error.code
        step.state = content(error.state or result.initial)
    except (DefinitionError, ResumeError) as error:
        step.error, step.code = error, error.code
        step.state = content(result.initial) if executes else _returned(error)


def _returned(error: DefinitionError | ResumeError) -> Mapping[str, Any]:
    """Return the state that the reference returns with a refused resume.

    This is the loaded state if the graph is invalid, else the zero state; the error of the
    engine has the loaded state in both cases.
    """
    loaded = getattr(error, "state", None)
    is_graphs = error.code.startswith("invalid_graph.")
    return content(loaded) if loaded is not None and is_graphs else ZERO_STATE


async def _execute_or_resume(
    spec: Mapping[str, Any],
    graph: Graph | ConfigurationError,
    result: Replay,
    recorder: Recorder,
) -> State:
    if isinstance(graph, ConfigurationError):
        raise graph
    limits: dict[str, Any] = {
        "cancellation": result.world.cancellation,
        "deadline": spec["deadline_ms"] / 1000 if "deadline_ms" in spec else None,
    }
    if spec["do"] == "execute":
        return await graph.execute(result.initial, **limits)
    run_id = spec.get("run_id", result.initial.run_id)
    state: State = await graph.resume(run_id, **limits)
    if all(event.type != EventType.GRAPH_START for event in recorder.events):
        # The run has ended: the engine returns its state, the reference refuses.
        raise ResumeError("resume.complete", run_id, node=state.checkpoint_node)
    return state


def content(state: State) -> dict[str, Any]:
    """Return the part of a state that traces contain."""
    return {
        "checkpoint_node": state.checkpoint_node,
        "data": plain(state.data),
        "run_id": state.run_id,
    }


def plain(value: Any) -> Any:
    """Return a deep copy in plain containers."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
