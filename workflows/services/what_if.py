"""What-if reports: recorded decisions evaluated again with other conditions.

The edges of today's workflow, with other thresholds, or of another version of its file, are
selected for the recorded states. Each run counts once, at the first decision that would be another
one: what followed it is not known for the other edge. Nothing is written, and no node runs.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from workflows.engine import Workflow
from workflows.engine.author_code import call_contained
from workflows.engine.errors import CheckpointMismatch, PredicateFailed, describe
from workflows.engine.input_validation import reason_of
from workflows.engine.round_trip import first_problem
from workflows.engine.thresholds import thresholds_of
from workflows.engine.timed_calls import CallTimedOut, TimedCalls
from workflows.engine.what_if import NO_EDGE, RecordedState, Routing, Selection
from workflows.errors import InvalidParams, WhatIfUnavailable
from workflows.execution.recorded_decisions import RecordedDecision, by_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.engine.thresholds import Place, Threshold
    from workflows.models import Run
    from workflows.registry import AnyWorkflow

CALL_SECONDS: Final = 2.0  # that the conditions of one decision get
MAX_REASON_CHARS: Final = 500  # of an error of a condition
Calls: TypeAlias = TimedCalls[Selection]


class Skipped(StrEnum):
    """Why decisions were not evaluated."""

    OVERRIDE = "a person chose the edge (override)"
    FIRST = "what came first decided, or a branch ended: no condition of an edge"
    REMOVED = "the states of the run were deleted by retention"
    NO_STATE = "the state is not stored, or its row is damaged"
    NO_NODE = "the node does not exist any more"
    MISMATCH = "the state does not fit today’s fields"
    BLOCKED = (
        f"the conditions of this node took longer than {CALL_SECONDS:.0f} s before"
    )
    LONG = "the run is too long for one page: use the command"

    @property
    def is_expected(self) -> bool:
        """Whether no condition made the decision, so that none can be evaluated."""
        return self in {Skipped.OVERRIDE, Skipped.FIRST}


@dataclass(frozen=True, slots=True)
class Finding:
    """A decision that would be another one, or whose condition fails now."""

    run_id: UUID
    sequence: int  # of the step whose node the edge leaves
    node: str
    recorded: str  # the node that followed; NO_EDGE if none did
    today: str  # the node that would follow, NO_EDGE or END; "" if a condition failed
    reason: str

    @property
    def has_failed(self) -> bool:
        """Whether a condition failed, so that the run would fail here."""
        return not self.today


Edge: TypeAlias = tuple[str, str, str]  # node, recorded target, today's target


@dataclass(slots=True)
class Report:
    """Counts of a what-if report."""

    runs: int = 0
    decisions: int = 0  # with a condition, evaluated
    unconditional: int = 0  # whose node has one edge, followed always
    elsewhere: Counter[Edge] = field(default_factory=Counter)  # runs by edge
    failed: Counter[str] = field(default_factory=Counter)  # runs by node
    skipped: Counter[Skipped] = field(default_factory=Counter)
    older_than: UUID | None = None  # the last run evaluated, if older ones are left

    @property
    def runs_elsewhere(self) -> int:
        """Number of runs that would have gone elsewhere."""
        return self.elsewhere.total()

    @property
    def runs_failed(self) -> int:
        """Number of runs in which a condition failed."""
        return self.failed.total()

    @property
    def unexpected(self) -> int:
        """Number of decisions that could not be evaluated though a condition made them."""
        return sum(n for why, n in self.skipped.items() if not why.is_expected)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one report evaluates at most, the newest runs first; None: everything."""

    runs: int | None = None
    seconds: float | None = None  # checked between runs
    decisions: int | None = None  # of one run


EVERYTHING: Final = Limits()


