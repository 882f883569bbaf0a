"""Commands about who works on an approval: `claim`, `release`, `reassign` and `remind`."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import typer

from signalbox import output
from signalbox.session import Json, RunId, api_of, reports_failures


@reports_failures
def claim(context: typer.Context, run: RunId, json: Json = False) -> None:
    """Show others that you work on the open approval of a run; they may still respond."""
    _act(context, run, "claim", {}, json)


@reports_failures
def release(context: typer.Context, run: RunId, json: Json = False) -> None:
    """End the claim and the assignment of the open approval of a run."""
    _act(context, run, "release", {}, json)


@reports_failures
def reassign(
    context: typer.Context,
    run: RunId,
    to: Annotated[str, typer.Argument(help="Name of a person, else of a group.")],
    reason: Annotated[str, typer.Option(help="Saved in the audit log.")] = "",
    json: Json = False,
) -> None:
    """Assign the open approval of a run to a person or group that may respond."""
    _act(context, run, "reassign", {"to": to, "reason": reason}, json)


@reports_failures
def remind(context: typer.Context, run: RunId) -> None:
    """Notify the approvers of a run again, at most once an hour."""
    api_of(context).request("POST", f"/approvals/{run}/remind", json={})
    output.line("Reminder sent.")


def _act(context: typer.Context, run: UUID, action: str, body: Any, json: bool) -> None:
    found: Any = api_of(context).post(f"/approvals/{run}/{action}", body)
    if json:
        output.as_json(found)
        return
    output.line(f"Claimed by: {found['claimed_by'] or 'no one'}")
    output.line(f"Assigned to: {found['assigned_to'] or 'no one'}")
