"""Execution of a workflow in memory, for tests in plain pytest without Django or a database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from pydantic import BaseModel

from workflows.engine.predicates.wording import explain

from .cancellation import Cancellation
from .checkpoints import MemoryStore
from .config import CheckpointConfig, GraphConfig
from .containment import call_contained
from .context import Answer, NodeContext
from .errors import ExecutionError, Paused, RequestError, describe
from .events import Event, EventType
from .graph import Graph
from .inputs import check_launch
from .loop import ResilientLoop
from .round_trip import plain
from .state import State
from .workflow import Workflow

S = TypeVar("S", bound=State)

Status: TypeAlias = Literal["completed", "failed", "cancelled", "waiting"]

RUN_ID = "run-in-memory"
MAX_PAUSES = 1_000  # more are assumed to be an endless loop
MAX_DEPTH = 50  # of nested child runs, like the default of a server


class ManualClock:
    """A clock that only advances when it is moved; waits return immediately."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)) -> None:
        self.time = start
        self.slept: list[float] = []  # seconds of each wait of nodes and retries

    def now(self) -> datetime:
        """Return the current time of the clock."""
        return self.time

    def monotonic(self) -> float:
        """Return the current time of the clock in seconds."""
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        """Move the clock by some seconds and let other tasks run."""
        self.slept.append(seconds)
        self.move(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def wait_until(self, time: datetime) -> None:
        """Move the clock to a time and record the wait, also if it is 0 seconds."""
        self.slept.append(max(0.0, (time - self.time).total_seconds()))
        self.move_to(time)

    def move(self, time: timedelta) -> None:
        """Move the clock forward."""
        self.time += time

    def move_to(self, time: datetime) -> None:
        """Move the clock forward to a time; it never goes back."""
        self.time = max(self.time, time)


@dataclass(slots=True)
class Stage:
    """One executed step."""

    node: str
    sequence: int
    iteration: int
    status: Literal["started", "completed", "failed", "cancelled", "waiting"] = (
        "started"
    )
    tries: int = 1
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The evaluation of one edge."""

    source: str
    target: str
    index: int
    predicate: str
    result: bool
    reason: str
    values: Mapping[str, Any]
    sequence: int  # of the step it leaves

    @property
    def explanation(self) -> str:
        """Whether and why its condition was met; `unconditional` if it has none."""
        return (
            explain(self.predicate, self.reason, result=self.result) or "unconditional"
        )


@dataclass(slots=True, repr=False)
class Outcome(Generic[S]):
    """The result of a run in memory."""

    status: Status
    state: S  # the last complete state
    events: list[Event] = field(repr=False)
    error: ExecutionError | None = None
    pause: Paused | None = None  # of a waiting run

    def __repr__(self) -> str:
        """Return status, path and error, which a failed assertion shows."""
        parts = [f"{self.status} after {' → '.join(self.path) or 'no step'}"]
        if self.error is not None:
            parts.append(describe(self.error))
        if self.pause is not None:
            parts.append(f"“{self.pause.node}” {self.pause.question}")
        return f"<Outcome {': '.join(parts)}; {self.state!r}>"

    @property
    def stages(self) -> list[Stage]:
        """The steps in order; a step that paused appears again after its resume."""
        return _stages(self.events)

    @property
    def decisions(self) -> list[Decision]:
        """Every evaluation of an edge, in order."""
        return [
            _decision(event)
            for event in self.events
            if event.type == EventType.EDGE_EVALUATE
        ]

    @property
    def path(self) -> list[str]:
        """The names of the nodes that completed, in order."""
        return [stage.node for stage in self.stages if stage.status == "completed"]


class _Recorder:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


GivenAnswer: TypeAlias = Any
"""A value, an `Answer`, or a function of the Paused that returns either."""


class Options(TypedDict, total=False):
    """Options of a run in memory."""

    runtime: object  # passed to the nodes, for example a fake
    answers: Mapping[
        Any, GivenAnswer
    ]  # by node or its name: of a person or a child run
    subworkflows: Mapping[str, Workflow[Any]]  # by name: run if there is no answer
    clock: ManualClock  # waits and sleeps return immediately
    secrets: Mapping[
        str, str
    ]  # passed at launch; never stored, nor in the outcome's events
    cancellation: Cancellation  # as for `Graph.execute`
    deadline: float  # seconds, as for `Graph.execute`


def run_in_memory(
    workflow: Workflow[S], params: Any = None, **options: Unpack[Options]
) -> Outcome[S]:
    """Run a workflow to its end, or to a pause without an answer, and return the outcome.

    `params` is a mapping or an instance of the workflow's params; see also `Options`.
    """

    def run() -> Outcome[S]:
        with asyncio.Runner(loop_factory=ResilientLoop) as runner:
            return runner.run(run_in_memory_async(workflow, params, **options))

    with ThreadPoolExecutor(1) as thread:  # the caller's thread may have a running loop
        return thread.submit(run).result()


async def run_in_memory_async(
    workflow: Workflow[S], params: Any = None, **options: Unpack[Options]
) -> Outcome[S]:
    """`run_in_memory` for async tests."""
    return await _MemoryRun(workflow, options).outcome(params)


class _MemoryRun(Generic[S]):
    def __init__(self, workflow: Workflow[S], options: Options, depth: int = 0) -> None:
        self.workflow = workflow
        self.depth = depth  # number of parent runs
        self.options = options
        self.clock = options.get("clock") or ManualClock()
        self.recorder = _Recorder()
        self.secrets = options.get("secrets", {})
        self.answers = {
            node if isinstance(node, str) else node.name: answer_value
            for node, answer_value in options.get("answers", {}).items()
        }
        self.limits: dict[str, Any] = {
            name: options.get(name) for name in ("runtime", "cancellation", "deadline")
        }
        config = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))
        if workflow.config is not None:
            config = config.merge(workflow.config)
        self.graph = Graph(
            workflow.name,
            config,
            self.recorder,
            MemoryStore(),
            self.clock,
            self._check_child,
        )

    async def outcome(self, params: Any) -> Outcome[S]:
        runtime = self.limits["runtime"]
        state = call_contained(
            partial(self.workflow.factory, self.graph, runtime, params)
        )
        for name, secret in self.secrets.items():
            state = state.set_secret(name, secret)
        step = self.graph.execute(state.stamped(run_id=RUN_ID), **self.limits)
        for _ in range(MAX_PAUSES):
            try:
                return self._make_outcome("completed", await step)
            except ExecutionError as error:
                status: Status = "cancelled" if error.is_cancelled else "failed"
                return self._make_outcome(status, error.state or state, error=error)
            except Paused as pause:
                answer = await self._answer(pause)
                if answer is None:
                    return self._make_outcome(
                        "waiting", pause.state or state, pause=pause
                    )
                step = self._resume(pause, answer)
        step.close()
        raise RuntimeError(
            f"The run paused {MAX_PAUSES} times and its answers lead in a circle: give a function "
            "as the answer, so that it can change."
        )

    def _resume(self, pause: Paused, answer: Answer) -> Any:
        return self.graph.resume(
            RUN_ID,
            enter=pause.node,
            answer=answer,
            secrets=self.secrets,
            state_type=self.workflow.state_type,
            **self.limits,
        )

    def _make_outcome(self, status: Status, state: Any, **details: Any) -> Outcome[S]:
        return Outcome(status, state, self.recorder.events, **details)

    async def _answer(self, pause: Paused) -> Answer | None:
        """Return the answer to a pause, or None."""
        if pause.node in self.answers:
            answer_value = self.answers[pause.node]
            answer_value = (
                answer_value(pause) if callable(answer_value) else answer_value
            )
            answer = _as_answer(answer_value, self.clock)
            if answer.expired and pause.until is not None:
                self.clock.move_to(pause.until)
            return answer
        if pause.kind == "wait" and pause.until is not None:
            self.clock.wait_until(pause.until)
            return Answer(at=self.clock.now())
        children = self.options.get("subworkflows", {})
        if pause.kind == "subworkflow" and pause.workflow in children:
            return await self._child(children[pause.workflow], pause)
        return None

    async def _check_child(
        self, context: NodeContext, name: str, answer_value: Any
    ) -> Any:
        """Return the params of a child as they would be stored. Raises RequestError.

        An unknown child is an error if `subworkflows` is given and its node has no answer.
        """
        children = self.options.get("subworkflows")
        if children is not None and name in children:
            return check_launch(children[name], answer_value)
        if children is not None and context.node not in self.answers:
            known = ", ".join(sorted(children)) or "none"
            raise RequestError(
                f"There is no workflow “{name}”. run_in_memory was given {known}."
            )
        return answer_value

    async def _child(self, workflow: Workflow[Any], pause: Paused) -> Answer:
        if self.depth >= MAX_DEPTH:
            return Answer(
                error=f"this run is {MAX_DEPTH} levels below the run"
                " that was launched, the maximum. Check for a workflow that"
                " launches itself"
            )
        options: Options = {**self.options, "clock": self.clock}
        child = _MemoryRun(workflow, options, self.depth + 1)
        outcome = await child.outcome(pause.params)
        if outcome.status == "completed":
            return Answer(outcome.state.data, at=self.clock.now())
        return Answer(error=str(outcome.error or f"it is {outcome.status}"))


def _as_answer(answer_value: Any, clock: ManualClock) -> Answer:
    if isinstance(answer_value, Answer):
        return answer_value
    value = plain(answer_value) if isinstance(answer_value, BaseModel) else answer_value
    return Answer(value, by="someone", at=clock.now())


def _stages(events: list[Event]) -> list[Stage]:
    stages: list[Stage] = []
    for event in events:
        data = event.data
        if event.type == EventType.NODE_START:
            stages.append(
                Stage(
                    data["node"],
                    data["sequence"],
                    data["iteration"],
                    input=data["input_snapshot"],
                )
            )
        elif event.type == EventType.NODE_RETRY and "item_index" not in data:
            stages[-1].tries = data["try"] + 1
        elif event.type == EventType.GRAPH_PAUSE:
            stages[-1].status = "waiting"
        elif event.type == EventType.NODE_COMPLETE:
            stages[-1].status = _final_status(data)
            stages[-1].error = data.get("error_message", "")
            stages[-1].output = data["output_snapshot"]
    return stages


def _final_status(
    data: Mapping[str, Any],
) -> Literal["completed", "failed", "cancelled"]:
    if not data["error"]:
        return "completed"
    return "cancelled" if data["cancelled"] else "failed"


def _decision(event: Event) -> Decision:
    data = event.data
    return Decision(
        source=data["from"],
        target=data["to"],
        index=data["edge_index"],
        predicate=data["predicate_name"],
        result=data["predicate_result"],
        reason=data["reason"],
        values=data["values"],
        sequence=data["sequence"],
    )
