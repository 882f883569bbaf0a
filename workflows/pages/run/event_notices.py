"""The notice of a run that waits for a message: which one, and until when."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from workflows.models import EventWait, EventWaitKind, EventWaitStatus, Run, WaitKind
from workflows.pages.lists.event_waits import waits_of
from workflows.pages.redaction import is_redacted
from workflows.pages.render.text import readable_name
from workflows.pages.run.notice import Notice

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
    is_sender = run.workflow_name in permissions.operate
    is_offered = is_sender and not is_redacted(run)
    return Notice(
        "quiet",
        f"Waiting for the event “{wait.name}”.",
        _text(wait),
        lead="Since",
        at=wait.created_at,
        command=_command(wait) if is_offered else "",
        until_lead="Expires" if wait.expires_at else "",
        until=wait.expires_at,
    )


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
