"""Notices before the first step of each later attempt: why there is another attempt."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from workflows.models import PROCESS_DIED, SUSPICION_LIFTED, Outcome
from workflows.pages.run.notices import Notice, with_reason
from workflows.pages.run.recovery_texts import is_rewound, is_unrequested_release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.models import Attempt, AuditEvent

SHARED: Final = "The steps until here are shared with the run that was forked."


def attempt_notices(
    attempts: Sequence[Attempt],
    audit_events: Sequence[AuditEvent],
    first_steps: Mapping[int, int],
) -> dict[int, Notice]:
    """Return the reason of each attempt after the first, by attempt number.

    `first_steps` has the first step of each attempt. There is no notice for an attempt
    that follows a response to an approval: the decision below it names the person.
    """
    notices: dict[int, Notice] = {}
    for before, after in itertools.pairwise(attempts):
        between = _between(before, after, audit_events)
        if before.outcome == Outcome.FORKED:
            notices[after.number] = Notice("quiet", SHARED)
        elif not any(event.action_name == "respond" for event in between):
            step = first_steps.get(after.number)
            notices[after.number] = _notice(before, after, between, step)
    return notices


def _between(
    before: Attempt, after: Attempt, audit_events: Sequence[AuditEvent]
) -> list[AuditEvent]:
    """Return the audit events after the end of one attempt and before the next."""
    ended = before.ended_at or before.started_at
    return [
        event for event in audit_events if ended <= event.created_at <= after.started_at
    ]


def _notice(
    before: Attempt, after: Attempt, between: Sequence[AuditEvent], step: int | None
) -> Notice:
    at_step = f", at step {step}" if step else ""
    for event in between:
        reason = with_reason(event.reason)
        if event.action == "resume":
            return Notice("busy", f"Resumed by {event.actor_name}{at_step}{reason}.")
        if event.action == "raise budget":
            title = f"Budget raised by {event.actor_name}{reason}."
            return Notice("busy", title, f"Run resumed{at_step}.")
    return _without_event(before, f"as attempt {after.number}{at_step}.", at_step)


def _without_event(before: Attempt, continued: str, at_step: str) -> Notice:
    """Return the notice of an attempt that no person started."""
    if before.error_code in {PROCESS_DIED, SUSPICION_LIFTED}:
        return _after_separate_process(before, continued)
    worker = f"Worker {before.worker}"
    if before.outcome == Outcome.LOST:
        return Notice("warn", f"{worker} stopped responding.", f"Recovered {continued}")
    if before.outcome == Outcome.RELEASED:
        return _after_release(before, continued)
    is_wait = before.outcome == Outcome.WAITING
    title = f"Resumed after wait{at_step}." if is_wait else f"Resumed{at_step}."
    return Notice("quiet" if is_wait else "busy", title)


def _after_release(before: Attempt, continued: str) -> Notice:
    worker = f"Worker {before.worker}"
    if is_rewound(before):
        return Notice("warn", before.error_message, f"Continued {continued}")
    if is_unrequested_release(before):
        text = f"{before.error_message} Recovered {continued}"
        return Notice("warn", f"{worker} released the run.", text)
    return Notice("quiet", f"{worker} shut down.", f"Resumed {continued}")


def _after_separate_process(before: Attempt, continued: str) -> Notice:
    if before.error_code == PROCESS_DIED:
        return Notice("warn", before.error_message, f"Recovered {continued}")
    title = "A step was completed in a separate process."
    return Notice("quiet", title, f"Resumed in the worker's process {continued}")
