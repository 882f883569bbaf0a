"""One deed on many runs: what would happen to each, and then what did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows import access
from workflows.engine.errors import RequestError
from workflows.models import ENDED, RESUMABLE
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import Run

MOST = 500  # runs at once


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that can be done to many runs at once."""

    name: str
    verb: str  # "Cancel", of how many runs
    consequence: str
    fits: Callable[[Run], bool]
    done: str  # what is said of a run it was done to
    is_danger: bool = False
    needs_label: bool = False


DEEDS = {
    deed.name: deed
    for deed in (
        Deed(
            "cancel",
            "Cancel",
            "Each stops where it next waits, or before its next step. It can be resumed.",
            lambda run: run.is_cancellable,
            "Cancelled, or told to stop",
            is_danger=True,
        ),
        Deed(
            "resume",
            "Resume",
            "Each goes on from its last step.",
            lambda run: run.status in RESUMABLE,
            "Goes on from its last step",
        ),
        Deed(
            "label",
            "Label",
            "Labels are words by which a team finds its runs again. Everyone sees them.",
            lambda _: True,
            "Labelled",
            needs_label=True,
        ),
        Deed(
            "unlabel",
            "Remove a label from",
            "The label is taken off where it is.",
            lambda _: True,
            "Without the label",
            needs_label=True,
        ),
        Deed(
            "delete",
            "Delete",
            "Each is gone for good, with its steps, decisions, states and log. What people"
            " did to it stays on record.",
            lambda run: run.status in ENDED,
            "Deleted",
            is_danger=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one run."""

    run: Run
    ok: bool
    text: str


def do_to_all(
    deed: Deed, runs: Iterable[Run], *, by: User, reason: str, label: str = ""
) -> list[Result]:
    """Do it to each run by itself: one that refuses does not keep the others from it."""
    return [_do(deed, run, by, reason, label) for run in runs]


def _do(deed: Deed, run: Run, by: User, reason: str, label: str) -> Result:
    calls: dict[str, Callable[..., Any]] = {
        "cancel": system.cancel,
        "resume": system.resume,
        "delete": system.delete_run,
    }
    try:
        if deed.needs_label:
            call = system.label if deed.name == "label" else system.unlabel
            call(run.pk, label, by=by, reason=reason)
        else:
            calls[deed.name](run.pk, by=by, reason=reason)
    except RequestError as refused:
        return Result(run, ok=False, text=str(refused))
    return Result(run, ok=True, text=f"{deed.done}.")


def chosen(person: User, ids: Sequence[UUID]) -> list[Run]:
    """Return the runs with these ids that a person may see, newest first."""
    runs = access.those_seen(person, system.list_runs())
    return list(runs.filter(pk__in=ids[:MOST]))
