"""The run page: its sections, graph, steps and timeline in a fixed number of queries.

The page, its live regions and the websocket render from this one class. Rows are read at
the first access: rendering some regions costs the queries of these regions only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

from django.utils.safestring import SafeString, mark_safe

from workflows.models import (
    EDIT_NODE,
    ApprovalKind,
    ApprovalStatus,
    ForkKind,
    Run,
    Schedule,
    StageKind,
    WebhookDelivery,
    with_current,
)
from workflows.pages import redaction
from workflows.pages.access import RunPermissions
from workflows.pages.catalog import installed_workflow
from workflows.pages.forms.launch_form import uses_agents
from workflows.pages.graph import svg
from workflows.pages.graph.diagram import Diagram
from workflows.pages.graph.undo_and_end_nodes import ClosingNode, closing_nodes
from workflows.pages.lists.open_approvals import count_open
from workflows.pages.lists.schedules import schedule_of
from workflows.pages.lists.webhooks import delivery_of
from workflows.pages.render.shell_commands import LaunchCommands
from workflows.pages.run import steps as run_steps
from workflows.pages.run.announcement import announce
from workflows.pages.run.attempt_notices import attempt_notices
from workflows.pages.run.baselines import usual_ms
from workflows.pages.run.diagram import draw_run
from workflows.pages.run.lineage import overruled
from workflows.pages.run.log import RunLog
from workflows.pages.run.notices import Notice, notice, recheck_after
from workflows.pages.run.panel import Panel
from workflows.pages.run.sections import (
    MAX_ROWS,
    ActivitySection,
    ApprovalSection,
    ResponseForm,
    ResultSection,
    response_form,
)
from workflows.pages.run.stage_rows import Row, rows_of
from workflows.pages.run.state_section import StateSection, state_section
from workflows.pages.run.steps import Step, StepList, list_steps
from workflows.pages.run.timeline import Timeline, timeline_of
from workflows.pages.run.timeline_waits import Events
from workflows.pages.run.view_options import RunView
from workflows.services import actions

__all__ = ["RunPage", "response_form"]

KINDS_WITH_ITEMS = frozenset({"parallel", "subworkflows"})  # of nodes
MAX_CLOSING_STAGES = 200  # newest stages of the nodes that run after the end of the run


class RunPage(ApprovalSection, ResultSection, ActivitySection):
    """A run as its page shows it to a viewer with these permissions and this view."""

    def __init__(
        self,
        run: Run,
        permissions: RunPermissions,
        form: ResponseForm | None = None,
        view: RunView | None = None,
    ) -> None:
        """Use `form`, the submitted form, after a rejected response."""
        super().__init__(run, permissions, view)
        self._form = form

    # -- header -------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """The server's clock in Unix milliseconds, for browsers whose clock is off."""
        return int(time.time() * 1000)

    @property
    def icon(self) -> str:
        """The icon of the browser's tab, which shows the status: a static file."""
        return f"icons/{self.status_at.status}.svg"

    @cached_property
    def actions(self) -> frozenset[str]:
        """The actions on the run that its status and the viewer's permissions allow."""
        return actions.offered(self.run, self.permissions.granted)

    @property
    def accepts_agent_token(self) -> bool:
        """Whether an API key for agents can be given when the run is resumed."""
        workflow = installed_workflow(self.run.workflow_name)
        return workflow is not None and uses_agents(workflow)

    @cached_property
    def notice(self) -> Notice | None:
        """The notice about the current status; None at an earlier point in time.

        A failed run has an error card instead.
        """
        if not self.moment.is_now or self.error is not None:
            return None
        return notice(
            self.run,
            self.approval,
            usual_ms(self.run),
            permissions=self.permissions.granted,
            refusal=self.refusal,
        )

    @cached_property
    def schedule(self) -> Schedule | None:
        """The schedule that launched the run."""
        return schedule_of(self.run)

    @cached_property
    def delivery(self) -> WebhookDelivery | None:
        """The delivery to a webhook that launched the run."""
        return delivery_of(self.run)

    @property
    def commands(self) -> LaunchCommands | None:
        """The commands that launch a run with the same params, None without them."""
        permitted = self.permissions.read and self.permissions.launch
        if not permitted or self.run.payload_removed_at is not None:
            return None
        return LaunchCommands.of_run(self.run)

    @property
    def recheck_after(self) -> float | None:
        """Seconds after which the notice can change without a message."""
        return recheck_after(self.run, self.notice)

    @cached_property
    def announcement(self) -> str:
        """The newest change as a sentence for screen readers."""
        return announce(self.run, self.moment, self.step_list)

    @property
    def linked_values(self) -> Sequence[object]:
        """The values in which the ids of documents become links."""
        shown = self.evidence.rest if self.has_open_approval else None
        return [*super().linked_values, shown, self.state_section.value]

    @cached_property
    def waiting(self) -> int:
        """The number of open approvals of the viewer, for the navigation."""
        of = self.permissions
        return count_open(of.granted, of.inbox_of, of.snoozed)

    # -- time travel --------------------------------------------------------------------

    @property
    def previous(self) -> int:
        """The previous step number."""
        at = self.moment.at
        return max((self.run.sequence if at is None else at) - 1, 0)

    @property
    def next(self) -> str:
        """The query of the next step; "?", the current state, from the last but one on."""
        at = self.moment.at
        if at is None or at + 1 >= self.run.sequence:
            return "?"
        return f"?at={at + 1}"

    # -- graph, steps and timeline ------------------------------------------------------

    @cached_property
    def rows(self) -> list[Row]:
        """The stages at that time, without their texts."""
        return rows_of(self.run, self.moment)

    @cached_property
    def closing_nodes(self) -> list[ClosingNode]:
        """The nodes that run after the end of the run, with their newest stages."""
        nodes = closing_nodes(self.run.graph)
        if not nodes:
            return []
        rows = self.moment.rows(self.run.stages.exclude(kind=StageKind.NODE))
        newest = [*rows.order_by("-pk")[:MAX_CLOSING_STAGES]][::-1]
        if self.moment.is_now:
            newest = with_current(self.run, newest)
        return closing_nodes(self.run.graph, newest)

    @cached_property
    def diagram(self) -> Diagram:
        edges = overruled(self.run, self.moment) if self.fork else set()
        return draw_run(self.run, self.moment, self.timeline.durations, edges)

    @cached_property
    def graph_items(self) -> list[tuple[str, str]]:
        """The id and SVG of each node and edge."""
        return svg.items_of(self.diagram)

    @cached_property
    def step_list(self) -> StepList:
        """The newest steps, with loops folded."""
        step_list = list_steps(self.run, self.moment, self.rows)
        steps = [entry for entry in step_list.entries if isinstance(entry, Step)]
        run_steps.add_waits(steps, self.waits)
        for step in steps:
            step.known_error = self.known_error
        self._add_notices(steps)
        self._add_forks(steps)
        run_steps.add_durations(steps, self.timeline.durations)
        return step_list

    def _add_forks(self, steps: Sequence[Step]) -> None:
        """Set what the viewer may do at each step of a run that has ended."""
        run, granted = self.run, self.permissions
        if not (run.is_ended and self.moment.is_now) or run.payload_removed_at:
            return
        for step in steps:
            if step.stage is None or step.stage.kind != StageKind.NODE:
                continue
            may = {
                ForkKind.RERUN: granted.launch,
                ForkKind.OVERRIDE: granted.operate and step.is_choice,
                ForkKind.RESPONSE: granted.approve
                and step.sequence in self.answered_steps,
            }
            step.can_assess = granted.note and any(
                one.taken and not one.is_of_part for one in step.decisions
            )
            step.forks = tuple(
                kind.value for kind, is_allowed in may.items() if is_allowed
            )

    @cached_property
    def answered_steps(self) -> frozenset[int]:
        """The steps whose approval has a response that can be changed."""
        several = {wait.sequence for wait in self.waits}
        return frozenset(
            one.sequence
            for one in self.events.approvals
            if one.status in {ApprovalStatus.ANSWERED, ApprovalStatus.EXPIRED}
            and one.kind != ApprovalKind.BUDGET
            and one.votes_needed == 1
            and one.sequence not in several
        )

    def _add_notices(self, steps: Sequence[Step]) -> None:
        first_steps: dict[int, int] = {}
        for step in steps:
            if step.stage is not None:
                first_steps.setdefault(step.attempt, step.sequence)
        notices = attempt_notices(self.attempts, self.audit_events, first_steps)
        for step in steps:
            step.notice = notices.pop(step.attempt, None)

    @cached_property
    def step_items(self) -> list[tuple[str, str]]:
        """The id and HTML of each step and fold."""
        return run_steps.items_of(self.run, self.step_list)

    @property
    def steps_html(self) -> SafeString:
        return _joined(self.step_items)

    @cached_property
    def timeline(self) -> Timeline:
        rows = self.moment.rows(self.run.retries.all())[:MAX_ROWS]
        retries = redaction.redact_rows(self.run, rows)
        shared = self.fork.attempt if self.fork else 0
        own = [
            row for row in self.rows if row.attempt > shared and row.node != EDIT_NODE
        ]
        return timeline_of(
            self.run,
            self.moment,
            own,
            self.events,
            retries,
            usual_ms(self.run),
            to_scale=self.view.scale,
        )

    @property
    def lane_items(self) -> list[tuple[str, str]]:
        """The id and HTML of each lane of the timeline."""
        return self.timeline.items

    @property
    def axis_outdated_after(self) -> float | None:
        """Seconds after which the timeline of a live run needs a longer axis."""
        if not self.timeline.is_live:
            return None
        return self.timeline.seconds_left

    @cached_property
    def events(self) -> Events:
        """What ends an attempt or starts the next one, up to that time."""
        last = self.moment.time
        shared = self.fork.attempt if self.fork else 0
        attempts = [
            one
            for one in self.attempts
            if one.number > shared and (last is None or one.started_at <= last)
        ]
        approvals = self.run.approvals.order_by("sequence")
        light = approvals.only(
            *("sequence", "created_at", "responded_at", "run_id"),
            *("status", "kind", "votes_needed"),
        )
        return Events(
            attempts,
            list(light[:MAX_ROWS]),
            self.children,
            self.audit_events,
            self.waits,
        )

    @cached_property
    def state_section(self) -> StateSection:
        """The state at that time."""
        return state_section(self.run, self.moment)

    @property
    def has_items(self) -> bool:
        """Whether steps of the run can have items, or child runs for each element."""
        nodes = self.run.graph.get("nodes") or ()
        return any(one.get("kind") in KINDS_WITH_ITEMS for one in nodes)

    @property
    def steps_with_items(self) -> Sequence[Step]:
        """The newest steps of parallel nodes, newest first."""
        entries = reversed(self.step_list.entries)
        return [
            one
            for one in entries
            if isinstance(one, Step)
            and one.stage is not None
            and one.stage.items_total
            and not one.joins
        ]

    # -- panel and log ------------------------------------------------------------------

    @cached_property
    def panel(self) -> Panel:
        """The selected node or edge."""
        return Panel(
            self.run,
            self.view,
            self.moment,
            lambda: self.timeline.durations,
            self.known_error,
        )

    @cached_property
    def log(self) -> RunLog:
        return RunLog(self.run, self.view, self.moment)

    @property
    def log_html(self) -> SafeString:
        return _joined(self.log.items)


def _joined(items: Sequence[tuple[str, str]]) -> SafeString:
    return mark_safe("".join(html for _, html in items))  # noqa: S308 - rendered templates
