"""Why a run stands where it stands, in a sentence, and what helps."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from workflows.models import Outcome, Run, Status, WaitKind, Worker
from workflows.pages.words import ago, in_words, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.models import Approval, Attempt, Intervention


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to know about a run: how it weighs, what is so, what helps."""

    tone: str  # busy, warn, bad, quiet: a colour and a shape
    title: str
    text: str = ""
    href: str = ""
    link: str = ""


def notice(run: Run, approval: Approval | None) -> Notice | None:
    """Return what a watcher should know first; None when all goes well."""
    tell = {
        Status.PENDING: _pending,
        Status.RUNNING: _running,
        Status.FAILED: _failed,
        Status.CANCELLED: _cancelled,
    }.get(Status(run.status))
    if run.status == Status.WAITING:
        return _waiting(run, approval)
    return tell(run) if tell else None


def _pending(run: Run) -> Notice:
    fresh = timezone.now() - dt.timedelta(seconds=settings.LEASE_SECONDS)
    alive = Worker.objects.filter(stopped_at=None, heartbeat_at__gte=fresh)
    workers = list(alive.values_list("running", "capacity"))
    if not workers:
        return Notice(
            "warn",
            "No worker is running.",
            "The run is safe and starts as soon as one is: `make serve` brings its own,"
            " `make worker` starts one more.",
        )
    if all(running >= capacity for running, capacity in workers):
        ahead = Run.objects.filter(status=Status.PENDING).filter(
            Q(priority__gt=run.priority) | Q(priority=run.priority, pk__lt=run.pk)
        )
        count = ahead.count()
        before = "It is the next." if not count else f"{count} are before it."
        return Notice("quiet", "All workers are busy.", before)
    return Notice("quiet", "A worker takes it in a moment.")


def _running(run: Run) -> Notice | None:
    now = timezone.now()
    if run.cancel_requested_at:
        asked = ago(run.cancel_requested_at, now)
        who = (
            f" by {run.cancel_requested_by.get_username()}"
            if run.cancel_requested_by
            else ""
        )
        return Notice(
            "warn",
            "Stopping.",
            f"Asked to stop {asked}{who}{_because(run.cancel_reason)}. It stops where it"
            " next waits, or before its next step.",
        )
    if run.lease_expires_at and run.lease_expires_at < now:
        silent = span(
            (now - run.lease_expires_at).total_seconds() + settings.LEASE_SECONDS
        )
        return Notice(
            "warn",
            f"Worker {run.worker} has been silent for {silent}.",
            "Another worker takes the run over from its last step in a moment.",
        )
    return None


def _waiting(run: Run, approval: Approval | None) -> Notice:
    if run.waiting_for == WaitKind.APPROVAL and approval:
        until = f" It can be answered until {_at(run.wake_at)}." if run.wake_at else ""
        who = (
            f" Members of {' or '.join(approval.groups)} may answer."
            if approval.groups
            else ""
        )
        asked = f"Asked {ago(approval.created_at, timezone.now())}.{who}{until}"
        return Notice("warn", "Waits for a person.", asked, "#run-approval", "Answer")
    if run.waiting_for == WaitKind.SUBWORKFLOW:
        child = run.children.order_by("-id").first()
        if child:
            href = reverse("run", args=[child.pk])
            return Notice("quiet", "Waits for another run.", "", href, str(child))
    if run.wake_at:
        moment = f"Goes on {ago(run.wake_at, timezone.now())}, at {_at(run.wake_at)}."
        return Notice("quiet", f"{in_words(run.waiting_node)} waits.", moment)
    return Notice("quiet", f"Waits at {in_words(run.waiting_node)}.")


def _failed(run: Run) -> Notice:
    where = f" at {in_words(run.error_node)}" if run.error_node else ""
    return Notice("bad", f"Failed{where}.", run.error_message)


def _cancelled(run: Run) -> Notice:
    who = (
        f" by {run.cancel_requested_by.get_username()}"
        if run.cancel_requested_by
        else ""
    )
    return Notice("quiet", f"Cancelled{who}{_because(run.cancel_reason)}.")


def _because(reason: str) -> str:
    return f": “{reason}”" if reason else ""


def _at(moment: dt.datetime) -> str:
    return f"{timezone.localtime(moment):%d %b %Y, %H:%M %Z}"


# Attempts -------------------------------------------------------------------------------


def how_it_went_on(
    attempts: Sequence[Attempt],
    interventions: Sequence[Intervention],
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
        between = _between(before, after, interventions)
        if not any(one.action == "answer" for one in between):
            told[after.number] = _went_on(before, between, went_on)
    return told


def _between(
    before: Attempt, after: Attempt, interventions: Sequence[Intervention]
) -> list[Intervention]:
    """Return what people did after one attempt and before the next."""
    ended = before.ended_at or before.started_at
    return [one for one in interventions if ended <= one.created_at <= after.started_at]


def _went_on(before: Attempt, between: Sequence[Intervention], went_on: str) -> Notice:
    for one in between:
        if one.action == "resume":
            who = f"{one.actor_name} resumed the run{_because(one.reason)}."
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
