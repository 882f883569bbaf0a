"""Audit events: every action of a person or API client is one row, sealed, never edited.

A row has the actor, the client address, the action, the reason and the changes. `seal_rows.py`
seals it as the newest of its run, so that changes and deletions are detected.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import transaction

from workflows.audit import seal_rows, snapshots
from workflows.errors import NotAllowed, ReasonMissing, ReasonTooLong
from workflows.models import AuditEvent
from workflows.models.new_rows import new_row

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
        *("launch", "fork", "cancel", "resume", "rerun", "release"),
        *("override decision", "change response"),
        *("pin", "unpin", "label", "unlabel", "note", "delete"),
        *("mark golden", "unmark golden", "assess"),
    ),
    "Workflows": ("pause workflow", "unpause workflow"),
    "Approvals": (
        *("respond", "raise budget"),
        *("claim approval", "release approval", "reassign approval"),
        *("escalate approval", "remind approvers", "snooze approval"),
    ),
    "Events": ("send event", "receive event"),
    "Documents": (*ON_DOCUMENTS, "add file"),
    "Agents, profiles and budgets": (
        *(
            f"{verb} {kind}"
            for kind in ("provider", "agent", "profile", "budget", "price")
            for verb in ("save", "delete")
        ),
        "promote profile",
    ),
    "Accounts": (
        *("change password", "create token", "revoke token"),
        *("create service account", "change default access"),
        *("start view as", "end view as"),
        *("sign in", "refuse sign-in", "sign out everywhere", "end session"),
        *("reset password", "follow provider groups"),
        *(f"{verb} invitation" for verb in ("create", "revoke", "accept")),
        *(f"{verb} second factor" for verb in ("add", "remove", "renew")),
    ),
    "Schedules": tuple(
        f"{verb} schedule"
        for verb in ("create", "change", "pause", "resume", "delete", "backfill")
    ),
    "Webhook destinations": (
        *(
            f"{verb} destination"
            for verb in ("create", "change", "pause", "resume", "test", "delete")
        ),
        *("rotate destination secret", "replay delivery"),
    ),
    "Notifications": ("set chat", "test chat", "remove chat"),
    "Incoming webhooks": (
        *(f"{verb} webhook" for verb in ("create", "change", "enable", "disable")),
        *("rotate webhook secret", "delete webhook", "replay webhook"),
    ),
    "Alerts": ("create alert", "change alert", "delete alert"),
    "Views and jobs": (
        "save view",
        "change view",
        "delete view",
        "cancel job",
        "launch batch",
    ),
    "Retention": (
        *("purge call content", "purge data"),
        *("purge run", "purge history"),
    ),
    "Operation": ("restore backup",),
    IN_ADMIN: (),  # declared by its pages
}
"""Every recorded action by subject. A renamed one gets a row in RENAMED_ACTIONS."""
SUBJECTS = {  # names of subjects that differ from the last word of the action
    "password": "account",
    **dict.fromkeys(
        ("view as", "in", "sign-in", "out everywhere", "provider groups"), "account"
    ),
    "user": "account",
    "group": "role",
    "job": "bulk operation",
    "webhook secret": "webhook",
}
READ_ONLY = "Not done: you view pages as another member, which is read-only."
VIEWED_ATTRIBUTE = "_signalbox_viewed_by"
"""Of a user object that an administrator views pages as: no action is recorded for it."""
MAX_REASON_LENGTH = 2_000  # characters
FIRST = ("launch", "fork")  # actions with which a run begins
MAX_ADDRESS_LENGTH = 45  # characters: the longest IPv6 address as text

_address: ContextVar[str] = ContextVar("address", default="")
_token_name: ContextVar[str] = ContextVar("token_name", default="")


@contextmanager
def coming_from(address: str) -> Iterator[None]:
    """Set the client address of audit events recorded in this block."""
    before = _address.set(address[:MAX_ADDRESS_LENGTH])
    name_before = _token_name.set("")
    try:
        yield
    finally:
        _token_name.reset(name_before)
        _address.reset(before)


def set_token_name(name: str) -> None:
    """Set the API token of audit events until the end of the block of `coming_from`."""
    _token_name.set(name)


def address() -> str:
    """Return the current client address, "" if unknown."""
    return _address.get()


def declare(name: str, *actions: str) -> None:
    """Declare further actions, under a heading of the filter."""
    known = ACTIONS.get(name, ())
    ACTIONS[name] = (*known, *(one for one in actions if one not in known))


def is_declared(action: str) -> bool:
    """Return whether an action is declared, so that the filter offers it."""
    return any(action in known for known in ACTIONS.values())


def subject_of(row: AuditEvent) -> str:
    """Return the subject of an event without a run, such as `Agent “default”`."""
    kind = row.action_name.partition(" ")[2]
    named = row.reason
    if row.action_name in ACTIONS[IN_ADMIN]:  # the name is followed by the changes
        named = named.rpartition(": ")[0] or named
    kind = SUBJECTS.get(kind, kind)
    return f"{kind[:1].upper()}{kind[1:]} “{named}”" if named else kind.capitalize()


def require_reason(reason: str, *, by: AbstractBaseUser | None) -> None:
    """Raise ReasonInvalid if a person gave none or a too long one; the system needs none."""
    if by is not None and not reason.strip():
        raise ReasonMissing
    check_length(reason)


def check_length(reason: str) -> None:
    """Raise ReasonTooLong: a truncated reason would be another reason."""
    if len(reason) > MAX_REASON_LENGTH:
        raise ReasonTooLong(len(reason), MAX_REASON_LENGTH)


def entry(  # noqa: PLR0913 - fields of an event
    run: Run,
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str = "",
    after: str = "",
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
) -> AuditEvent:
    """Return an unsaved event about a run.

    `after` is the new status; `changed` has further values before and after, by name.
    """
    row = _new_event(action, by=by, reason=reason, changed=changed)
    row.run_id, row.workflow_name = run.pk, run.workflow_name
    row.status_before = run.status if action not in FIRST else ""
    row.status_after = after
    return row


def record(run: Run, action: str, **fields: Any) -> AuditEvent:
    """Append an event about a run; call it in the transaction of the action.

    Takes the arguments of `entry`.
    """
    row = entry(run, action, **fields)
    seal_rows.append(row)
    return row


def record_each(entries: Iterable[AuditEvent]) -> None:
    """Append events of different runs; call it in the transaction of the actions."""
    seal_rows.append_to_runs(list(entries))


def record_removed(
    removed: RemovedRun, action: str, *, by: AbstractBaseUser | None, reason: str
) -> AuditEvent:
    """Append an event about a deleted run."""
    row = _new_event(action, by=by, reason=reason, changed=None)
    row.run_id, row.workflow_name = removed.pk, removed.workflow_name
    seal_rows.append(row)
    return row


@contextmanager
def changing(
    action: str,
    row: Model,
    *,
    by: AbstractBaseUser | None,
    reason: str = "",
    workflow: str = "",
) -> Iterator[None]:
    """Append an event with the changes that the block makes to a row, in one transaction.

    The block may add or delete the row. `reason` defaults to the name of the row.
    `workflow`: only people who may read its values may see those of the event.
    """
    with transaction.atomic():
        before = snapshots.of(row)
        yield
        changed = snapshots.difference(before, snapshots.of(row))
        reason = reason or str(row)
        note(action, by=by, reason=reason, changed=changed, workflow=workflow)


def note(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None,
    workflow: str = "",
) -> AuditEvent:
    """Append an event without a run: about an agent, a profile, a budget."""
    row = _new_event(action, by=by, reason=reason, changed=changed)
    row.workflow_name = workflow
    seal_rows.append(row)
    return row


def _new_event(
    action: str,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> AuditEvent:
    if not is_declared(action):  # the filter would not offer it
        raise ValueError(f"“{action}” is not a declared audit action.")
    if getattr(by, VIEWED_ATTRIBUTE, None) is not None:
        raise NotAllowed(READ_ONLY)
    before, after = changed or (None, None)
    return new_row(
        AuditEvent,
        actor_id=by.pk if by else None,
        actor_key=by.pk if by else None,
        actor_name=by.get_username() if by else "system",
        address=_address.get(),
        token_name=_token_name.get(),
        action=action,
        reason=reason,
        before=before,
        after=after,
    )
