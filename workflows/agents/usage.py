"""Usage of agents: sums over the recorded calls.

Totals are computed from the rows on each read, so they cannot diverge.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q, Sum

from workflows.models import AgentCall

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from django.db.models import QuerySet

# prefixed: an alias equal to a column name would shadow the column in later expressions
_SUMS = {
    "sum_calls": Count("id"),
    "sum_tokens_in": Sum("tokens_in"),
    "sum_tokens_out": Sum("tokens_out"),
    "sum_cost": Sum("cost"),
    "sum_latency_ms": Sum("latency_ms"),
    "sum_estimated": Count("id", filter=Q(is_estimated=True)),
    "sum_unpriced": Count("id", filter=Q(cost__isnull=True)),
}


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals of some calls."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: Decimal | None = None  # None: no call has a price
    latency_ms: float = 0.0
    estimated: int = 0  # calls with estimated tokens
    unpriced: int = 0  # calls without a price

    @property
    def tokens(self) -> int:
        """Return input plus output tokens."""
        return self.tokens_in + self.tokens_out

    def columns(self) -> dict[str, Any]:
        """Return the columns of an export of runs."""
        return {
            "agent_calls": self.calls,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "cost": None if self.cost is None else str(self.cost),
            "agent_ms": round(self.latency_ms, 1),
        }


def of(calls: QuerySet[AgentCall]) -> Usage:
    """Return the totals of some calls."""
    return _usage(calls.aggregate(**_SUMS))


def plus(known: Usage, calls: Iterable[AgentCall]) -> Usage:
    """Return totals with further calls added."""
    more = list(calls)
    costs = [one.cost for one in more if one.cost is not None]
    cost = known.cost if not costs else (known.cost or 0) + sum(costs, Decimal(0))
    return replace(
        known,
        calls=known.calls + len(more),
        tokens_in=known.tokens_in + sum(one.tokens_in for one in more),
        tokens_out=known.tokens_out + sum(one.tokens_out for one in more),
        cost=cost,
        latency_ms=known.latency_ms + sum(one.latency_ms for one in more),
    )


def of_run(run_id: UUID) -> Usage:
    """Return the totals of a run over all attempts."""
    return of(AgentCall.objects.filter(run=run_id))


def of_stages(run_id: UUID) -> dict[tuple[int, int], Usage]:
    """Return the totals of each stage of a run by (attempt, sequence)."""
    rows = AgentCall.objects.filter(run=run_id).order_by()
    sums = rows.values("attempt", "sequence").annotate(**_SUMS)
    return {(row["attempt"], row["sequence"]): _usage(row) for row in sums}


def of_runs(run_ids: Iterable[UUID]) -> dict[UUID, Usage]:
    """Return the totals of each run; runs without calls are left out.

    For lists and exports: a single query for any number of runs.
    """
    return by(AgentCall.objects.filter(run__in=list(run_ids)), "run")


def by(calls: QuerySet[AgentCall], column: str) -> dict[Any, Usage]:
    """Return totals grouped by a column."""
    rows = calls.order_by().values(column).annotate(**_SUMS)
    return {row[column]: _usage(row) for row in rows}


def of_workflow(name: str, *, since: dt.datetime | None = None) -> Usage:
    """Return the totals of a workflow, including deleted runs."""
    rows = AgentCall.objects.filter(workflow_name=name)
    return of(rows.filter(created_at__gte=since) if since else rows)


def _usage(row: Mapping[str, Any]) -> Usage:
    found = {name.removeprefix("sum_"): row[name] for name in _SUMS}
    return Usage(**{name: value for name, value in found.items() if value is not None})
