"""`pause` and `unpause`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from signalbox import output
from signalbox.session import Json, Reason, api_of, reports_failures

Name = Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the workflow.")]


@reports_failures
def pause(
    context: typer.Context, workflow: Name, reason: Reason = "", json: Json = False
) -> None:
    """Pause a workflow: none of its runs starts; those that have started continue."""
    _act(context, workflow, "pause", {"reason": reason}, json)


@reports_failures
def unpause(context: typer.Context, workflow: Name, json: Json = False) -> None:
    """End the pause of a workflow: its pending runs start."""
    _act(context, workflow, "unpause", {}, json)


def _act(
    context: typer.Context, workflow: str, action: str, body: Any, json: bool
) -> None:
    path = f"/workflows/{quote(workflow, safe='')}/{action}"
    found: Any = api_of(context).post(path, body)
    if json:
        output.as_json(found)
        return
    state = "paused" if found["paused"] else "not paused"
    output.line(f"{found['name']} is {state}.")
