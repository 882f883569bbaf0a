"""Verify votes: each has an audit event whose seal covers the digest of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models.functions import Coalesce

from workflows.audit import seals
from workflows.audit.chain_verification import Finding
from workflows.models import ApprovalVote, AuditEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from uuid import UUID


def check_votes(runs: Collection[UUID]) -> Iterator[Finding]:
    """Yield the votes of these runs that were added or changed.

    Those whose response was deleted by retention are skipped. Votes are read before their
    events: one that is recorded meanwhile is not reported.
    """
    rows = ApprovalVote.objects.filter(approval__run__in=runs).order_by("pk")
    # those that a fork shares were given to another run, which may be deleted
    asked = Coalesce("approval__inherited_from", "approval__run_id")
    columns = (
        "approval__run_id",
        "asked",
        "approval__sequence",
        "voter_name",
        "response",
    )
    found = rows.annotate(asked=asked).values_list(*columns)
    votes = [row for row in found if row[-1] is not None]
    sealed = _sealed({asked for _, asked, *_ in votes}) if votes else set()
    for run, asked, sequence, name, response in votes:
        if (asked, name, seals.payload_digest(response).hex()) not in sealed:
            what = f"the vote of {name} at step {sequence} was added or changed"
            yield Finding(run, "run", what)


def _sealed(runs: Collection[UUID]) -> set[tuple[UUID | None, str, str]]:
    """Return run, person and digest of each vote that was recorded."""
    events = AuditEvent.objects.filter(run__in=runs, action="respond")
    rows = events.exclude(after=None).values_list("run_id", "actor_name", "after")
    return {(run, name, str((after or {}).get("digest"))) for run, name, after in rows}
