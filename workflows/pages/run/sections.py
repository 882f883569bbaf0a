"""Sections of the run page that show rows of their own: approval, result and activity.

Each reads its rows at the first access: rendering some regions of the page costs the
queries of these regions only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth.models import User
from django.urls import reverse

from workflows.access.permissions import documents_for, is_approver
from workflows.audit.file_verification import ADD_FILE
from workflows.execution.approval_escalations import escalation_of
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalEscalation,
    ApprovalKind,
    ApprovalStatus,
    ApprovalVote,
    Assessment,
    Attempt,
    AuditEvent,
    EventWait,
    Fork,
    GoldenRun,
    Note,
    Outcome,
    Run,
    Status,
)
from workflows.pages import redaction
from workflows.pages.access import RunPermissions
from workflows.pages.documents import evidence
from workflows.pages.documents.evidence import Evidence
from workflows.pages.forms.choice_buttons import ChoiceForm
from workflows.pages.forms.failure_responses import FailureResponseForm
from workflows.pages.lists.event_waits import waits_of
from workflows.pages.render.json_tree import VIEWER
from workflows.pages.run.child_runs import ChildRunTable, child_run_table
from workflows.pages.run.hold_notices import leftover_code_notice
from workflows.pages.run.lineage import Lineage, lineage_of
from workflows.pages.run.related_runs import RelatedRuns, related_runs
from workflows.pages.run.rows_at_step import PointInTime, moment_of
from workflows.pages.run.run_error import RunError, error_of
from workflows.pages.run.run_files import RunFileTable, file_links, run_file_table
from workflows.pages.run.status_at_step import StatusAt, status_at
from workflows.pages.run.view_options import RunView
from workflows.services import approvals
from workflows.services.approval_assignments import assignment_of
from workflows.services.approval_claims import claim_of
from workflows.services.approvals import RULES
from workflows.services.golden_runs import is_markable

# audit events of a run from which another one was forked
FORKING = frozenset({"rerun", "override decision", "change response"})
ResponseForm: TypeAlias = ChoiceForm | FailureResponseForm
RESPONSE_PREFIX = "response"  # of the form fields of a response
MAX_ASSIGNEES = 100  # that the form suggests
MAX_ROWS = 500  # of attempts, audit events, notes, children and retries
MAX_ID_DEPTH = 6  # nesting of JSON values that are searched for document ids
MAX_ID_ITEMS = 200  # of each list or object


class Section:
    """A run as a viewer with these permissions sees it, at the point in time of a view."""

    def __init__(
        self, run: Run, permissions: RunPermissions, view: RunView | None = None
    ) -> None:
        self.run = run if permissions.read else redaction.redact(run)
        self.permissions = permissions
        self.view = view or RunView()

    @cached_property
    def moment(self) -> PointInTime:
        """The point in time that is shown."""
        return moment_of(self.run, self.view.at)

    @cached_property
    def status_at(self) -> StatusAt:
        """The status of the run at that time."""
        return status_at(self.run, self.moment)

    @property
    def known_error(self) -> str:
        """The error that the error card shows, which the rest of the page does not repeat."""
        return self.run.error_message if self.status_at.status == Status.FAILED else ""

    @cached_property
    def attempts(self) -> Sequence[Attempt]:
        """The newest attempts, oldest first."""
        newest = self.run.attempts.order_by("-number").defer("traceback")
        return redaction.redact_rows(self.run, newest[:MAX_ROWS])[::-1]


class ApprovalSection(Section):
    """The newest approval of a run, with the form of the response."""

    _form: ResponseForm | None = None  # after a rejected response: the submitted form

    @cached_property
    def approval(self) -> Approval | None:
        rows = self.run.approvals.select_related(
            "responded_by", "claim", "assignment", "escalation"
        )
        rows = rows.order_by("-sequence")
        newest = redaction.redact_rows(self.run, rows[:1])
        return newest[0] if newest else None

    @property
    def has_open_approval(self) -> bool:
        """Whether an approval is open; never at an earlier point in time."""
        is_open = self.approval and self.approval.status == ApprovalStatus.OPEN
        return bool(is_open) and self.moment.is_now

    @property
    def is_approver(self) -> bool:
        """Whether the viewer may respond, as far as permissions decide it."""
        approval = self.approval
        return approval is not None and is_approver(self.permissions.granted, approval)

    @cached_property
    def refusal(self) -> str:
        """Why the viewer cannot respond in person: excluded, or has voted; else ""."""
        if self.approval is None or not self.has_open_approval or not self.is_approver:
            return ""
        return approvals.refusal(self.approval, self.permissions.respondent_id)

    @property
    def claim(self) -> ApprovalClaim | None:
        """Who is working on the open approval."""
        return claim_of(self.approval) if self.approval else None

    @property
    def assignment(self) -> ApprovalAssignment | None:
        """Whom the approval is assigned to."""
        found = assignment_of(self.approval) if self.approval else None
        if found is not None and redaction.is_redacted(self.approval):
            found.reason = ""
        return found

    @property
    def escalation(self) -> ApprovalEscalation | None:
        """To whom the approval goes without a response, or went."""
        found = escalation_of(self.approval) if self.approval else None
        is_shown = found and (found.escalated_at or self.has_open_approval)
        return found if is_shown else None

    @property
    def assignees(self) -> Sequence[str]:
        """Names to choose from when it is reassigned: the approvers' groups and members."""
        groups = self.approval.groups if self.approval else []
        people = User.objects.filter(is_active=True, groups__name__in=groups)
        names = (
            people.distinct().order_by("username").values_list("username", flat=True)
        )
        return [*groups, *names[:MAX_ASSIGNEES]] if groups else []

    @property
    def can_respond(self) -> bool:
        """Whether the viewer may respond."""
        return self.is_approver and not self.refusal

    @cached_property
    def votes(self) -> Sequence[ApprovalVote]:
        """The responses so far to an approval that needs several."""
        if self.approval is None or self.approval.votes_needed == 1:
            return []
        return redaction.redact_rows(self.run, approvals.votes_of(self.approval))

    @property
    def vote_progress(self) -> str:
        """The number of responses, such as "1 of 2 responses"; "" for a single one."""
        return approvals.progress(self.approval) if self.approval else ""

    @property
    def veto(self) -> str:
        """Which response ends the vote at once, as a sentence; "" if none does."""
        if self.approval is None or redaction.is_redacted(self.approval):
            return ""
        return approvals.veto_text(self.approval)

    @property
    def exclusion(self) -> str:
        """Who cannot respond, as a sentence; "" if all can, or the viewer reads why not."""
        if self.approval is None or self.refusal:
            return ""
        return RULES.get(self.approval.not_by, "")

    @cached_property
    def evidence(self) -> Evidence:
        """The evidence of the approval."""
        return evidence.read(self.approval.evidence if self.approval else {})

    @property
    def expiry(self) -> str:
        """What the expiry will do, after "; "; "" for viewers who can't view responses."""
        if self.approval is None or redaction.is_redacted(self.approval):
            return ""
        return f"; {approvals.expiry_text(self.approval)}"

    @property
    def failed_step(self) -> Mapping[str, Any] | None:
        """The failure that the approval is about, None for other approvals."""
        if self.approval is None or self.approval.kind != ApprovalKind.FAILURE:
            return None
        found: Mapping[str, Any] | None = self.approval.evidence.get("failure")
        return found

    @cached_property
    def form(self) -> ResponseForm | None:
        """The form of the response, None for viewers who may not respond."""
        if self._form is not None or not self.has_open_approval or not self.can_respond:
            return self._form
        return response_form(self.approval) if self.approval else None


