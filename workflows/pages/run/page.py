"""Everything the page of a run shows, read in a fixed number of queries.

The page, its live regions and the socket are all drawn from this: one truth. It is read
lazily: whoever draws some of its regions pays for these only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe

from workflows.access.permissions import documents_for
from workflows.models import (
    Approval,
    ApprovalStatus,
    Attempt,
    AuditEvent,
    Note,
    Outcome,
    Run,
    Status,
)
from workflows.pages import redaction
from workflows.pages.access import Rights
from workflows.pages.catalog import known
from workflows.pages.documents import evidence
from workflows.pages.documents.evidence import Evidence
from workflows.pages.documents.evidence import read as read_evidence
from workflows.pages.forms.launch_form import may_ask
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.graph import svg
from workflows.pages.graph.diagram import Diagram
from workflows.pages.lists.inbox import count_open
from workflows.pages.render.json_tree import VIEWER
from workflows.pages.run import steps as run_steps
from workflows.pages.run.announcement import announcement_of
from workflows.pages.run.attempt_notices import how_it_went_on
from workflows.pages.run.baselines import usual_ms
from workflows.pages.run.diagram import draw_run
from workflows.pages.run.idle_spans import Events
from workflows.pages.run.log import RunLog
from workflows.pages.run.notices import Notice, notice, recheck_after
from workflows.pages.run.panel import Panel
from workflows.pages.run.point_in_time import Moment, moment_of
from workflows.pages.run.stage_rows import Row, rows_of
from workflows.pages.run.status_at import Standing, standing_of
from workflows.pages.run.steps import Step, Story, story_of
from workflows.pages.run.timeline import Timeline, timeline_of
from workflows.pages.run.view import RunView
from workflows.services import actions
from workflows.services.approvals import is_for

ANSWER = "answer"  # prefix of the fields of an answer
MAX_ROWS = 500  # of attempts, deeds, notes, children and tries


class RunPage:
    """One run as its page shows it to someone with these rights, looking like this."""

    def __init__(
        self,
        run: Run,
        rights: Rights,
        form: SchemaForm | None = None,
        view: RunView | None = None,
    ) -> None:
        """Take the run and, after a refused answer, the form that was filled in."""
        self.run = run if rights.read else redaction.redact(run)
        self.rights = rights
        self.view = view or RunView()
        self._form = form

    # -- the moment ---------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The server's clock, for pages whose own goes otherwise: Unix milliseconds."""
        return int(time.time() * 1000)

    @cached_property
    def moment(self) -> Moment:
        """The moment that is shown."""
        return moment_of(self.run, self.view.at)

    @cached_property
    def standing(self) -> Standing:
        """Where the run stood at that moment."""
        return standing_of(self.run, self.moment)

    @cached_property
    def rows(self) -> list[Row]:
        """The stages that were there, without their texts."""
        return rows_of(self.run, self.moment)

    @property
    def previous(self) -> int:
        """The moment one step back."""
        at = self.moment.at
        return max((self.run.sequence if at is None else at) - 1, 0)

    @property
    def next(self) -> str:
        """The query of the moment one step on; the last step is the end, or now."""
        at = self.moment.at
        if at is None or at + 1 >= self.run.sequence:
            return "?"
        return f"?at={at + 1}"

    @cached_property
    def diagram(self) -> Diagram:
        """The graph with what happened."""
        return draw_run(self.run, self.moment, self.timeline.spent)

    @cached_property
    def graph_items(self) -> list[tuple[str, str]]:
        """The id and SVG of each step and link."""
        return svg.items_of(self.diagram)

    @cached_property
    def story(self) -> Story:
        """The way it went: newest steps, loops folded."""
        story = story_of(self.run, self.moment, self.rows)
        steps = [entry for entry in story.entries if isinstance(entry, Step)]
        self._add_notices(steps)
        run_steps.add_durations(steps, self.timeline.spent)
        return story

    def _add_notices(self, steps: Sequence[Step]) -> None:
        firsts: dict[int, int] = {}
        for step in steps:
            if step.stage is not None:
                firsts.setdefault(step.attempt, step.sequence)
        told = how_it_went_on(self.attempts, self.audit_events, firsts)
        for step in steps:
            step.notice = told.pop(step.attempt, None)

    @cached_property
    def step_items(self) -> list[tuple[str, str]]:
        """The id and HTML of each step and fold."""
        return run_steps.items_of(self.run, self.story)

    @property
    def steps_html(self) -> SafeString:
        """The steps as HTML."""
        return _joined(self.step_items)

    @cached_property
    def timeline(self) -> Timeline:
        """When it worked, queued and waited."""
        tried = self.moment.rows(self.run.retries.all())[:MAX_ROWS]
        retries = redaction.redact_rows(self.run, tried)
        return timeline_of(
            self.run,
            self.moment,
            self.rows,
            self.events,
            retries,
            usual_ms(self.run),
            to_scale=self.view.scale,
        )

    @property
    def lane_items(self) -> list[tuple[str, str]]:
        """The id and HTML of each lane of the timeline."""
        return self.timeline.items

    @cached_property
    def events(self) -> Events:
        """What moved it between its attempts, up to the moment."""
        last = self.moment.time
        attempts = [
            one for one in self.attempts if last is None or one.started_at <= last
        ]
        approvals = self.run.approvals.order_by("sequence")
        light = approvals.only("sequence", "created_at", "answered_at", "run_id")
        return Events(
            attempts, list(light[:MAX_ROWS]), self.children, self.audit_events
        )

    @cached_property
    def said(self) -> str:
        """What changed last, in a sentence for those who listen."""
        return announcement_of(self.run, self.moment, self.story)

    # -- what was chosen ------------------------------------------------------------------

    @cached_property
    def panel(self) -> Panel:
        """The chosen step or link."""
        return Panel(self.run, self.view, self.moment, lambda: self.timeline.spent)

    @cached_property
    def log(self) -> RunLog:
        """The lines of the log."""
        return RunLog(self.run, self.view, self.moment)

    @property
    def log_html(self) -> SafeString:
        """The lines as HTML."""
        return _joined(self.log.items)

    # -- the question -------------------------------------------------------------------

    @cached_property
    def approval(self) -> Approval | None:
        """The newest question."""
        asked = self.run.approvals.select_related("answered_by")
        newest = redaction.redact_rows(self.run, asked.order_by("-sequence")[:1])
        return newest[0] if newest else None

    @property
    def has_open_approval(self) -> bool:
        """Tell whether a question is open; it is asked now, at no earlier moment."""
        is_open = self.approval and self.approval.status == ApprovalStatus.OPEN
        return bool(is_open) and self.moment.is_now

    @property
    def may_answer(self) -> bool:
        """Tell whether the question is for the viewer."""
        asked = self.approval
        return bool(
            asked
            and self.rights.approve
            and is_for(asked.groups, self.rights.sight.groups)
        )

    @cached_property
    def evidence(self) -> evidence.Evidence:
        """What the question shows."""
        return evidence.read(self.approval.evidence if self.approval else {})

    @cached_property
    def form(self) -> SchemaForm | None:
        """The form of the answer, for those who may answer."""
        if self._form is not None or not self.has_open_approval or not self.may_answer:
            return self._form
        return answer_form(self.approval) if self.approval else None

    # -- the outcome ----------------------------------------------------------------------

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
    def proof(self) -> Evidence:
        """What the result rests on, where it tells: pages with places marked."""
        outcome = self.outcome if isinstance(self.outcome, Mapping) else {}
        return read_evidence(outcome.get("evidence"))

    @property
    def told(self) -> object:
        """The outcome without what is drawn beside it."""
        if self.proof.document is None or not isinstance(self.outcome, Mapping):
            return self.outcome
        return {k: v for k, v in self.outcome.items() if k != "evidence"}

    @cached_property
    def failure(self) -> Attempt | None:
        """The attempt that failed, with what went wrong; None unless the run had."""
        if self.standing.status != Status.FAILED:
            return None
        ended = [one for one in self.attempts if one.outcome == Outcome.FAILED]
        return ended[-1] if ended else None

    @property
    def traceback(self) -> str:
        """Where in the code it failed, for those who may read that."""
        return self.failure.traceback if self.failure and self.rights.trace else ""

    @cached_property
    def actions(self) -> frozenset[str]:
        """What the viewer can do to the run as it stands."""
        return actions.offered(self.run, self.rights.sight)

    # -- the rest -------------------------------------------------------------------------

    @cached_property
    def notice(self) -> Notice | None:
        """What to know first; it is about now, and there is none at an earlier moment."""
        if not self.moment.is_now:
            return None
        return notice(
            self.run, self.approval, usual_ms(self.run), sight=self.rights.sight
        )

    @property
    def recheck_after(self) -> float | None:
        """Seconds after which it may stand otherwise without any news."""
        return recheck_after(self.run, self.notice)

    @property
    def grow_again(self) -> float | None:
        """Seconds after which the timeline of a live run needs a longer axis."""
        if not self.timeline.is_live:
            return None
        return self.timeline.seconds_left

    @property
    def may_ask(self) -> bool:
        """Whether a token for agents can be given when it is resumed."""
        workflow = known(self.run.workflow_name)
        return workflow is not None and may_ask(workflow)

    @cached_property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts, oldest first."""
        newest = self.run.attempts.order_by("-number").defer("traceback")
        return redaction.redact_rows(self.run, newest[:MAX_ROWS])[::-1]

    @property
    def attempts_then(self) -> Sequence[Attempt]:
        """The attempts that had begun; one that had not ended has no outcome."""
        last = self.moment.time
        if last is None:
            return self.attempts
        begun = [copy(one) for one in self.attempts if one.started_at <= last]
        for one in begun:
            if self.standing.is_ended or (one.ended_at and one.ended_at <= last):
                continue
            one.outcome = one.error_message = ""
        return begun

    @property
    def audit_events_then(self) -> Sequence[AuditEvent]:
        """What people had done."""
        last = self.moment.time
        return [
            one for one in self.audit_events if last is None or one.created_at <= last
        ]

    @cached_property
    def audit_events(self) -> Sequence[AuditEvent]:
        """What people did, oldest first."""
        newest = self.run.audit_events.order_by("-id")[:MAX_ROWS]
        return redaction.redact_rows(self.run, newest)[::-1]

    @cached_property
    def notes(self) -> Sequence[Note]:
        """What people wrote, oldest first."""
        newest = self.run.notes.order_by("-id")[:MAX_ROWS]
        return redaction.redact_rows(self.run, newest)[::-1]

    @cached_property
    def labels(self) -> Sequence[str]:
        """The words on the run."""
        if not self.rights.read:
            return ()
        return list(self.run.labels.values_list("name", flat=True))

    @cached_property
    def children(self) -> Sequence[Run]:
        """The runs this one started: what is drawn of the times when it waited."""
        children = self.run.children.order_by("-id").defer("params", "result", "graph")
        return list(children[:MAX_ROWS])[::-1]

    @property
    def visible_children(self) -> Sequence[Run]:
        """The runs this one started that the viewer may see."""
        see = self.rights.sight.see
        return [child for child in self.children if child.workflow_name in see]

    @property
    def parent(self) -> Run | None:
        """The run that started this one, if the viewer may see it."""
        parent = self.run.parent
        seen = parent and parent.workflow_name in self.rights.sight.see
        return parent if seen else None

    @cached_property
    def waiting(self) -> int:
        """How many questions wait for the viewer."""
        return count_open(self.rights.sight)

    @cached_property
    def links(self) -> dict[str, tuple[str, str]]:
        """Addresses and names of the documents that params and result speak of."""
        ids = set(uuids_in([self.run.params, self.run.result]))
        rows = (
            documents_for(self.rights.sight)
            .filter(pk__in=ids)
            .values_list("pk", "name")
            if ids
            else ()
        )
        links = {str(pk): (reverse("document", args=[pk]), name) for pk, name in rows}
        if len(links) == 1:  # pages that are spoken of are those of this one
            (pk,) = links
            links[VIEWER] = (pk, links[pk][1])
        return links


def _joined(items: Sequence[tuple[str, str]]) -> SafeString:
    return mark_safe("".join(html for _, html in items))  # noqa: S308 - drawn by us


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
