"""Open approvals of a user: those that their groups may answer, by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, F, Func

from workflows.models import Approval, ApprovalStatus
from workflows.pages.lists.pagination import Page, forward_page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.access.permissions import Permissions, WorkflowSet
    from workflows.models.approvals import ApprovalQuerySet

MAX_COUNTED = 1_000  # approvals; more are shown as "1,000+"
WORKFLOW = "run__workflow_name"
UNUSED = ("run__result", "run__graph", "run__secrets", "evidence", "form")


class IsForGroups(Func):
    """SQL condition that a JSON list of groups is empty or contains one of some names.

    The same as `services.approvals.is_for`, evaluated before LIMIT.
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


def open_for(granted: Permissions) -> ApprovalQuerySet:
    """Return the open approvals that these permissions allow to answer."""
    waiting = Approval.objects.open()
    if not _mine(granted).are_all:
        waiting = waiting.filter(_mine(granted).q(WORKFLOW))
    if granted.groups is not None:
        names = tuple(sorted(granted.groups))
        waiting = waiting.filter(IsForGroups(F("groups"), names))
    return waiting


def open_page(
    granted: Permissions,
    after: int | None = None,
    *,
    size: int | None = None,
    whole: bool = False,
) -> Page[Approval]:
    """Return a page of the open approvals, oldest first; `whole` with form and evidence."""
    rows = open_for(granted)
    rows = rows.select_related("run") if whole else _with_runs(rows)
    return forward_page(rows, after=after, size=size)


def by_urgency(granted: Permissions, count: int) -> list[Approval]:
    """Return the open approvals that expire first; those without expiry last."""
    by_expiry = (F("expires_at").asc(nulls_last=True), "id")
    return list(_with_runs(open_for(granted)).order_by(*by_expiry)[:count])


def count_open(granted: Permissions) -> int:
    """Return the number of open approvals, up to MAX_COUNTED + 1."""
    return open_for(granted).order_by().values("pk")[: MAX_COUNTED + 1].count()


def _with_runs(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    return rows.select_related("run", "run__launched_by").defer(*UNUSED)


def _mine(granted: Permissions) -> WorkflowSet:
    """Return the workflows whose approvals may be answered and viewed."""
    return granted.approve & granted.read


def list_answered(granted: Permissions, count: int) -> list[Approval]:
    """Return the most recently closed approvals, newest first."""
    closed = Approval.objects.exclude(status=ApprovalStatus.OPEN).select_related(
        "run", "responded_by"
    )
    if not granted.read.are_all:
        closed = closed.filter(granted.read.q(WORKFLOW))
    return list(closed.defer(*UNUSED).order_by("-responded_at")[:count])


def by_group(approvals: Iterable[Approval]) -> list[tuple[str, list[Approval]]]:
    """Return the approvals grouped by approvers; those for anyone come first."""
    found: dict[str, list[Approval]] = {}
    for approval in approvals:
        name = " or ".join(sorted(map(str, approval.groups)))
        found.setdefault(name, []).append(approval)
    return sorted(found.items())
