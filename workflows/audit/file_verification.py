"""Verify the files of runs: each has a sealed audit event with its digest, and a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from workflows.audit.chain_verification import Finding
from workflows.models import AuditEvent, Run, RunFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from uuid import UUID

    Sealed = tuple[UUID, dict[str, Any]]

ADD_FILE: Final = "add file"


def sealed_values(row: RunFile) -> dict[str, Any]:
    """Return what the audit event states about a file: all but its name, which is data."""
    return {
        "file": str(row.pk),
        "node": row.node_name,
        "step": row.sequence,
        "size": row.size,
        "sha256": row.sha256,
    }


def check_files(runs: Collection[UUID]) -> Iterator[Finding]:
    """Yield the files of these runs that were added, changed or deleted.

    A run whose data retention has deleted has no files. Rows are read before and after their
    events: one that is recorded or purged meanwhile is not reported.
    """
    rows = {row.pk: row for row in RunFile.objects.filter(run__in=runs)}
    makers = {
        row.maker for row in rows.values()
    }  # perhaps deleted, and then a fork has it
    events = AuditEvent.objects.filter(run__in={*runs, *makers}, action=ADD_FILE)
    stated = [
        (run, after or {}) for run, after in events.values_list("run_id", "after")
    ]
    by_file = {str(after.get("file")): after for _, after in stated}
    for row in rows.values():
        if by_file.get(str(row.pk)) != sealed_values(row):
            what = f"the file {row.pk} of step {row.sequence} was added or changed"
            yield Finding(row.run_id, "run", what)
    known = {str(pk) for pk in rows}
    missing = [(run, after) for run, after in stated if after.get("file") not in known]
    if missing:
        yield from _deleted(missing)


def _deleted(missing: Collection[Sealed]) -> Iterator[Finding]:
    ids = [str(after.get("file")) for _, after in missing]
    rows = RunFile.objects.filter(pk__in=ids)
    now = {str(pk) for pk in rows.values_list("pk", flat=True)}
    # after the files: a purge deletes them and marks the run in one transaction
    runs = Run.objects.filter(pk__in={run for run, _ in missing})
    kept = set(runs.filter(payload_removed_at=None).values_list("pk", flat=True))
    for run, after in missing:
        if run in kept and after.get("file") not in now:
            what = (
                f"the file {after.get('file')} of step {after.get('step')} was deleted"
            )
            yield Finding(run, "run", what)
