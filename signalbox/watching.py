"""Follows a run until it ends or waits for an approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from signalbox import output
from signalbox.events import Follower
from signalbox.failures import EXIT_CODES, INTERRUPTED, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalbox.client import Api


def watch(api: Api, run_id: str, *, show: Callable[[Any], object] | None) -> Any:
    """Return the run once it has ended or waits for an approval. Raises Failure.

    `show` gets the data of each event. Ctrl-C ends the command, never the run.
    """
    run: Any = None
    try:
        for data in _events(api, run_id):
            run = data["run"]
            if show is not None:
                show(data)
            if run["waiting"] and run["waiting"]["kind"] == "approval":
                break
    except KeyboardInterrupt:
        output.note(
            f"Stopped following. Run {run_id} continues; `signalbox cancel {run_id}` stops"
            " it."
        )
        raise typer.Exit(INTERRUPTED) from None
    if run is None:
        raise Failure(f"Run {run_id} sent no events.")
    return api.get(f"/runs/{run_id}")


def exit_with(run: Any) -> None:
    """Exit with the code for the status of a run."""
    raise typer.Exit(EXIT_CODES.get(run["status"], 0))


def show_progress(data: Any) -> None:
    """Print the new steps, decisions and log lines of an event as notes."""
    for line in data["log"]:
        output.note(f"       {output.log_line(line)}")
    for stage in data["stages"]:
        output.note(output.stage_line(stage))
    for decision in data["decisions"]:
        if decision["taken"]:
            output.note(output.decision_line(decision))


def _events(api: Api, run_id: str) -> Iterator[Any]:
    follower = Follower(api, f"/runs/{run_id}/events", output.note)
    return (event.data for event in follower.events())
