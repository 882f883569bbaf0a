"""Execution of a workflow in memory, for tests in plain pytest without Django or a database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from .author_code import call_contained
from .cancellation import Cancellation
from .checkpoints import MemoryStore
from .child_groups import Counts, failure_text
from .child_nodes import ContinueAsNew
from .config import CheckpointConfig, GraphConfig
from .context import Answer, NodeContext
from .errors import ChildRuns, ExecutionError, Paused, RequestError, describe
from .events import Event, EventType
from .graph import Graph
from .input_validation import check_launch
from .manual_clock import ManualClock
from .memory_records import Decision, Stage, decision_of, stages_of
from .memory_responses import Responses
from .outcomes import EndStatus, RunOutcome
from .protected_loop import ResilientLoop
from .state import State
from .undo_and_end_nodes import Closing, StepToUndo
from .workflow import Workflow

__all__ = [
    "Decision",
    "Launched",
    "ManualClock",
    "Options",
    "Outcome",
    "Stage",
    "run_in_memory",
    "run_in_memory_async",
]

S = TypeVar("S", bound=State)

Status: TypeAlias = Literal["completed", "failed", "cancelled", "waiting"]

RUN_ID = "run-in-memory"
MAX_PAUSES = 1_000  # more are assumed to be an endless loop
MAX_DEPTH = 50  # of nested child runs, like the default of a server


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that a `launch` node would launch on a server; it is not executed in memory."""

    node: str
    workflow: str
    params: Mapping[str, Any]  # as stored
    run_id: str


@dataclass(slots=True, repr=False)
class Outcome(Generic[S]):
    """The result of a run in memory."""

    status: Status
    state: S  # the last complete state
    events: list[Event] = field(repr=False)
    error: ExecutionError | None = None
    pause: Paused | None = None  # of a waiting run
    undone: str = ""  # such as "3 of 4 undone"; "" if no step had to be undone
    launched: list[Launched] = field(default_factory=list)  # by its `launch` nodes
    next_params: Mapping[str, Any] | None = None  # of the run that continues it

    def __repr__(self) -> str:
        """Return status, path and error, which a failed assertion shows."""
        parts = [f"{self.status} after {' → '.join(self.path) or 'no step'}"]
        if self.error is not None:
            parts.append(describe(self.error))
        if self.undone:
            parts.append(self.undone)
        if self.next_params is not None:
            parts.append(f"continues with {dict(self.next_params)}")
        if self.pause is not None:
            parts.append(f"“{self.pause.node}” {self.pause.question}")
        return f"<Outcome {': '.join(parts)}; {self.state!r}>"

    @property
    def stages(self) -> list[Stage]:
        """The steps in order; a step that paused appears again after its resume."""
        return stages_of(self.events)

    @property
    def decisions(self) -> list[Decision]:
        """Every evaluation of an edge, in order."""
        return [
            decision_of(event)
            for event in self.events
            if event.type == EventType.EDGE_EVALUATE
        ]

    @property
    def path(self) -> list[str]:
        """The names of the nodes that completed, in order, up to the end of the run."""
        return [
            stage.node
            for stage in self.stages
            if stage.status == "completed" and stage.kind == "node"
        ]


