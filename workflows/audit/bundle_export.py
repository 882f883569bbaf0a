"""Export the history of a run as a signed bundle."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from workflows.audit import bundle_format, keys
from workflows.audit.file_verification import check_files
from workflows.audit.verifier import Checker
from workflows.models import ACTIVE_STATUSES, LinkKind, Run, RunLink, current_stage

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    from django.db.models import QuerySet

    from workflows.models import AuditEvent, Decision, Stage

FETCHED = 500  # rows per query


def public_key() -> str:
    """Return the public key that verifies bundles of this installation."""
    return keys.signing().public_key().public_bytes_raw().hex()


def pieces(run: Run, *, with_addresses: bool = True) -> Iterator[str]:
    """Yield the text of a bundle, with the client addresses of audit events.

    The history is verified first; the findings are part of the signed bundle.
    """
    found = [*Checker().run(run.pk), *check_files([run.pk])]
    findings = [str(one) for one in found]
    run = Run.objects.select_related("launched_by").get(pk=run.pk)
    chain = bundle_format.Chain()
    about = _hashed(chain, _run(run))
    yield f'{{"format": "{bundle_format.FORMAT}",\n"run": {json.dumps(about)}'
    decisions = run.decisions.select_related("decided_by")
    parts: dict[str, tuple[Iterator[Any], Callable[[Any], dict[str, Any]]]] = {
        "stages": (_stages(run), _stage),
        "decisions": (_in_order(decisions), _decision),
        "interventions": (
            _in_order(run.audit_events.all()),
            partial(_audit_event, with_addresses),
        ),
    }
    for name, (rows, to_dict) in parts.items():
        yield f',\n"{name}": ['
        separator = "\n"
        for row in rows:
            yield separator + json.dumps(_hashed(chain, to_dict(row)))
            separator = ",\n"
        yield "]"
    yield _end(chain, about, findings)


def _stages(run: Run) -> Iterator[Stage]:
    """Yield the stages of a run; the one in progress is last, and has no id."""
    current = current_stage(run)
    for stage in _in_order(run.stages.all()):
        if current is not None and stage.place == current.place:
            if stage.status in ACTIVE_STATUSES:
                continue  # the pause that the current stage continues
            current = None  # it has ended since the run was read
        yield stage
    if current is not None:
        yield current


def _in_order(rows: QuerySet[Any]) -> Iterator[Any]:
    """Yield rows in the order of ids, without a cursor open while they are sent."""
    after = 0
    while chunk := list(rows.filter(pk__gt=after).order_by("pk")[:FETCHED]):
        yield from chunk
        after = chunk[-1].pk


def _end(
    chain: bundle_format.Chain, about: Mapping[str, Any], findings: list[str]
) -> str:
    """Return the end of a bundle: its head, and the signature."""
    end = {
        "exported_at": timezone.now().isoformat(),
        "as_recorded": not findings,
        "findings": findings,
        "rows": chain.length,
        "head": chain.head.hex(),
    }
    signed = bundle_format.statement(
        {"format": bundle_format.FORMAT, "run": about, **end}
    )
    end |= {"public_key": public_key(), "signature": keys.signing().sign(signed).hex()}
    return ",\n" + json.dumps(end)[1:] + "\n"


def _hashed(chain: bundle_format.Chain, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "hash": chain.hashed(row)}


def _run(run: Run) -> dict[str, Any]:
    return {
        "id": str(run.pk),
        "workflow": run.workflow_name,
        "fingerprint": run.fingerprint,
        "status": run.status,
        "params": run.params,
        "result": run.result,
        "error_message": run.error_message,
        "steps_to_undo": run.steps_to_undo,
        "steps_undone": run.steps_undone,
        "launched_by": run.launched_by.get_username() if run.launched_by else "",
        "parent": str(run.parent_id) if run.parent_id else None,
        **_links(run),
        **_files(run),
        "created_at": _at(run.created_at),
        "started_at": _at(run.started_at),
        "completed_at": _at(run.completed_at),
        "steps": run.sequence,
        "attempts": run.attempt,
    }


def _links(run: Run) -> dict[str, Any]:
    """Return the ids of the runs that launched, precede and continue this one, if any."""
    origin = RunLink.objects.filter(run=run.pk).first()
    next_run = RunLink.objects.filter(origin=run.pk, kind=LinkKind.CONTINUE).first()
    links: dict[str, Any] = {}
    if origin is not None and origin.origin_id is not None:
        name = "continues" if origin.kind == LinkKind.CONTINUE else "launched_by_run"
        links[name] = str(origin.origin_id)
    if next_run is not None:
        links["continued_by"] = str(next_run.run_id)
    return links


def _files(run: Run) -> dict[str, Any]:
    """Return the files that the run made, if any, with the digests of their content."""
    files = [
        {
            "id": str(row.pk),
            "name": row.name,
            "node": row.node_name,
            "sequence": row.sequence,
            "attempt": row.attempt,
            "content_type": row.content_type,
            "size": row.size,
            "sha256": row.sha256,
            "created_at": _at(row.created_at),
        }
        for row in run.files.all()
    ]
    return {"files": files} if files else {}


def _stage(row: Stage) -> dict[str, Any]:
    return {
        "id": row.pk,
        "attempt": row.attempt,
        "sequence": row.sequence,
        "node": row.node_name,
        "iteration": row.iteration,
        "tries": row.tries,
        "status": row.status,
        "duration_ms": row.duration_ms,
        "items_done": row.items_done,
        "items_total": row.items_total,
        "kind": row.kind,
        "undoes": row.undoes,
        "branch": row.branch,
        "error_message": row.error_message,
        "created_at": _at(row.created_at),
        "seal": _hex(row.seal),
    }


def _decision(row: Decision) -> dict[str, Any]:
    return {
        "id": row.pk,
        "attempt": row.attempt,
        "sequence": row.sequence,
        "edge": row.edge_index,
        "from": row.from_node,
        "to": row.to_node,
        "predicate": row.predicate_name,
        "predicate_result": row.predicate_result,
        "reason": row.reason,
        "values": row.values,
        "taken": row.taken,
        "decided_by": row.decided_by.get_username() if row.decided_by else "",
        "comment": row.comment,
        "created_at": _at(row.created_at),
        "seal": _hex(row.seal),
    }


def _audit_event(with_addresses: bool, row: AuditEvent) -> dict[str, Any]:
    return {
        "id": row.pk,
        "actor": row.actor_name,
        "address": row.address if with_addresses else None,
        "token": row.token_name,
        "action": row.action,
        "reason": row.reason,
        "status_before": row.status_before,
        "status_after": row.status_after,
        "before": row.before,
        "after": row.after,
        "created_at": _at(row.created_at),
        "seal": _hex(row.seal),
    }


def _at(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _hex(value: bytes | memoryview | None) -> str | None:
    return None if value is None else bytes(value).hex()
