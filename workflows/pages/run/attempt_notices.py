"""Why a run has more than one attempt: what is told before the first step of each."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from workflows.models import Outcome
from workflows.pages.run.notices import Notice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.models import Attempt, AuditEvent


def how_it_went_on(
    attempts: Sequence[Attempt],
    audit_events: Sequence[AuditEvent],
    first_steps: Mapping[int, int],
) -> dict[int, Notice]:
    """Return, for each attempt after the first, why there was another one.

    An answer needs no such word: the decision below it names the person.
    """
    told: dict[int, Notice] = {}
    for before, after in itertools.pairwise(attempts):
        step = first_steps.get(after.number)
        place = f" from step {step}" if step else ""
        went_on = f"The run went on{place} as attempt {after.number}."
        between = _between(before, after, audit_events)
        if not any(one.action == "answer" for one in between):
            told[after.number] = _went_on(before, between, went_on)
    return told


def _between(
    before: Attempt, after: Attempt, audit_events: Sequence[AuditEvent]
) -> list[AuditEvent]:
    """Return what people did after one attempt and before the next."""
    ended = before.ended_at or before.started_at
    return [one for one in audit_events if ended <= one.created_at <= after.started_at]


def _went_on(before: Attempt, between: Sequence[AuditEvent], went_on: str) -> Notice:
    for one in between:
        if one.action == "resume":
            who = f"{one.actor_name} resumed the run{_because(one.reason)}."
            return Notice("busy", who, went_on)
        if one.action == "raise budget":
            who = f"{one.actor_name} raised the budget{_because(one.reason)}."
            return Notice("busy", who, went_on)
    told = {
        Outcome.LOST: ("warn", f"Worker {before.worker} was lost."),
        Outcome.RELEASED: ("quiet", f"Worker {before.worker} was stopped."),
        Outcome.WAITING: ("quiet", "The wait was over."),
    }
    resumed = ("busy", "The run was resumed.")
    tone, title = (
        told.get(Outcome(before.outcome), resumed) if before.outcome else resumed
    )
    return Notice(tone, title, went_on)


def _because(reason: str) -> str:
    return f": “{reason}”" if reason else ""
