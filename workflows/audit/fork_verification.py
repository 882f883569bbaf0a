"""Verify forks: where a run comes from is what the first audit event of the run seals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.audit import seals
from workflows.audit.chain_verification import Finding
from workflows.models import AuditEvent, Fork, Run, Stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any
    from uuid import UUID


def check_forks(runs: Collection[UUID]) -> Iterator[Finding]:
    """Yield what deviates from the sealed event of each fork among these runs.

    The change is compared until retention deletes it. A fork without its row is found by the
    event, an ordinary run that was made one by its row.
    """
    forks = {fork.run_id: fork for fork in Fork.objects.filter(run__in=runs)}
    events = AuditEvent.objects.filter(run__in=runs, action="fork")
    sealed = dict(events.order_by("-pk").values_list("run_id", "after"))
    there = set(
        Run.objects.filter(pk__in=[*sealed]).values_list("pk", flat=True)
    )  # the event outlives the run
    for run in sorted({*forks, *(there & sealed.keys())}):
        for what in _deviations(forks.get(run), sealed.get(run) or {}):
            yield Finding(run, "run", what)
    yield from _strays(runs, forks)


def _deviations(fork: Fork | None, recorded: Mapping[str, Any]) -> Iterator[str]:
    if fork is None or not recorded:
        yield "whether it is a fork was changed: its row and its audit event do not agree"
        return
    stored = sealed_values(fork, bytes.fromhex(recorded.get("shared until", "")))
    if fork.change is None:  # deleted by retention
        stored["change"] = recorded.get("change")
    wrong = [name for name, value in stored.items() if recorded.get(name) != value]
    if wrong:
        yield f"the row about its origin was changed: {', '.join(wrong)}"


def _strays(runs: Collection[UUID], forks: Mapping[UUID, Fork]) -> Iterator[Finding]:
    """Yield runs that are said to share steps without being a fork."""
    shared = Stage.objects.filter(run__in=runs, inherited_from__isnull=False)
    for run in shared.order_by("run_id").values_list("run_id", flat=True).distinct():
        if run not in forks and Run.objects.filter(pk=run).exists():
            yield Finding(run, "run", "it has shared steps, but is no fork")


def sealed_values(fork: Fork, head: bytes) -> dict[str, Any]:
    """Return what the first audit event of a fork seals about it.

    `head` is that of the chain of the origin after the last shared row.
    """
    return {
        "forked from": str(fork.origin_key),
        "kind": str(fork.kind),
        "shared steps": fork.kept,
        "shared until": head.hex(),
        "entry": fork.entry,
        "change": seals.payload_digest(fork.change).hex(),
    }