def response_form(approval: Approval, **options: Any) -> ResponseForm:
    """Return the form of a response to an approval."""
    if approval.kind == ApprovalKind.FAILURE:
        return FailureResponseForm(approval, prefix=RESPONSE_PREFIX, **options)
    return ChoiceForm(
        approval.form,
        prefix=RESPONSE_PREFIX,
        auto_id="response-%s",
        initial=approval.initial,
        **options,
    )


class ResultSection(Section):
    """The result of a run, or its error."""

    @property
    def outcome(self) -> object:
        """The value at `result` of the final state, else the whole final state."""
        final = self.run.result
        result = final.get("result") if isinstance(final, Mapping) else None
        return final if result is None else result

    @cached_property
    def result_evidence(self) -> Evidence:
        """The evidence in the outcome: pages with marked places."""
        outcome = self.outcome if isinstance(self.outcome, Mapping) else {}
        return evidence.read(outcome.get("evidence"))

    @property
    def result_value(self) -> object:
        """The outcome without evidence that is shown as pages."""
        if self.result_evidence.document is None:
            return self.outcome
        if not isinstance(self.outcome, Mapping):
            return self.outcome
        return {k: v for k, v in self.outcome.items() if k != "evidence"}

    @cached_property
    def failure(self) -> Attempt | None:
        """The failed attempt of a failed run."""
        if self.status_at.status != Status.FAILED:
            return None
        failed = [one for one in self.attempts if one.outcome == Outcome.FAILED]
        return failed[-1] if failed else None

    @cached_property
    def error(self) -> RunError | None:
        """The error of the run at that time, None if it had not failed."""
        if self.status_at.status != Status.FAILED:
            return None
        step = self.run.sequence + 1 if self.run.is_resumable else None
        return error_of(self.run, self.failure, step)

    @property
    def leftover_code(self) -> str:
        """Which code of the failed run still runs, as a sentence; else ""."""
        return leftover_code_notice(self.run)

    @property
    def traceback(self) -> str:
        """The traceback of the failure, "" for viewers who may not read it."""
        return self.error.traceback if self.error and self.permissions.trace else ""

    @cached_property
    def links(self) -> dict[str, tuple[str, str]]:
        """URL and name of each document and file whose id occurs in a value that is shown."""
        ids = set(uuids_in(self.linked_values))
        if not ids:
            return {}
        documents = documents_for(self.permissions.granted).filter(pk__in=ids)
        links = {
            str(pk): (reverse("document", args=[pk]), name)
            for pk, name in documents.values_list("pk", "name")
        }
        if len(links) == 1:  # page numbers in the values then refer to this document
            (pk,) = links
            links[VIEWER] = (pk, links[pk][1])
        return {**links, **file_links(ids, self.permissions.granted)}

    @property
    def linked_values(self) -> Sequence[object]:
        """The values in which the ids of documents become links."""
        return [self.run.params, self.run.result]

    @cached_property
    def files(self) -> RunFileTable | None:
        """The files that the run had made at that time."""
        return run_file_table(self.run, self.moment)


