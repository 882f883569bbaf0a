"""Notices about author code that holds up a worker, as the worker's row reports it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.execution import workers
from workflows.pages.render.text import readable_name

if TYPE_CHECKING:
    from workflows.models import Run


@dataclass(frozen=True, slots=True)
class HoldNotice:
    """What holds a run up, or what it holds up."""

    title: str
    text: str
    since: dt.datetime


def blocking_notice(run: Run) -> HoldNotice | None:
    """Return what to say on the page of a running run, None if nothing holds it up.

    The node and the run of another workflow are not named: not every viewer may see them.
    """
    holds = _holds(run)
    own = [hold for hold in holds if hold["run"] == str(run.pk)]
    for hold in own:
        node = readable_name(hold["node"]) or "Code between two nodes"
        since = dt.datetime.fromisoformat(hold["since"])
        if hold["kind"] == "loop":
            return HoldNotice(
                f"{node} blocks worker {run.worker}.",
                "It holds the event loop without an `await`, so all runs of the worker wait."
                f" After {settings.BLOCKED_LOOP_SECONDS:g} s the run fails. Make the node a"
                " plain `def`, or await its blocking calls.",
                since,
            )
        if hold["kind"] == "thread":
            return HoldNotice(
                f"{node} ignores its timeout or cancellation.",
                f"The code still runs in a thread of worker {run.worker}.",
                since,
            )
    for hold in holds:
        if hold["kind"] == "loop":
            return HoldNotice(
                f"Worker {run.worker} is blocked by code of another run.",
                "The run continues when that code returns, at the latest after"
                f" {settings.BLOCKED_LOOP_SECONDS:g} s.",
                dt.datetime.fromisoformat(hold["since"]),
            )
    return None


def leftover_code_notice(run: Run) -> str:
    """Return a sentence about code of an ended run that still runs, "" if there is none."""
    for hold in _holds(run):
        if hold["run"] == str(run.pk):
            node = readable_name(hold["node"]) or "The code"
            return (
                f"{node} still runs on worker {run.worker} and takes one of its slots until"
                " it returns or the worker is restarted."
            )
    return ""


def _holds(run: Run) -> list[dict[str, str]]:
    if not run.worker:
        return []
    rows = workers.alive().filter(name=run.worker).values_list("holds", flat=True)
    return rows.first() or []
