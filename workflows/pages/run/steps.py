"""The way a run went, as its page tells it: newest steps, loops folded, failed first."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db.models import Q
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe

from workflows.engine.errors import CheckpointMismatch
from workflows.models import Decision, Retry, Run, Stage, StageStatus
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.pages.render.regions import tight
from workflows.pages.run.durations import CallUsage, spent_of
from workflows.pages.run.loop_folding import Fold, folded
from workflows.pages.run.stage_rows import Row
from workflows.pages.run.stage_status import as_shown
from workflows.system import system

if TYPE_CHECKING:
    from workflows.execution.changes import Changes
    from workflows.pages.run.notices import Notice
    from workflows.pages.run.point_in_time import Moment

SHOWN = 40  # newest steps and folds; the rest is a page away
FAILED = 5  # newest failed steps that are named first
LONG = 12  # steps, from which on the failed ones are named first
DECISIONS = 20  # of one step, on the average
KEPT = 4_000  # drawn steps
ACTIVE_STATUSES = frozenset({StageStatus.STARTED, StageStatus.WAITING})


@dataclass(slots=True)
class Step:
    """One entry of the way a run went: a stage and what was decided after it."""

    attempt: int
    sequence: int
    stage: Stage | None = None
    decisions: list[Decision] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)
    changes: Changes | None = None
    notice: Notice | None = None  # at the first step of a later attempt
    is_redacted: bool = False  # what it was about is for some groups only
    spent: CallUsage | None = None  # None while it is under way

    @property
    def answered(self) -> Decision | None:
        """Return the decision that a person made here."""
        return next((one for one in self.decisions if one.decided_by_id), None)

    @property
    def key(self) -> str:
        """Return the id of its element."""
        if self.stage is None:
            return f"again-{self.attempt}-{self.sequence}"
        return f"stage-{self.stage.pk}"


@dataclass(slots=True)
class Story:
    """What the page tells of the steps."""

    entries: list[Step | Fold] = field(default_factory=list)
    failed: list[Stage] = field(default_factory=list)
    is_cut: bool = False  # it begins before what is told
    trouble: str = ""  # why what changed cannot be told


def story_of(run: Run, moment: Moment, rows: Sequence[Row]) -> Story:
    """Return the way a run went up to a moment, in four queries."""
    told = list(folded(rows))
    shown = told[-SHOWN:]
    stages = [row for row in shown if isinstance(row, Row)]
    wrong = [row.pk for row in rows if row.went_wrong][-FAILED:]
    if len(rows) <= LONG:
        wrong = []
    found = Stage.objects.in_bulk([*(row.pk for row in stages), *wrong])
    story = Story(
        failed=redact_rows(run, (found[pk] for pk in reversed(wrong) if pk in found)),
        is_cut=len(told) > SHOWN or bool(rows and rows[0].sequence > 1),
    )
    steps = _steps(run, moment, [found[row.pk] for row in stages if row.pk in found])
    story.trouble = add_changes(run, steps)
    folds = [entry for entry in shown if isinstance(entry, Fold)]
    story.entries = sorted(
        [*steps, *folds], key=lambda one: (one.attempt, one.sequence)
    )
    return story


def _steps(run: Run, moment: Moment, stages: Sequence[Stage]) -> list[Step]:
    sequences = {stage.sequence for stage in stages}
    there = Q(sequence__in=sequences) | Q(sequence__gt=max(sequences, default=0))
    decisions = moment.rows(run.decisions.filter(there))
    decisions = decisions.select_related("decided_by").order_by("-attempt", "-sequence")
    retries = moment.rows(run.retries.filter(sequence__in=sequences))
    most = SHOWN * DECISIONS
    return together(run, stages, decisions[:most], retries[:most])


def together(
    run: Run,
    stages: Iterable[Stage],
    decisions: Iterable[Decision],
    retries: Iterable[Retry] = (),
) -> list[Step]:
    """Return stages of a run with the decisions made after them, as they happened."""
    stages = redact_rows(run, as_shown(run, stages))
    decisions = redact_rows(run, decisions)
    retries = redact_rows(run, retries)
    steps: dict[tuple[int, int], Step] = {}
    for stage in stages:
        place = (stage.attempt, stage.sequence)
        steps[place] = Step(*place, stage=stage)
    for decision in sorted(decisions, key=lambda one: one.edge_index):
        place = (decision.attempt, decision.sequence)
        steps.setdefault(place, Step(*place)).decisions.append(decision)
    tries = defaultdict(list)
    for retry in retries:
        tries[retry.attempt, retry.sequence].append(retry)
    for place, step in steps.items():
        step.retries = sorted(tries[place], key=lambda one: one.number)
    for step in steps.values():
        step.is_redacted = is_redacted(run)
    return [steps[place] for place in sorted(steps)]


def add_durations(steps: Iterable[Step], known: Mapping[int, CallUsage]) -> None:
    """Add how long each step took; `known` has those of the run's timeline."""
    for step in steps:
        if step.stage is not None:
            step.spent = spent_of(step.stage, known)


def add_changes(run: Run, steps: Sequence[Step]) -> str:
    """Add what each step changed; return why that cannot be told, if it cannot."""
    if is_redacted(run) or run.payload_removed_at is not None:
        return ""
    done = [
        step
        for step in steps
        if step.stage and step.stage.status == StageStatus.COMPLETED
    ]
    try:
        changes = system.get_changes(run.pk, [step.sequence for step in done])
    except CheckpointMismatch as error:
        return str(error)
    for step in done:
        step.changes = changes.get(step.sequence)
    return ""


# Drawing ---------------------------------------------------------------------------------

_drawn: OrderedDict[Hashable, SafeString] = OrderedDict()


def items_of(run: Run, story: Story) -> list[tuple[str, str]]:
    """Return the id and HTML of each entry; what cannot change any more is kept."""
    items: list[tuple[str, str]] = []
    for entry in story.entries:
        if isinstance(entry, Fold):
            html = tight(
                render_to_string("runs/_fold.html", {"fold": entry, "run": run})
            )
            items.append((f"fold-{entry.key}", html))
        else:
            items.append((entry.key, _step_html(run, entry)))
    return items


def _step_html(run: Run, step: Step) -> str:
    key = _key(run, step)
    if key is not None and key in _drawn:
        return _drawn[key]
    html = mark_safe(  # noqa: S308 - a template's
        tight(render_to_string("runs/_step.html", {"step": step, "run": run}))
    )
    if key is not None:
        _drawn[key] = html
        while len(_drawn) > KEPT:
            _drawn.popitem(last=False)
    return html


def _key(run: Run, step: Step) -> Hashable:
    """Return all that the drawing of a step says; None while it is under way.

    The run too: links lead into it and to its document. Its id is never given twice,
    while numbers of rows are, where a database is put back.
    """
    stage = step.stage
    if stage is not None and stage.status in ACTIVE_STATUSES:
        return None
    decided = tuple(
        (one.pk, one.taken, one.decided_by and one.decided_by.get_username())
        for one in step.decisions
    )
    told = (
        step.spent,
        step.notice,
        step.changes,
        step.is_redacted,
        tuple(one.pk for one in step.retries),
    )
    if stage is None:
        return (run.pk, step.key, decided, told)
    return (run.pk, stage.pk, stage.status, stage.duration_ms, decided, told)
