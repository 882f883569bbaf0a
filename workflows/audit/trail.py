"""The audit trail: every human action is one row, appended, sealed and never edited.

A row says who, from where, what, why, and what it changed. `history/chains.py` seals it
as the newest of its run, so that none can be changed or taken out unnoticed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import transaction

from workflows.audit import chain, snapshots
from workflows.errors import ReasonMissing
from workflows.models import AuditEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

    from workflows.models import RemovedRun, Run

ON_DOCUMENTS = ADD_DOCUMENT, DELETE_DOCUMENT = "add document", "delete document"
OF_RUNS = "Runs"
IN_ADMIN = "In Django admin"
ACTIONS: dict[str, tuple[str, ...]] = {
    OF_RUNS: (
        *("launch", "cancel", "resume", "run again", "release"),
        *("keep", "keep no longer", "label", "unlabel", "note", "delete"),
    ),
    "Approvals": ("answer", "raise budget"),
    "Documents": ON_DOCUMENTS,
    "Agents, profiles and budgets": tuple(
        f"{verb} {kind}"
        for kind in ("provider", "agent", "profile", "budget", "price")
        for verb in ("save", "delete")
    ),
    "Accounts": ("change password",),
    "Views and jobs": ("save view", "change view", "delete view", "stop job"),
    "Retention": ("remove payload", "remove run", "remove history"),
    IN_ADMIN: (),  # declared by its pages
}
"""Every action that is recorded, by what it is about; the audit's filter offers these."""
SUBJECTS = {  # what an action is about, where its last word does not say so
    "password": "account",
    "user": "account",
    "group": "role",
    "job": "bulk job",
}
MAX_ADDRESS_LENGTH = 45  # characters: the longest IPv6 address as text

_address: ContextVar[str] = ContextVar("address", default="")


@contextmanager
def coming_from(address: str) -> Iterator[None]:
    """Let what is done in this block be done from an address; "" outside of any."""
    token = _address.set(address[:MAX_ADDRESS_LENGTH])
    try:
        yield
    finally:
        _address.reset(token)


def address() -> str:
    """Return where what is done just now comes from, "" if that is nowhere."""
    return _address.get()


def declare(name: str, *actions: str) -> None:
    """Add actions that may be recorded from now on, under a heading of the filter."""
    known = ACTIONS.get(name, ())
    ACTIONS[name] = (*known, *(one for one in actions if one not in known))


def is_declared(action: str) -> bool:
    """Tell whether an action may be recorded: the filter offers it then."""
    return any(action in known for known in ACTIONS.values())


def subject_of(row: AuditEvent) -> str:
    """Return what a row that belongs to no run is about: `Agent “default”`."""
    kind = row.action.partition(" ")[2]
    named = row.reason
    if row.action in ACTIONS[IN_ADMIN]:  # where what was changed follows the name
        named = named.rpartition(": ")[0] or named
    kind = SUBJECTS.get(kind, kind)
    return f"{kind[:1].upper()}{kind[1:]} “{named}”" if named else kind.capitalize()


def require_reason(reason: str, *, by: AbstractBaseUser | None) -> None:
    """Return if a person said why, or nobody did it. Raises ReasonMissing."""
    if by is not None and not reason.strip():
        raise ReasonMissing


def entry(  # noqa: PLR0913 - what a deed may say
    run: Run,
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str = "",
    after: str = "",
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> AuditEvent:
    """Return the row of what someone did to a run, to be written with what it did.

    `after` is the status it has now, `changed` what else was and is, by name.
    """
    row = _new_event(action, by=by, reason=reason, changed=changed)
    row.run, row.workflow_name = run, run.workflow_name
    row.status_before = run.status if action != "launch" else ""
    row.status_after = after
    return row


def record(run: Run, action: str, **facts: Any) -> AuditEvent:
    """Append what someone did to a run; call it in the transaction that does it.

    Takes what `entry` takes.
    """
    row = entry(run, action, **facts)
    chain.append(row)
    return row


def record_each(entries: Iterable[AuditEvent]) -> None:
    """Append entries of different runs, in the transaction that does what they say."""
    chain.append_to_runs(list(entries))


def record_removed(
    removed: RemovedRun, action: str, *, by: AbstractBaseUser | None, reason: str
) -> AuditEvent:
    """Append what was done to what is left of a run that was removed."""
    row = _new_event(action, by=by, reason=reason, changed=None)
    row.run_id, row.workflow_name = removed.pk, removed.workflow_name
    chain.append(row)
    return row


@contextmanager
def changing(
    action: str, row: Model, *, by: AbstractBaseUser | None, reason: str = ""
) -> Iterator[None]:
    """Append what the block makes of a row that all runs share, in one transaction.

    The row may be one that the block adds or deletes. `reason` is its name where nobody
    was asked for one.
    """
    with transaction.atomic():
        before = snapshots.of(row)
        yield
        changed = snapshots.difference(before, snapshots.of(row))
        note(action, by=by, reason=reason or str(row), changed=changed)


def note(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> AuditEvent:
    """Append what someone did to what all runs share: an agent, a profile, a budget."""
    row = _new_event(action, by=by, reason=reason, changed=changed)
    chain.append(row)
    return row


def _new_event(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> AuditEvent:
    if not is_declared(action):  # it would be missing from the filter
        raise ValueError(f"“{action}” is no declared action of the audit.")
    before, after = changed or (None, None)
    return AuditEvent(
        actor_id=by.pk if by else None,
        actor_key=by.pk if by else None,
        actor_name=by.get_username() if by else "system",
        address=_address.get(),
        action=action,
        reason=reason,
        before=before,
        after=after,
    )
