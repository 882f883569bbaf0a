"""The texts of notifications and mail: only what everyone may know who can view the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.urls import reverse

from workflows.deliveries.payloads import absolute
from workflows.models import EventKind, Notification, OutboxEvent

if TYPE_CHECKING:
    from collections.abc import Sequence

    Event = Notification | OutboxEvent

LABELS: Final = dict(EventKind.choices)
SETTINGS: Final = "notification-settings"  # name of the page's address


def title_of(event: Event) -> str:
    """Return one line, such as “Run failed: summarize 9ae7b599”."""
    label = LABELS.get(event.kind, event.kind)
    if "alert" in event.facts:
        return f"{label}: {event.facts['name']} ({event.workflow_name})"
    if event.facts.get("event"):  # the name of one that was sent, received or expired
        label = f"{label} “{event.facts['event']}”"
    run = f" {event.run_id.hex[-8:]}" if event.run_id else ""
    return f"{label}: {event.workflow_name}{run}"


def path_of(event: Event) -> str:
    """Return the path of the page that shows more."""
    if event.run_id is not None:
        return reverse("run", args=[event.run_id])
    if "alert" in event.facts:
        return reverse("alert", args=[event.facts["alert"]])
    if "schedule" in event.facts:
        return reverse("schedule", args=[UUID(str(event.facts["schedule"]))])
    return reverse("workflow", args=[event.workflow_name])


def mail_about(event: Event) -> str:
    """Return the text of a mail about one event."""
    lines = [
        title_of(event),
        "",
        f"Time: {event.created_at:%Y-%m-%d %H:%M} UTC",
        f"View: {absolute(path_of(event))}",
    ]
    return "\n".join([*lines, *_footer()])


def chat_about(event: Event) -> str:
    """Return the text of a message to a chat, below its title."""
    return f"View: {absolute(path_of(event))}"


def digest_about(events: Sequence[Event]) -> str:
    """Return the text of the mail of a day."""
    lines = []
    for event in events:
        lines += [
            f"{event.created_at:%Y-%m-%d %H:%M} UTC  {title_of(event)}",
            f"  {absolute(path_of(event))}",
        ]
    return "\n".join([*lines, *_footer()])


def digest_title(count: int) -> str:
    """Return the subject of the mail of a day."""
    return f"{count} notification{'' if count == 1 else 's'}"


def _footer() -> list[str]:
    return ["", "--", f"Notification settings: {absolute(reverse(SETTINGS))}", ""]
