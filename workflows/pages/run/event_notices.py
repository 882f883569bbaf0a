"""The notice of a run that waits for messages, or for the first of several: until when."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from workflows.models import EventWait, EventWaitKind, EventWaitStatus, Run, WaitKind
from workflows.pages.lists.event_waits import waits_of
from workflows.pages.redaction import is_redacted
from workflows.pages.render.text import readable_name
from workflows.pages.run.notice import AwaitedPart, Notice

if TYPE_CHECKING:
    from workflows.access.permissions import Permissions

WAITS_FOR_MESSAGES: Final = frozenset({WaitKind.EVENT, WaitKind.CALLBACK})


def event_notice(run: Run, permissions: Permissions) -> Notice:
    """Return the notice of a run that waits for an event."""
    waits = [one for one in waits_of(run) if one.status == EventWaitStatus.OPEN]
    if not waits:  # it was moved just now
        return Notice("quiet", f"Waiting at {readable_name(run.waiting_node)}.")
    wait = waits[0]
    if wait.kind == EventWaitKind.CALLBACK:
        return Notice(
            "quiet",
            "Waiting for a callback.",
            f"{readable_name(wait.node_name)} has given another system an address, and nothing"
            " has arrived there yet.",
            lead="Since",
            at=wait.created_at,
            until_lead="Expires" if wait.expires_at else "",
            until=wait.expires_at,
        )
    return Notice(
        "quiet",
        f"Waiting for the event “{wait.name}”.",
        _text(wait),
        lead="Since",
        at=wait.created_at,
        command=_offered_command(run, wait, permissions),
        until_lead="Expires" if wait.expires_at else "",
        until=wait.expires_at,
    )


def first_notice(run: Run, permissions: Permissions, approval: Notice | None) -> Notice:
    """Return the notice of a run that waits for the first of several.

    `approval` is the notice of the approval among them.
    """
    waits = [one for one in waits_of(run) if one.status == EventWaitStatus.OPEN]
    if not waits:  # it was moved just now
        return Notice("quiet", f"Waiting at {readable_name(run.waiting_node)}.")
    return Notice(
        approval.tone if approval else "quiet",
        f"Waiting for the first of {len(waits)}.",
        "What comes first continues the run, and the others are withdrawn.",
        href=approval.href if approval else "",
        link=approval.link if approval else "",
        lead="Since",
        at=min(wait.created_at for wait in waits),
        parts=tuple(_part(run, wait, permissions, approval) for wait in waits),
    )


def _part(
    run: Run, wait: EventWait, permissions: Permissions, approval: Notice | None
) -> AwaitedPart:
    name = readable_name(wait.node_name)
    is_timer = wait.kind == EventWaitKind.TIMER
    texts = {
        EventWaitKind.EVENT: f"The event “{wait.name}”. {_text(wait)}",
        EventWaitKind.CALLBACK: "Another system posts to the address that it was given.",
        EventWaitKind.APPROVAL: approval.text if approval else "",
        EventWaitKind.TIMER: "",
    }
    is_event = wait.kind == EventWaitKind.EVENT
    return AwaitedPart(
        "wait" if is_timer else wait.kind,
        name,
        texts[EventWaitKind(wait.kind)],
        _offered_command(run, wait, permissions) if is_event else "",
        until_lead="Ends" if is_timer else "Expires",
        until=wait.expires_at,
    )


def _offered_command(run: Run, wait: EventWait, permissions: Permissions) -> str:
    """Return the command that sends the message, "" for a viewer who may not."""
    is_sender = run.workflow_name in permissions.operate
    return _command(wait) if is_sender and not is_redacted(run) else ""


def _text(wait: EventWait) -> str:
    if not wait.key:
        return "Any message with this name moves it."
    if is_redacted(wait):
        return "The key is hidden."
    return f"With the key “{wait.key}”."


def _command(wait: EventWait) -> str:
    """Return the shell command that sends the message, without its value."""
    parts = ["signalbox", "send", wait.name]
    if wait.key:
        parts.append(wait.key)
    return f"{shlex.join(parts)} --value FIELD=VALUE --workflow {shlex.quote(wait.workflow_name)}"
