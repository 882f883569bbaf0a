"""The steps of a run page: newest steps with loops folded, and newest failures."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from django.db.models import Q
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from workflows.engine.errors import CheckpointMismatch
from workflows.infra.page_cache import page_cache
from workflows.models import (
    ACTIVE_STATUSES,
    Decision,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Retry,
    Run,
    Stage,
    StageKind,
    StageStatus,
)
from workflows.pages.graph.branches import names_with_branches, place_in_branches
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.pages.render.regions import strip_indentation
from workflows.pages.run.cancelled_stages import as_shown
from workflows.pages.run.durations import Place, StepDuration, step_duration
from workflows.pages.run.loop_folding import Fold, folded
from workflows.pages.run.stage_rows import Row
from workflows.system import system

if TYPE_CHECKING:
    from workflows.execution.state_changes import Changes
    from workflows.pages.run.notices import Notice
    from workflows.pages.run.rows_at_step import PointInTime

MAX_ENTRIES = 40  # newest steps and folds; the page of all steps has the rest
MAX_FAILED = 5  # newest failed steps that are listed first
MIN_STEPS_FOR_FAILED = 12  # runs up to this length have no list of failed steps
SHOWN_WAITS = (EventWaitStatus.RECEIVED, EventWaitStatus.EXPIRED)
DECISIONS_PER_STEP = 20  # average that bounds the rows that are read


@dataclass(slots=True)
class Step:
    """A stage with the decisions made after it."""

    attempt: int
    sequence: int
    stage: Stage | None = None
    decisions: list[Decision] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    changes: Changes | None = None
    notice: Notice | None = None  # at the first step of a later attempt
    wait: EventWait | None = None  # that ended, with its message
    is_redacted: bool = False  # the viewer may not read its values
    duration: StepDuration | None = None  # None while it runs
    joins: bool = False  # its items are the steps of branches
    known_error: str = ""  # shown at the top of the page, not repeated here
    can_assess: bool = False  # the viewer may say whether its edge was right
    forks: Sequence[str] = ()  # the kinds of forks that the viewer may make here

    @property
    def answered(self) -> Decision | None:
        """Return the decision of a person, or of several, who are in its comment, if any."""
        return next(
            (one for one in self.decisions if one.decided_by_id or one.comment), None
        )

    @property
    def items(self) -> str:
        """Return what its items are: items, or steps of branches."""
        one = "step" if self.joins else "item"
        total = self.stage.items_total if self.stage else 0
        return one if total == 1 else f"{one}s"

    @property
    def is_routed(self) -> bool:
        """Return whether it failed and its failure route was taken."""
        failed = self.stage is not None and self.stage.status == StageStatus.FAILED
        return failed and any(one.taken for one in self.decisions)

    @property
    def is_choice(self) -> bool:
        """Return whether an edge was taken, and there was another one."""
        is_taken = any(one.taken for one in self.decisions)
        return is_taken and any(one.predicate_name for one in self.decisions)

    @property
    def has_state(self) -> bool:
        """Return whether the state after it was stored."""
        completed = self.stage and self.stage.status == StageStatus.COMPLETED
        return bool(completed) or self.is_routed

    @property
    def key(self) -> str:
        """Return the id of its HTML element."""
        if self.stage is None:
            return f"again-{self.attempt}-{self.sequence}"
        return f"stage-{self.attempt}-{self.sequence}"


@dataclass(slots=True)
class StepList:
    """The entries of the steps section."""

    entries: list[Step | Fold] = field(default_factory=list)
    failed: list[Stage] = field(default_factory=list)
    is_cut: bool = False  # there are earlier steps
    changes_error: str = ""  # why the state changes can't be read


def list_steps(run: Run, moment: PointInTime, rows: Sequence[Row]) -> StepList:
    """Return the newest steps of a run up to a point in time, in four queries."""
    entries = list(folded(rows))
    shown = entries[-MAX_ENTRIES:]
    stages = [row for row in shown if isinstance(row, Row)]
    failed = [row for row in rows if row.is_failed_or_interrupted][-MAX_FAILED:]
    if len(rows) <= MIN_STEPS_FOR_FAILED:
        failed = []
    found = _stages(run, moment, [*stages, *failed])
    step_list = StepList(
        failed=redact_rows(
            run, (found[row.place] for row in reversed(failed) if row.place in found)
        ),
        is_cut=len(entries) > MAX_ENTRIES or bool(rows and rows[0].sequence > 1),
    )
    steps = _steps(
        run, moment, [found[row.place] for row in stages if row.place in found]
    )
    step_list.changes_error = add_changes(run, steps)
    folds = [entry for entry in shown if isinstance(entry, Fold)]
    step_list.entries = sorted(
        [*steps, *folds], key=lambda entry: (entry.attempt, entry.sequence)
    )
    return step_list


def _stages(run: Run, moment: PointInTime, rows: Iterable[Row]) -> dict[Place, Stage]:
    """Return the stages of these rows by place, with their texts."""
    keys = [row.pk for row in rows if row.pk is not None]
    stages = {stage.place: stage for stage in Stage.objects.in_bulk(keys).values()}
    current = moment.current_stage(run)
    if current is not None:
        stages.setdefault(current.place, current)
    return stages


def _steps(run: Run, moment: PointInTime, stages: Sequence[Stage]) -> list[Step]:
    sequences = {stage.sequence for stage in stages}
    existed = Q(sequence__in=sequences) | Q(sequence__gt=max(sequences, default=0))
    decisions = moment.rows(run.decisions.filter(existed))
    decisions = decisions.select_related("decided_by").order_by("-attempt", "-sequence")
    retries = moment.rows(run.retries.filter(sequence__in=sequences))
    limit = MAX_ENTRIES * DECISIONS_PER_STEP
    return group_steps(run, stages, decisions[:limit], retries[:limit])


def group_steps(
    run: Run,
    stages: Iterable[Stage],
    decisions: Iterable[Decision],
    retries: Iterable[Retry] = (),
) -> list[Step]:
    """Return stages of a run with the decisions made after them, in order."""
    stages = redact_rows(run, as_shown(run, stages))
    decisions = redact_rows(run, decisions)
    retries = redact_rows(run, retries)
    steps: dict[tuple[int, int], Step] = {}
    for stage in stages:
        place = (stage.attempt, stage.sequence)
        steps[place] = Step(*place, stage=stage)
    # what came first was decided before the edges that follow
    ordered = sorted(decisions, key=lambda one: (not one.is_of_part, one.edge_index))
    for decision in ordered:
        place = (decision.attempt, decision.sequence)
        steps.setdefault(place, Step(*place)).decisions.append(decision)
    tries = defaultdict(list)
    for retry in retries:
        tries[retry.attempt, retry.sequence].append(retry)
    for place, step in steps.items():
        step.retries = sorted(tries[place], key=lambda one: one.number)
    joining = names_with_branches(run.graph)
    for step in steps.values():
        step.is_redacted = is_redacted(run)
        step.joins = step.stage is not None and step.stage.node_name in joining
    return [steps[place] for place in sorted(steps)]


def add_durations(steps: Iterable[Step], known: Mapping[Place, StepDuration]) -> None:
    """Set the duration of each step; `known` has those of the timeline, by place."""
    for step in steps:
        if step.stage is not None:
            step.duration = step_duration(step.stage, known)


def add_waits(steps: Iterable[Step], waits: Iterable[EventWait]) -> None:
    """Set what ended the wait of each step, if it waited for a message."""
    ended = {
        wait.sequence: wait
        for wait in waits
        if wait.status in SHOWN_WAITS and wait.kind != EventWaitKind.APPROVAL
    }
    for step in steps:
        if step.stage is not None and step.stage.kind == StageKind.NODE:
            step.wait = ended.get(step.sequence)


def add_changes(run: Run, steps: Sequence[Step]) -> str:
    """Set the state changes of each step; return why they can't be read, "" if they can.

    An undo starts from the state after the step that it undoes: compared with the state
    before it, it would seem to have changed what later steps did.
    """
    if is_redacted(run) or run.payload_removed_at is not None:
        return ""
    completed = {
        step.sequence: step.stage.created_at
        for step in steps
        if step.stage
        and step.stage.status == StageStatus.COMPLETED
        and step.stage.kind == StageKind.NODE
    }
    of_branches = {
        step.sequence: place
        for step in steps
        if step.stage
        and step.stage.branch
        and (place := place_in_branches(run.graph, step.stage.node_name, step.sequence))
    }
    try:
        changes = system.get_changes(run.pk, completed, of_branches)
    except CheckpointMismatch as error:
        return str(error)
    for step in steps:
        if step.sequence in completed:
            step.changes = changes.get(step.sequence)
    return ""


# Rendering -------------------------------------------------------------------------------


def items_of(run: Run, step_list: StepList) -> list[tuple[str, str]]:
    """Return the id and HTML of each entry; the HTML of ended steps is cached."""
    items: list[tuple[str, str]] = []
    for entry in step_list.entries:
        if isinstance(entry, Fold):
            html = strip_indentation(
                render_to_string("runs/_fold.html", {"fold": entry, "run": run})
            )
            items.append((f"fold-{entry.key}", html))
        else:
            items.append((entry.key, _step_html(run, entry)))
    return items


def _step_html(run: Run, step: Step) -> str:
    key = _key(run, step)
    if key is None:
        return _rendered(run, step)
    in_key = step.changes.size if step.changes else 0
    return page_cache.get_or_make(
        key,
        partial(_rendered, run, step),
        lambda html: sys.getsizeof(html) + in_key,
    )


def _rendered(run: Run, step: Step) -> SafeString:
    html = render_to_string("runs/_step.html", {"step": step, "run": run})
    return mark_safe(strip_indentation(html))  # noqa: S308 - rendered template


def _key(run: Run, step: Step) -> Hashable:
    """Return all that the HTML of a step depends on; None while it runs.

    It includes the run, since the HTML links to the run and its document. Ids of runs are
    unique, while row numbers repeat after a database is restored, which is why the times of
    rows are included.
    """
    stage = step.stage
    if stage is not None and stage.status in ACTIVE_STATUSES:
        return None
    decisions = tuple(
        (
            one.pk,
            one.created_at,
            one.taken,
            one.decided_by and one.decided_by.get_username(),
        )
        for one in step.decisions
    )
    rest = (
        step.forks,
        step.can_assess,
        step.duration,
        step.notice,
        step.changes,
        step.is_redacted,
        step.known_error,
        step.wait and (step.wait.pk, step.wait.status, step.wait.message_id),
        tuple(one.pk for one in step.retries),
    )
    if stage is None:
        return ("step", run.pk, step.key, decisions, rest)
    done = (stage.pk, stage.created_at, stage.status, stage.duration_ms)
    return ("step", run.pk, *done, decisions, rest)