class _Recorder:
    """Collects events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


GivenAnswer: TypeAlias = Any
"""A value, an `Answer`, a list of them for an approval with `votes=`, or a function of the Paused
that returns one of these, or None: there is no answer."""


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
    deadline: float  # seconds from the launch, in place of that of the workflow
    by: str  # the name of the person who launches the run, for `not_by="launcher"`


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


class _Launcher:
    """Keeps the runs that nodes launch, by step."""

    def __init__(self, run: _MemoryRun[Any]) -> None:
        self._run = run
        self.launched: dict[str, Launched] = {}
        self.next_params: Mapping[str, Any] | None = None

    async def launch(self, context: NodeContext, workflow: str, params: Any) -> str:
        run_id = f"launched-by-{context.key}"
        found = Launched(context.node, workflow, params, run_id)
        return self.launched.setdefault(context.key, found).run_id

    async def prepare_successor(self, context: NodeContext, params: Any) -> None:  # noqa: ARG002
        self.next_params = check_launch(self._run.workflow, params)


class _Store(MemoryStore):
    """Notes whether a failure route has taken the deadline; makes addresses of callbacks."""

    is_deadline_over = False

    def save(self, state: State) -> None:
        super().save(state)
        failure = state.step_failure
        self.is_deadline_over |= failure is not None and failure.is_deadline

    async def open_callback(self, context: NodeContext, _until: datetime | None) -> str:
        """Return an address to which nothing is connected."""
        return f"https://signalbox.test/callbacks/{context.node}"


class _MemoryRun(Generic[S]):
    def __init__(self, workflow: Workflow[S], options: Options, depth: int = 0) -> None:
        self.workflow = workflow
        self.depth = depth  # number of parent runs
        self.options = options
        self.clock = options.get("clock") or ManualClock()
        self.responses = Responses(options.get("by", ""), self.clock)
        self.recorder = _Recorder()
        self.secrets = options.get("secrets", {})
        self.answers = {
            node if isinstance(node, str) else node.name: answer_value
            for node, answer_value in options.get("answers", {}).items()
        }
        self.limits: dict[str, Any] = {
            name: options.get(name) for name in ("runtime", "cancellation")
        }
        self.store = _Store()
        self.launcher = _Launcher(self)
        self.deadline_at: float | None = None  # on the clock
        config = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))
        if workflow.config is not None:
            config = config.merge(workflow.config)
        self.graph = Graph(
            workflow.name,
            config,
            self.recorder,
            self.store,
            self.clock,
            self._check_child,
            self.launcher,
        )

    async def outcome(self, params: Any) -> Outcome[S]:
        runtime = self.limits["runtime"]
        state = call_contained(
            partial(self.workflow.factory, self.graph, runtime, params)
        )
        for name, secret in self.secrets.items():
            state = state.set_secret(name, secret)
        self.deadline_at = self._deadline()
        step = self.graph.execute(
            state.stamped(run_id=RUN_ID), deadline=self._seconds_left(), **self.limits
        )
        for _ in range(MAX_PAUSES):
            try:
                end = await step
                await self._close(RunOutcome("completed"), end)
                return self._make_outcome("completed", end)
            except ExecutionError as error:
                return await self._failed(error, error.state or state)
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

    def _deadline(self) -> float | None:
        """Return the deadline on the clock, for a launch now."""
        seconds = self.options.get("deadline")
        if seconds is None and self.workflow.deadline is not None:
            seconds = self.workflow.deadline.total_seconds()
        return None if seconds is None else self.clock.monotonic() + seconds

    def _seconds_left(self) -> float | None:
        if self.deadline_at is None or self.store.is_deadline_over:
            return None
        return max(self.deadline_at - self.clock.monotonic(), 0.0)

    def _resume(self, pause: Paused, answer: Answer) -> Any:
        return self.graph.resume(
            RUN_ID,
            enter=pause.node,
            answer=answer,
            secrets=self.secrets,
            state_type=self.workflow.state_type,
            deadline=self._seconds_left(),
            **self.limits,
        )

    async def _failed(self, error: ExecutionError, state: Any) -> Outcome[S]:
        status: EndStatus = "cancelled" if error.is_cancelled else "failed"
        code = "deadline" if error.is_deadline else error.code
        outcome = RunOutcome(status, code, describe(error), error.node)
        undone = await self._close(outcome, state)
        return self._make_outcome(status, state, error=error, undone=undone)

    async def _close(self, outcome: RunOutcome, state: Any) -> str:
        """Undo the steps of a run that failed or was cancelled, then run its on_end node."""
        stages = stages_of(self.recorder.events)
        last = max((stage.sequence for stage in stages), default=0)
        closing = Closing(self.graph, self.limits["runtime"], state, state.sequence)
        for _ in range(state.sequence, last):  # the step at which the run ended
            closing.skip_step(stages[-1].node)
        to_undo = [] if outcome.status == "completed" else self._steps_to_undo(stages)
        for step in to_undo:
            undone = outcome.undone + await closing.undo(step)
            outcome = replace(outcome, undone=undone)
        outcome = replace(outcome, to_undo=len(to_undo))
        await closing.end(_loader(state), outcome)
        return outcome.undo_text

    def _steps_to_undo(self, stages: list[Stage]) -> list[StepToUndo]:
        """Return the completed steps that are to be undone, the newest first."""
        return [
            StepToUndo(stage.sequence, stage.node, _loader(self._state_after(stage)))
            for stage in reversed(stages)
            if stage.status == "completed" and stage.node in self.graph.undo
        ]

    def _state_after(self, stage: Stage) -> State:
        return self.workflow.state_type.from_data(
            stage.output or {},
            run_id=RUN_ID,
            checkpoint_node=stage.node,
            sequence=stage.sequence,
            secrets=self.secrets,
        )

    def _make_outcome(self, status: Status, state: Any, **details: Any) -> Outcome[S]:
        launched = [*self.launcher.launched.values()]
        is_continued = status == "completed" and self._is_continued(state)
        next_params = self.launcher.next_params if is_continued else None
        details |= {"launched": launched, "next_params": next_params}
        return Outcome(status, state, self.recorder.events, **details)

    def _is_continued(self, state: State) -> bool:
        """Return whether the run ended at a node that continues it as a new one."""
        return isinstance(self.graph.nodes.get(state.checkpoint_node), ContinueAsNew)

    async def _answer(self, pause: Paused) -> Answer | None:
        """Return the answer to a pause, or None."""
        if pause.node in self.answers:
            return self._given_answer(pause)
        if pause.kind == "wait" and pause.until is not None:
            self.clock.wait_until(self._end_of_wait(pause.until))
            return Answer(at=self.clock.now())
        if pause.kind == "subworkflow":
            return await self._answer_of_children(pause)
        return self._first_answer(pause.parts)

    def _first_answer(self, parts: Sequence[Paused]) -> Answer | None:
        """Return the answer to the first part that has one, else the end of the first time.

        As on a server, a part that expires comes first as well; without a wait or sleep among
        the parts, no time passes.
        """
        for part in parts:
            if part.node in self.answers and (given := self._given_answer(part)):
                return replace(given, choice=part.node)
        if not any(part.kind == "wait" for part in parts):
            return None
        timed = [(part.until, part) for part in parts if part.until is not None]
        until, first = min(timed, key=lambda one: one[0])
        self.clock.wait_until(self._end_of_wait(until))
        is_expired = first.kind != "wait"
        return Answer(at=self.clock.now(), expired=is_expired, choice=first.node)

    async def _answer_of_children(self, pause: Paused) -> Answer | None:
        child = self._child_workflow(pause.workflow, pause.node)
        if child is None:
            return None
        if pause.children is not None:
            return await self._children(child, pause, pause.children)
        return await self._child(child, pause)

    def _child_workflow(self, name: str, node: str) -> Workflow[Any] | None:
        """Return the workflow that a node launches: a given one, or that of the node itself."""
        given = self.options.get("subworkflows", {}).get(name)
        found: Workflow[Any] | None = getattr(self.graph.nodes[node], "child", None)
        return given or found

    def _given_answer(self, pause: Paused) -> Answer | None:
        answer_value = self.answers[pause.node]
        if callable(answer_value):
            answer_value = answer_value(pause)
            if answer_value is None:
                return None
        if pause.kind == "approval":
            answer = self.responses.accept(pause, answer_value)
        else:
            answer = self.responses.as_answer(answer_value)
        if answer is not None and answer.expired and pause.until is not None:
            self.clock.move_to(pause.until)
        return answer

    def _end_of_wait(self, until: datetime) -> datetime:
        """Return when a wait ends: at the deadline of the run, if that is before."""
        left = self._seconds_left()
        if left is None:
            return until
        return min(until, self.clock.now() + timedelta(seconds=left))

    async def _check_child(
        self, context: NodeContext, name: str, answer_value: Any
    ) -> Any:
        """Return the params of a child as they would be stored. Raises RequestError.

        An unknown child is an error if `subworkflows` is given and its node has no answer.
        """
        children = self.options.get("subworkflows")
        child = self._child_workflow(name, context.node)
        if child is not None:
            return check_launch(child, answer_value)
        if children is not None and context.node not in self.answers:
            known = ", ".join(sorted(children)) or "none"
            raise RequestError(
                f"There is no workflow “{name}”. run_in_memory was given {known}."
            )
        return answer_value

    async def _children(
        self, workflow: Workflow[Any], pause: Paused, runs: ChildRuns
    ) -> Answer:
        """Run a child per element, one after another, until the node has what it needs."""
        results: list[Any] = [None] * len(runs.params)
        errors: list[str] = []
        counts = Counts(len(runs.params))
        for index, params in enumerate(runs.params):
            answer = await self._child(workflow, pause, params)
            if answer.error:
                errors.append(answer.error)
            else:
                results[index] = answer.value
            counts = Counts(
                len(runs.params), index + 1 - len(errors), failed=len(errors)
            )
            verdict = counts.verdict(runs.need, fail_fast=runs.fail_fast)
            if verdict == "failed":
                return Answer(error=failure_text(counts, runs.need, errors[0]))
            if verdict:
                break
        return Answer(results, at=self.clock.now())

    async def _child(
        self, workflow: Workflow[Any], pause: Paused, given: Any = None
    ) -> Answer:
        if self.depth >= MAX_DEPTH:
            return Answer(
                error=f"this run is {MAX_DEPTH} levels below the run"
                " that was launched, the maximum. Check for a workflow that"
                " launches itself"
            )
        options: Options = {**self.options, "clock": self.clock}
        options.pop("deadline", None)  # a child has that of its workflow
        params: Any = pause.params if given is None else given
        for _ in range(MAX_PAUSES):
            child = _MemoryRun(workflow, options, self.depth + 1)
            outcome = await child.outcome(params)
            params = outcome.next_params
            if params is None:
                break
        else:
            return Answer(error=f"it continued as a new run {MAX_PAUSES} times")
        if outcome.status == "completed":
            return Answer(outcome.state.data, at=self.clock.now())
        return Answer(error=str(outcome.error or f"it is {outcome.status}"))


def _loader(state: State) -> Callable[[], Awaitable[State]]:
    async def load() -> State:
        return state

    return load
