"""The spans of a run that a worker executes: the run, its steps and their tries.

A step's span is current while its node runs, so that log lines of the node have its ids and
agent calls are below it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from workflows.engine import EventType
from workflows.infra import tracing
from workflows.models import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

    from workflows.engine.events import Event
    from workflows.models import Run

NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True)
class OpenStep:
    """The span of a step in progress, which is current while its node runs."""

    span: Span
    token: Token[Context]
    # number and start of the try in progress, by item; None: the step itself
    tries: dict[int | None, tuple[int, int]] = field(default_factory=dict)

    def end(self) -> None:
        """End the span, in the task that started it."""
        contexts.detach(self.token)
        self.span.end()


class RunSpans:
    """Spans of one execution of a run; use it in the task that executes the run."""

    def __init__(self, tracer: Tracer, run: Run) -> None:
        """Start the span of the run, as a child of the launch, and make it current."""
        self._tracer = tracer
        self._run = tracer.start_span(
            f"run {run.workflow_name}",
            tracing.context_of(run.traceparent),
            kind=SpanKind.CONSUMER,
            attributes={
                "signalbox.run.id": str(run.pk),
                "signalbox.workflow": run.workflow_name,
                "signalbox.attempt": run.attempt,
            },
        )
        self._run_token = contexts.attach(trace.set_span_in_context(self._run))
        self._step: OpenStep | None = None
        self._branch_steps: dict[int, OpenStep] = {}  # by sequence, within the step

    @classmethod
    def of(cls, run: Run) -> RunSpans | None:
        """Return the spans of a run, None if tracing is off."""
        tracer = tracing.tracing.tracer
        return None if tracer is None else cls(tracer, run)

    def on_event(self, event: Event) -> None:
        """Start and end spans of steps and tries."""
        handle = _HANDLERS.get(event.type)
        if handle is not None:
            handle(self, event.data)

    def ended(self, status: str, code: str = "") -> None:
        """Note the outcome of this execution: a status, with the code of a failure."""
        self._run.set_attribute("signalbox.status", status)
        if status == Status.FAILED:
            tracing.fail(self._run, code or "failed")

    def finish(self) -> None:
        """End what is open."""
        self._end_step()
        contexts.detach(self._run_token)
        self._run.end()

    # -- steps ------------------------------------------------------------------------

    def _on_start(self, data: Any) -> None:
        is_of_branch = "branch" in data
        if not is_of_branch:
            self._end_step()
        span = self._tracer.start_span(
            f"step {data['node']}",
            attributes={
                "signalbox.node": data["node"],
                "signalbox.step": data["sequence"],
                **({"signalbox.branch": data["branch"]} if is_of_branch else {}),
            },
        )
        # of a branch: in the context of its own task, which ends with it
        step = OpenStep(span, contexts.attach(trace.set_span_in_context(span)))
        if is_of_branch:
            self._branch_steps[data["sequence"]] = step
        else:
            self._step = step

    def _step_of(self, data: Any) -> OpenStep | None:
        return self._branch_steps.get(data.get("sequence"), self._step)

    def _on_retry(self, data: Any) -> None:
        """Add the span of the try that failed."""
        step = self._step_of(data)
        if step is None:
            return
        item, now = data.get("item_index"), time.time_ns()
        number, started = step.tries.get(item, (data["try"], 0))
        self._add_try(step, number, started, now, is_failed=True, item=item)
        wait = int(data.get("wait_seconds", 0) * NANOSECONDS)
        step.tries[item] = (data["try"] + 1, now + wait)

    def _on_complete(self, data: Any) -> None:
        step = self._step_of(data)
        if step is None:
            return
        now = time.time_ns()
        is_failed = bool(data.get("error"))
        for item, (number, started) in step.tries.items():
            is_last = is_failed and item is None
            self._add_try(
                step, number, min(started, now), now, is_failed=is_last, item=item
            )
        if is_failed:
            tracing.fail(step.span, "node_failed")
        if step is self._step:
            self._end_step()
        else:
            del self._branch_steps[data["sequence"]]
            step.end()

    def _add_try(  # noqa: PLR0913 - one argument per attribute
        self,
        step: OpenStep,
        number: int,
        started: int,
        ended: int,
        *,
        is_failed: bool,
        item: int | None,
    ) -> None:
        attributes = {"signalbox.try": number}
        if item is not None:
            attributes["signalbox.item"] = item
        begun = started or _start_of(step.span) or ended
        one = self._tracer.start_span(
            f"try {number}",
            trace.set_span_in_context(step.span),
            start_time=begun,
            attributes=attributes,
        )
        if is_failed:
            tracing.fail(one, "retry")
        one.end(end_time=ended)

    def _on_stop(self, data: Any) -> None:  # noqa: ARG002 - as all handlers
        self._end_step()

    def _end_step(self) -> None:
        for step in self._branch_steps.values():
            step.span.end()  # its task has ended, and its context with it
        self._branch_steps = {}
        if self._step is not None:
            self._step.end()
            self._step = None


def _start_of(step: Span) -> int | None:
    """Return when a span of the SDK began, in nanoseconds."""
    return getattr(step, "start_time", None)


_HANDLERS: Final[dict[str, Callable[[RunSpans, Any], None]]] = {
    EventType.NODE_START: RunSpans._on_start,  # noqa: SLF001 - a table of methods
    EventType.NODE_RETRY: RunSpans._on_retry,  # noqa: SLF001
    EventType.NODE_COMPLETE: RunSpans._on_complete,  # noqa: SLF001
    EventType.GRAPH_PAUSE: RunSpans._on_stop,  # noqa: SLF001
    EventType.GRAPH_ERROR: RunSpans._on_stop,  # noqa: SLF001
}
