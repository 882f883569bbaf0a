"""Everything the page of a run shows, read in a fixed number of queries.

The page, its live regions and the socket are all drawn from this: one truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from django.urls import reverse

from workflows.models import (
    Approval,
    ApprovalStatus,
    Attempt,
    Decision,
    Document,
    Intervention,
    LogLine,
    Run,
    Stage,
)
from workflows.pages import evidence
from workflows.pages.access import Rights
from workflows.pages.attention import Notice, how_it_went_on, notice
from workflows.pages.diagram import Diagram
from workflows.pages.forms import SchemaForm
from workflows.pages.inbox import count_for, is_for
from workflows.pages.regions import drawn
from workflows.pages.run_diagram import draw_run

STEPS_SHOWN = 100  # newest ones; the rest is a page away
LINES_SHOWN = 200
TEMPLATE = "runs/detail.html"
REGIONS = (
    "run-title",
    "run-status",
    "run-notice",
    "run-approval",
    "run-graph",
    "run-path",
    "run-result",
    "run-log",
    "run-facts",
    "nav-waiting",
)
ANSWER = "answer"  # prefix of the fields of an answer


@dataclass(slots=True)
class Step:
    """One entry of the way a run went: a stage and what was decided after it."""

    attempt: int
    sequence: int
    stage: Stage | None = None
    decisions: list[Decision] = field(default_factory=list)
    notice: Notice | None = None  # at the first step of a later attempt

    @property
    def answered(self) -> Decision | None:
        """Return the decision that a person made here."""
        return next((one for one in self.decisions if one.decided_by_id), None)


class RunPage:
    """One run as its page shows it to someone with these rights."""

    def __init__(
        self, run: Run, rights: Rights, form: SchemaForm | None = None
    ) -> None:
        """Take the run and, after a refused answer, the form that was filled in."""
        self.run = run
        self.rights = rights
        self._form = form

    @cached_property
    def diagram(self) -> Diagram:
        """The graph with what happened."""
        return draw_run(self.run)

    @cached_property
    def approval(self) -> Approval | None:
        """The newest question."""
        asked = self.run.approvals.select_related("answered_by")
        return asked.order_by("-sequence").first()

    @property
    def is_asking(self) -> bool:
        """Tell whether a question is open."""
        return bool(self.approval and self.approval.status == ApprovalStatus.OPEN)

    @property
    def may_answer(self) -> bool:
        """Tell whether the question is for the viewer."""
        return bool(self.approval and is_for(self.approval, self.rights.groups))

    @cached_property
    def evidence(self) -> evidence.Evidence:
        """What the question shows."""
        return evidence.read(self.approval.evidence if self.approval else {})

    @cached_property
    def form(self) -> SchemaForm | None:
        """The form of the answer, for those who may answer."""
        if self._form is not None or not self.is_asking or not self.may_answer:
            return self._form
        return answer_form(self.approval) if self.approval else None

    @property
    def outcome(self) -> object:
        """What came of the run: the state's own `result` if it has one, else all of it."""
        final = self.run.result
        own = final.get("result") if isinstance(final, Mapping) else None
        return final if own is None else own

    @property
    def has_own_outcome(self) -> bool:
        """Tell whether the final state holds more than the outcome."""
        return self.outcome is not self.run.result

    @cached_property
    def notice(self) -> Notice | None:
        """What to know first."""
        return notice(self.run, self.approval)

    @cached_property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts, oldest first."""
        return list(self.run.attempts.all())

    @cached_property
    def interventions(self) -> Sequence[Intervention]:
        """What people did, oldest first."""
        return list(self.run.interventions.order_by("id"))

    @cached_property
    def _newest(self) -> tuple[list[Stage], bool]:
        rows = self.run.stages.order_by("-attempt", "-sequence")[: STEPS_SHOWN + 1]
        return list(rows)[:STEPS_SHOWN], len(rows) > STEPS_SHOWN

    @property
    def has_earlier_steps(self) -> bool:
        """Tell whether the list of steps begins before what is shown."""
        return self._newest[1]

    @cached_property
    def steps(self) -> list[Step]:
        """The way it went, oldest first."""
        stages, is_cut = self._newest
        decisions = self.run.decisions.select_related("decided_by")
        if is_cut:
            decisions = decisions.filter(sequence__gte=min(s.sequence for s in stages))
        newest = decisions.order_by("-attempt", "-sequence", "edge_index")
        steps = together(stages, newest[: STEPS_SHOWN * 20])
        return list(self._with_notices(steps))

    def _with_notices(self, steps: Iterable[Step]) -> Iterator[Step]:
        steps = list(steps)
        firsts: dict[int, int] = {}
        for step in steps:
            if step.stage is not None:
                firsts.setdefault(step.attempt, step.sequence)
        told = how_it_went_on(self.attempts, self.interventions, firsts)
        for step in steps:
            step.notice = told.pop(step.attempt, None)
            yield step

    @cached_property
    def _lines(self) -> list[LogLine]:
        newest = self.run.log_lines.order_by("-attempt", "-number")
        return list(newest[: LINES_SHOWN + 1])

    @property
    def log_lines(self) -> list[LogLine]:
        """The newest log lines, oldest first."""
        return self._lines[:LINES_SHOWN][::-1]

    @property
    def has_earlier_lines(self) -> bool:
        """Tell whether the log begins before what is shown."""
        return len(self._lines) > LINES_SHOWN

    @cached_property
    def children(self) -> Sequence[Run]:
        """The runs this one started."""
        return list(self.run.children.order_by("id").defer("params", "result", "graph"))

    @cached_property
    def links(self) -> dict[str, tuple[str, str]]:
        """Addresses and names of the documents that params and result speak of."""
        ids = set(uuids_in([self.run.params, self.run.result]))
        rows = (
            Document.objects.filter(pk__in=ids).values_list("pk", "name") if ids else ()
        )
        return {str(pk): (reverse("document", args=[pk]), name) for pk, name in rows}


def together(stages: Iterable[Stage], decisions: Iterable[Decision]) -> list[Step]:
    """Return stages with the decisions made after them, in the order they happened."""
    steps: dict[tuple[int, int], Step] = {}
    for stage in stages:
        place = (stage.attempt, stage.sequence)
        steps[place] = Step(*place, stage=stage)
    for decision in decisions:
        place = (decision.attempt, decision.sequence)
        steps.setdefault(place, Step(*place)).decisions.append(decision)
    return [steps[place] for place in sorted(steps)]


def answer_form(approval: Approval, **options: Any) -> SchemaForm:
    """Return the form of an answer."""
    return SchemaForm(approval.form, prefix=ANSWER, auto_id="answer-%s", **options)


def uuids_in(value: object, depth: int = 6) -> Iterator[UUID]:
    """Yield the texts in a JSON value that are ids; not those too deep to be shown."""
    if isinstance(value, str):
        try:
            yield UUID(value)
        except ValueError:
            return
    elif depth and isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        for _, item in zip(range(200), inner, strict=False):
            yield from uuids_in(item, depth - 1)


def render_regions(page: RunPage) -> dict[str, str]:
    """Return every live region as HTML to be swapped in out of band."""
    waiting = count_for(page.rights.groups)
    context = {"page": page, "run": page.run, "waiting": waiting}
    return drawn(TEMPLATE, REGIONS, context)