class WhatIf:
    """The evaluation of the decisions of some runs of a workflow."""

    def __init__(
        self, routing: Routing, runs: QuerySet[Run], limits: Limits = EVERYTHING
    ) -> None:
        """`runs` are in no order."""
        self.report = Report()
        self._routing, self._runs, self._limits = routing, runs, limits
        self._blocked: set[str] = set()  # nodes

    def findings(self) -> Iterator[Finding]:
        """Evaluate the runs; yield the first finding of each. `report` counts meanwhile."""
        ends = time.monotonic() + (self._limits.seconds or 0.0)
        with TimedCalls[Selection](CALL_SECONDS) as calls:
            last: UUID | None = None
            for run, decisions in by_run(self._runs):
                if last is not None and self._is_over(ends):
                    self.report.older_than = last
                    return
                self.report.runs += 1
                finding = self._first_finding(run, decisions, calls)
                if finding is not None:
                    self._count(finding)
                    yield finding
                last = run.pk

    def _is_over(self, ends: float) -> bool:
        if self._limits.runs is not None and self.report.runs >= self._limits.runs:
            return True
        return self._limits.seconds is not None and time.monotonic() >= ends

    def _count(self, finding: Finding) -> None:
        if finding.has_failed:
            self.report.failed[finding.node] += 1
        else:
            edge = finding.node, finding.recorded, finding.today
            self.report.elsewhere[edge] += 1

    def _first_finding(
        self, run: Run, decisions: Iterable[RecordedDecision], calls: Calls
    ) -> Finding | None:
        limit = self._limits.decisions
        for number, decision in enumerate(decisions):
            if limit is not None and number >= limit:
                self.report.skipped[Skipped.LONG] += 1
                return None
            finding = self._evaluate(run, decision, calls)
            if isinstance(finding, Skipped):
                self.report.skipped[finding] += 1
            elif finding is not None:
                return finding
        return None

    def _evaluate(
        self, run: Run, decision: RecordedDecision, calls: Calls
    ) -> Finding | Skipped | None:
        """Return a finding, why the decision is not evaluated, or None if it is the same."""
        found = self._reason_to_skip(run, decision) or self._select(
            run, decision, calls
        )
        if isinstance(found, Skipped):
            return found
        recorded = decision.target or NO_EDGE
        today, reason = (
            ("", found) if isinstance(found, str) else (found.target, found.reason)
        )
        # without an edge, the run failed at this step: a condition that fails is no change
        if recorded in {today, today or NO_EDGE}:
            return None
        return Finding(
            run.pk, decision.sequence, decision.node, recorded, today, reason
        )

    def _reason_to_skip(self, run: Run, decision: RecordedDecision) -> Skipped | None:
        reasons = {
            Skipped.OVERRIDE: decision.is_override,
            Skipped.FIRST: (
                not decision.is_routed or self._routing.is_inner(decision.node)
            ),
            Skipped.REMOVED: run.payload_removed_at is not None,
            Skipped.NO_STATE: decision.state is None,
            Skipped.NO_NODE: not self._routing.has(decision.node),
            Skipped.BLOCKED: decision.node in self._blocked,
        }
        return next((why for why, holds in reasons.items() if holds), None)

    def _select(
        self, run: Run, decision: RecordedDecision, calls: Calls
    ) -> Selection | Skipped | str:
        """Return what follows; or why that is not known; or the text of a failed condition."""
        state = decision.state
        assert state is not None  # noqa: S101 - else it is skipped
        fixed = self._routing.fixed_target(
            decision.node, has_failed=state.failure is not None
        )
        if fixed is not None:
            self.report.unconditional += 1
            return Selection(fixed, "the node has no other edge")
        recorded = RecordedState(
            run_id=str(run.pk),
            sequence=decision.sequence,
            node=decision.node,
            data=state.data,
            failure=state.failure,
            fingerprint=run.fingerprint,
            params=run.params,
        )
        try:
            selection = calls.call(partial(self._routing.select, recorded))
        except CheckpointMismatch:
            return Skipped.MISMATCH
        except PredicateFailed as error:
            failed: Selection | str = error.evaluation.reason
        except CallTimedOut:
            self._blocked.add(decision.node)
            failed = f"the conditions took longer than {CALL_SECONDS:.0f} s"
        except Exception as error:  # author code: a migration, a validator of the state
            failed = f"{type(error).__name__}: {describe(error)}"
        else:
            failed = selection
        self.report.decisions += 1
        return failed if isinstance(failed, Selection) else failed[:MAX_REASON_CHARS]


# What is evaluated ----------------------------------------------------------------------


def require_declared(workflow: AnyWorkflow) -> Workflow[Any]:
    """Return a workflow with edges known at import. Raises WhatIfUnavailable."""
    if not isinstance(workflow, Workflow):
        raise WhatIfUnavailable(workflow.name)
    return workflow


def values_of(
    thresholds: Iterable[Threshold], settings: Mapping[str, str]
) -> dict[Place, Any]:
    """Return the values of settings by name. Raises InvalidParams, with what can be set."""
    known = {one.name: one for one in thresholds}
    values: dict[Place, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, text in settings.items():
        if name not in known:
            names = ", ".join(known) or "nothing"
            errors[name] = [f"No threshold has this name. Can be set: {names}."]
            continue
        one = known[name]
        try:
            values[one.place] = call_contained(partial(one.read, text))
        except ValidationError as error:
            errors[name] = [f"“{text}” is no value of it: {first_problem(error)}"]
        except Exception as error:  # an author's validator may raise anything
            errors[name] = [reason_of(error)]
    if errors:
        raise InvalidParams(errors)
    return values


def routing_of(workflow: AnyWorkflow, settings: Mapping[str, str]) -> Routing:
    """Return the routes of a workflow with some thresholds set.

    Raises WhatIfUnavailable, InvalidParams.
    """
    declared = require_declared(workflow)
    return Routing(declared, values_of(thresholds_of(declared), settings))


def newest(findings: Iterator[Finding], count: int) -> list[Finding]:
    """Return the first findings, and evaluate the rest without keeping it."""
    kept = list(islice(findings, count))
    for _ in findings:
        pass
    return kept
