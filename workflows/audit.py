"""The audit trail: every human action is one row, appended, sealed and never edited.

A row says who, from where, what, why, and what it changed. `history/chains.py` seals it
as the newest of its run, so that none can be changed or taken out unnoticed.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import transaction

from workflows import facts
from workflows.errors import ReasonMissing
from workflows.history import chains
from workflows.models import Intervention

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

    from workflows.models import RemovedRun, Run

ON_DOCUMENTS = ADD_DOCUMENT, DELETE_DOCUMENT = "add document", "delete document"
MOST_ADDRESS = 45  # characters: the longest IPv6 address as text

_address: ContextVar[str] = ContextVar("address", default="")


@contextmanager
def coming_from(address: str) -> Iterator[None]:
    """Let what is done in this block be done from an address; "" outside of any."""
    token = _address.set(address[:MOST_ADDRESS])
    try:
        yield
    finally:
        _address.reset(token)


def address() -> str:
    """Return where what is done just now comes from, "" if that is nowhere."""
    return _address.get()


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
) -> Intervention:
    """Return the row of what someone did to a run, to be written with what it did.

    `after` is the status it has now, `changed` what else was and is, by name.
    """
    row = _deed(action, by=by, reason=reason, changed=changed)
    row.run, row.workflow_name = run, run.workflow_name
    row.status_before = run.status if action != "launch" else ""
    row.status_after = after
    return row


def record(run: Run, action: str, **facts: Any) -> Intervention:
    """Append what someone did to a run; call it in the transaction that does it.

    Takes what `entry` takes.
    """
    row = entry(run, action, **facts)
    chains.append(row)
    return row


def record_each(entries: Iterable[Intervention]) -> None:
    """Append entries of different runs, in the transaction that does what they say."""
    chains.append_to_runs(list(entries))


def record_removed(
    removed: RemovedRun, action: str, *, by: AbstractBaseUser | None, reason: str
) -> Intervention:
    """Append what was done to what is left of a run that was removed."""
    row = _deed(action, by=by, reason=reason, changed=None)
    row.run_id, row.workflow_name = removed.pk, removed.workflow_name
    chains.append(row)
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
        before = facts.of(row)
        yield
        changed = facts.difference(before, facts.of(row))
        note(action, by=by, reason=reason or str(row), changed=changed)


def note(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> Intervention:
    """Append what someone did to what all runs share: an agent, a profile, a budget."""
    row = _deed(action, by=by, reason=reason, changed=changed)
    chains.append(row)
    return row


def _deed(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> Intervention:
    before, after = changed or (None, None)
    return Intervention(
        actor_id=by.pk if by else None,
        actor_key=by.pk if by else None,
        actor_name=by.get_username() if by else "system",
        address=_address.get(),
        action=action,
        reason=reason,
        before=before,
        after=after,
    )