def uuids_in(value: object, depth: int = MAX_ID_DEPTH) -> Iterator[UUID]:
    """Yield the texts in a JSON value that are UUIDs, up to the given depth."""
    if isinstance(value, str):
        try:
            yield UUID(value)
        except ValueError:
            return
    elif depth and isinstance(value, Mapping | list | tuple):
        inner = value.values() if isinstance(value, Mapping) else value
        for _, item in zip(range(MAX_ID_ITEMS), inner, strict=False):
            yield from uuids_in(item, depth - 1)


class ActivitySection(Section):
    """Attempts, audit events, notes, labels and related runs."""

    @property
    def attempts_then(self) -> Sequence[Attempt]:
        """The attempts at that time; one that had not ended has no outcome."""
        last = self.moment.time
        if last is None:
            return self.attempts
        started = [copy(one) for one in self.attempts if one.started_at <= last]
        for attempt in started:
            if self.status_at.is_ended:
                continue
            if attempt.ended_at is None or attempt.ended_at > last:
                attempt.outcome = attempt.error_message = ""
        return started

    @cached_property
    def audit_events(self) -> Sequence[AuditEvent]:
        """The newest audit events of the run, oldest first."""
        events = self.run.audit_events.exclude(action=ADD_FILE)  # listed with the files
        newest = events.order_by("-id")[:MAX_ROWS]
        return redaction.redact_rows(self.run, newest)[::-1]

    @property
    def audit_events_then(self) -> Sequence[AuditEvent]:
        """The audit events at that time."""
        last = self.moment.time
        return [
            event
            for event in self.audit_events
            if last is None or event.created_at <= last
        ]

    @cached_property
    def waits(self) -> Sequence[EventWait]:
        """What the run waited for besides approvals, with the messages received, newest first."""
        return waits_of(self.run, until=self.moment.time)

    @cached_property
    def notes(self) -> Sequence[Note]:
        """The newest notes, oldest first."""
        newest = self.run.notes.order_by("-id")[:MAX_ROWS]
        return redaction.redact_rows(self.run, newest)[::-1]

    @cached_property
    def labels(self) -> Sequence[str]:
        if not self.permissions.read:
            return ()
        return list(self.run.labels.values_list("name", flat=True))

    @cached_property
    def children(self) -> Sequence[Run]:
        """All child runs, oldest first: the timeline shows when the run waited for them."""
        children = self.run.children.order_by("-id").defer("params", "result", "graph")
        return list(children[:MAX_ROWS])[::-1]

    @cached_property
    def child_runs(self) -> ChildRunTable | None:
        """The child runs of the newest step that launched one for each element, now."""
        if not self.moment.is_now:
            return None
        return child_run_table(self.run, self.permissions.granted.view)

    @property
    def visible_children(self) -> Sequence[Run]:
        """The child runs that the viewer may see, with those of shared steps."""
        visible = self.permissions.granted.view
        shared = self._shared_children if self.fork else ()
        return [
            child
            for child in (*shared, *self.children)
            if child.workflow_name in visible
        ]

    @property
    def _shared_children(self) -> Sequence[Run]:
        rows = self.run.shared_children.order_by("pk").select_related("child")
        hidden = ("child__params", "child__result", "child__graph")
        return [row.child for row in rows.defer(*hidden)[:MAX_ROWS]]

    @cached_property
    def related(self) -> RelatedRuns:
        """The runs that it launched or continues, and the other way round."""
        has_forks = any(one.action_name in FORKING for one in self.audit_events)
        granted = self.permissions.granted
        return related_runs(self.run, granted.view, has_forks=has_forks)

    @property
    def fork(self) -> Fork | None:
        """How it was forked from another run."""
        return self.related.fork

    @cached_property
    def lineage(self) -> Lineage:
        """The runs from which it was forked, and those forked from it."""
        return lineage_of(self.run, self.fork, self.related.forks)

    @cached_property
    def assessments(self) -> Sequence[Assessment]:
        """The assessments of the run and of its decisions."""
        if not self.run.is_ended:
            return []
        rows = Assessment.objects.filter(run=self.run)[:MAX_ROWS]
        return redaction.redact_rows(self.run, rows)

    @property
    def golden(self) -> GoldenRun | None:
        """What of the run later ones have to repeat, if it is golden."""
        return getattr(self.run, "golden", None)

    @property
    def is_markable(self) -> bool:
        """Whether the viewer may mark the run golden, or change the mark."""
        is_possible = self.golden is not None or is_markable(self.run)
        return self.permissions.operate and is_possible

    @property
    def is_hidden(self) -> bool:
        """Whether the viewer may not read the data of the run."""
        return not self.permissions.read

    @property
    def parent(self) -> Run | None:
        """The parent run, if the viewer may see it."""
        parent = self.run.parent
        is_visible = parent and parent.workflow_name in self.permissions.granted.view
        return parent if is_visible else None
