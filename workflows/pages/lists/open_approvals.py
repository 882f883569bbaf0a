"""Open approvals of a user: those that their groups may answer, by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group
from django.db.models import (
    BooleanField,
    Exists,
    F,
    Func,
    OuterRef,
    Q,
    prefetch_related_objects,
)

from workflows.access import permissions
from workflows.execution.approval_escalations import escalation_of
from workflows.infra import clock
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalKind,
    ApprovalStatus,
    ApprovalVote,
)
from workflows.pages.lists.pagination import Page, forward_page
from workflows.registry import registry
from workflows.services import approvals
from workflows.services.approval_assignments import assignment_of
from workflows.services.approval_claims import claim_of
from workflows.services.approval_snoozes import snoozed_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from django.contrib.auth.models import User

    from workflows.access.permissions import Permissions, WorkflowSet
    from workflows.models.approvals import ApprovalQuerySet

MAX_COUNTED = 1_000  # approvals; more are shown as "1,000+"
WORKFLOW = "run__workflow_name"
# which approvals a list shows
ALL, MINE, UNCLAIMED, SNOOZED = "", "mine", "unclaimed", "snoozed"
SHOWN = {ALL: "All", MINE: "Mine", UNCLAIMED: "Unclaimed", SNOOZED: "Snoozed"}
UNUSED = (
    *("run__result", "run__graph", "run__secrets"),
    *("evidence", "form", "initial"),
)


class IsForGroups(Func):
    """SQL condition that a JSON list of groups is empty or contains one of some names.

    The same as `permissions.is_for`, evaluated before LIMIT.
    """

    output_field = BooleanField()

    def __init__(self, column: F, names: tuple[str, ...], **extra: Any) -> None:
        super().__init__(column, **extra)
        self.names = names

    def as_sqlite(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        places = ", ".join(["%s"] * len(self.names)) or "NULL"
        sql = (
            f"(JSON_ARRAY_LENGTH({column}) = 0 OR EXISTS (SELECT 1 FROM"  # noqa: S608 - places for parameters
            f" JSON_EACH({column}) AS named WHERE named.value IN ({places})))"
        )
        return sql, (*params, *params, *self.names)

    def as_postgresql(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        sql = f"({column} = '[]'::jsonb OR {column} ?| %s::text[])"
        return sql, [*params, *params, list(self.names)]


class Excludes(Func):
    """SQL condition that a JSON list has the primary key of a person."""

    output_field = BooleanField()

    def __init__(self, column: F, person_id: int, **extra: Any) -> None:
        super().__init__(column, **extra)
        self.person_id = person_id

    def as_sqlite(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, tuple[Any, ...]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        sql = (
            f"EXISTS (SELECT 1 FROM JSON_EACH({column}) AS named"  # noqa: S608 - places for parameters
            " WHERE named.value = %s)"
        )
        return sql, (*params, self.person_id)

    def as_postgresql(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, list[Any]]:
        column, params = compiler.compile(self.get_source_expressions()[0])
        return f"({column} @> %s::jsonb)", [*params, f"[{int(self.person_id)}]"]


def open_for(granted: Permissions, person_id: int | None = None) -> ApprovalQuerySet:
    """Return the open approvals that these permissions allow to answer.

    With a person, without those from which this person is excluded or that have their vote.
    """
    waiting = Approval.objects.open()
    if not _mine(granted).are_all:
        waiting = waiting.filter(_mine(granted).q(WORKFLOW))
    if granted.groups is not None:
        names = tuple(sorted(granted.groups))
        waiting = waiting.filter(IsForGroups(F("groups"), names))
    if person_id is not None:
        votes = ApprovalVote.objects.filter(approval=OuterRef("pk"), voter=person_id)
        waiting = waiting.exclude(Excludes(F("excluded"), person_id))
        waiting = waiting.exclude(Exists(votes))
    return waiting


def are_personal(granted: Permissions) -> bool:
    """Return whether it can depend on the person who may respond, by installed workflows."""
    mine = _mine(granted)
    return any(
        one.has_personal_approvals and one.name in mine for one in registry.list()
    )


def open_page(  # noqa: PLR0913 - options of a page
    granted: Permissions,
    after: int | None = None,
    *,
    person_id: int | None = None,
    size: int | None = None,
    whole: bool = False,
    only: Q | None = None,
) -> Page[Approval]:
    """Return a page of the open approvals, oldest first; `whole` with form and evidence.

    `only` is a condition of `shown_to`.
    """
    rows = open_for(granted, person_id)
    rows = rows.filter(only) if only is not None else rows
    rows = (
        rows.select_related(
            "run", "claim", "assignment", "escalation"
        ).prefetch_related("votes")
        if whole
        else _with_runs(rows)
    )
    return forward_page(rows, after=after, size=size)


def shown_to(person_id: int, which: str, snoozed: Sequence[int]) -> Q:
    """Return the condition of the approvals that a list shows to a person.

    `snoozed` are those that the person has hidden, as the key of the cached list has them.
    """
    if which == SNOOZED:
        return Q(pk__in=snoozed)
    awake = ~Q(pk__in=snoozed)
    of_it = {"approval": OuterRef("pk")}
    claims = ApprovalClaim.objects.filter(expires_at__gt=clock.now(), **of_it)
    assigned = ApprovalAssignment.objects.filter(**of_it)
    if which == UNCLAIMED:
        return awake & ~Q(Exists(claims)) & ~Q(Exists(assigned))
    if which == MINE:
        groups = Group.objects.filter(user=person_id).values("name")
        mine = Q(person=person_id) | Q(person=None, name__in=groups)
        claimed = Q(Exists(claims.filter(person=person_id)))
        return awake & (claimed | Q(Exists(assigned.filter(mine))))
    return awake


def by_urgency(
    granted: Permissions, count: int, person_id: int, snoozed: Sequence[int]
) -> list[Approval]:
    """Return the open approvals that expire first, without snoozed ones; without expiry last."""
    by_expiry = (F("expires_at").asc(nulls_last=True), "id")
    rows = open_for(granted, person_id).exclude(pk__in=snoozed)
    rows = _with_runs(rows).order_by(*by_expiry)
    return list(with_refusals(rows[:count], person_id))


def next_open(user: User, after: Approval) -> Approval | None:
    """Return the approval that a person responds to next: the oldest after another one.

    After the last one, the oldest of all.
    """
    granted = permissions.permissions_for(user)
    rows = open_for(granted, user.pk).exclude(pk__in=[*snoozed_by(user), after.pk])
    rows = rows.order_by("pk")
    return rows.filter(pk__gt=after.pk).first() or rows.first()


def count_open(
    granted: Permissions, person_id: int | None = None, snoozed: Sequence[int] = ()
) -> int:
    """Return the number of open approvals of a person, up to MAX_COUNTED + 1."""
    rows = open_for(granted, person_id).order_by().exclude(pk__in=snoozed)
    return rows.values("pk")[: MAX_COUNTED + 1].count()


def with_refusals(rows: Iterable[Approval], person_id: int) -> Iterator[Approval]:
    """Yield approvals with `refusal`, why this person cannot respond, and further texts."""
    found = list(rows)
    several = [row for row in found if row.votes_needed > 1]
    prefetch_related_objects(several, "votes")
    for row in found:
        row.refusal = approvals.refusal(row, person_id)  # type: ignore[attr-defined]  # for templates
        row.progress = approvals.progress(row)  # type: ignore[attr-defined]  # for templates
        row.expiry = approvals.expiry_text(row)  # type: ignore[attr-defined]  # for templates
        row.claimed = claim_of(row)  # type: ignore[attr-defined]  # for templates
        row.assigned = assignment_of(row)  # type: ignore[attr-defined]  # for templates
        row.escalates = escalation_of(row)  # type: ignore[attr-defined]  # for templates
        yield row


def _with_runs(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    return rows.select_related(
        "run", "run__launched_by", "claim", "assignment", "escalation"
    ).defer(*UNUSED)


def _mine(granted: Permissions) -> WorkflowSet:
    """Return the workflows whose approvals may be answered and viewed."""
    return granted.approve & granted.read


def list_answered(granted: Permissions, count: int) -> list[Approval]:
    """Return the most recently closed approvals, newest first."""
    closed = Approval.objects.exclude(status=ApprovalStatus.OPEN)
    closed = closed.filter(inherited_from=None).select_related(
        "run", "responded_by", "escalation"
    )
    if not granted.read.are_all:
        closed = closed.filter(granted.read.q(WORKFLOW))
    rows = list(closed.defer(*UNUSED).order_by("-responded_at")[:count])
    prefetch_related_objects([row for row in rows if row.votes_needed > 1], "votes")
    for row in rows:
        row.escalates = escalation_of(row)  # type: ignore[attr-defined]  # for templates
        row.responders = approvals.responders(row)  # type: ignore[attr-defined]  # for templates
        row.outcome = approvals.response_text(row.response)  # type: ignore[attr-defined]  # for templates
    return rows


def equal_rows(rows: Iterable[Approval]) -> list[list[Approval]]:
    """Return the approvals that one response can answer: several of one node.

    `rows` are those of `with_refusals`.
    """
    found: dict[tuple[str, str], list[Approval]] = {}
    for row in rows:
        if row.kind == ApprovalKind.NODE and not row.refusal:  # type: ignore[attr-defined]  # of with_refusals
            key = (row.run.workflow_name, row.node_name)
            found.setdefault(key, []).append(row)
    return [same for same in found.values() if len(same) > 1]


def by_group(approvals: Iterable[Approval]) -> list[tuple[str, list[Approval]]]:
    """Return the approvals grouped by approvers; those for anyone come first."""
    found: dict[str, list[Approval]] = {}
    for approval in approvals:
        name = " or ".join(sorted(map(str, approval.groups)))
        found.setdefault(name, []).append(approval)
    return sorted(found.items())
