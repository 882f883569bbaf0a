"""The questions that wait for a person: those of their groups, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import BooleanField, F, Func

from workflows.models import Approval, ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workflows.access.permissions import Permissions, WorkflowSet
    from workflows.models.approvals import ApprovalQuerySet

PAGE = 50  # questions on one page
MOST_COUNTED = 1_000  # questions; more are told as "1,000+"
WORKFLOW = "run__workflow_name"
UNUSED = ("run__result", "run__graph", "run__secrets", "evidence", "form")


class IsForGroups(Func):
    """The condition that a list of groups is empty, or names one of some groups.

    The same as `answering.is_for`, where the database can leave rows out before a page
    of them is cut.
    """

    output_field = BooleanField()

    def __init__(self, column: F, names: tuple[str, ...], **extra: Any) -> None:
        """Take the column of the list, and the names."""
        super().__init__(column, **extra)
        self.names = names

    def as_sqlite(
        self,
        compiler: Any,
        connection: Any,  # noqa: ARG002 - Django's signature
        **_: Any,
    ) -> tuple[str, tuple[Any, ...]]:
        """Return it by SQLite's functions on JSON."""
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
        """Return it by PostgreSQL's operators on JSON."""
        column, params = compiler.compile(self.get_source_expressions()[0])
        sql = f"({column} = '[]'::jsonb OR {column} ?| %s::text[])"
        return sql, [*params, *params, list(self.names)]


@dataclass(frozen=True, slots=True)
class Inbox:
    """One page of open questions, oldest first, and where the next one begins."""

    approvals: list[Approval]
    after: int | None  # key the next page comes after; None = there is no more


def open_for(sight: Permissions) -> ApprovalQuerySet:
    """Return the open questions that someone with these rights may answer."""
    waiting = Approval.objects.open()
    if not _mine(sight).are_all:
        waiting = waiting.filter(_mine(sight).q(WORKFLOW))
    if sight.groups is not None:
        names = tuple(sorted(sight.groups))
        waiting = waiting.filter(IsForGroups(F("groups"), names))
    return waiting


def page_of_open(sight: Permissions, after: int | None = None) -> Inbox:
    """Return a page of the questions that someone with these rights may answer."""
    rows = _with_runs(open_for(sight)).order_by("id")
    if after is not None:
        rows = rows.filter(pk__gt=after)
    found = list(rows[: PAGE + 1])
    more = len(found) > PAGE
    return Inbox(found[:PAGE], found[PAGE - 1].pk if more else None)


def by_urgency(sight: Permissions, count: int) -> list[Approval]:
    """Return the questions that expire first; those that never do, oldest first, last."""
    by_expiry = (F("expires_at").asc(nulls_last=True), "id")
    return list(_with_runs(open_for(sight)).order_by(*by_expiry)[:count])


def count_open(sight: Permissions) -> int:
    """Return how many questions wait for someone with these rights, up to a bound."""
    return open_for(sight).order_by().values("pk")[: MOST_COUNTED + 1].count()


def _with_runs(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    return rows.select_related("run", "run__launched_by").defer(*UNUSED)


def _mine(sight: Permissions) -> WorkflowSet:
    """Return the workflows whose questions they may answer, and be shown."""
    return sight.approve & sight.read


def list_answered(sight: Permissions, count: int) -> list[Approval]:
    """Return the questions that were closed last, newest first."""
    closed = Approval.objects.exclude(status=ApprovalStatus.OPEN).select_related(
        "run", "answered_by"
    )
    if not sight.read.are_all:
        closed = closed.filter(sight.read.q(WORKFLOW))
    return list(closed.defer(*UNUSED).order_by("-answered_at")[:count])


def by_group(approvals: Iterable[Approval]) -> list[tuple[str, list[Approval]]]:
    """Return the questions by who may answer them; those for anyone come first."""
    found: dict[str, list[Approval]] = {}
    for approval in approvals:
        name = " or ".join(sorted(map(str, approval.groups)))
        found.setdefault(name, []).append(approval)
    return sorted(found.items())
