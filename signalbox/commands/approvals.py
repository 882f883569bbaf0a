"""Commands about who works on approvals, and when, and one response to several of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from signalbox import output, values
from signalbox.failures import Failure
from signalbox.session import Json, Reason, RunId, api_of, reports_failures

REFUSED: Final = 2  # exit code of a command of which the server refused a part


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
def escalate(
    context: typer.Context,
    run: RunId,
    reason: Annotated[str, typer.Option(help="Saved in the audit log.")] = "",
    json: Json = False,
) -> None:
    """Let the open approval of a run go to the group that its workflow declares."""
    _act(context, run, "escalate", {"reason": reason}, json)


@reports_failures
def snooze(
    context: typer.Context,
    run: RunId,
    time: Annotated[
        str, typer.Option("--for", help="For how long, such as 4h or 3d.")
    ] = "1d",
    end: Annotated[bool, typer.Option("--end", help="Show it again.")] = False,
    json: Json = False,
) -> None:
    """Hide the open approval of a run from your own lists for a time."""
    until = None
    if not end:
        try:
            until = datetime.now(UTC) + timedelta(seconds=values.seconds(time, "--for"))
        except OverflowError as error:
            raise Failure(f"“{time}” is longer than the calendar.") from error
    body = {"until": until.isoformat() if until else None}
    found: Any = api_of(context).post(f"/approvals/{run}/snooze", body)
    if json:
        output.as_json(found)
    elif found["until"]:
        output.line(f"Hidden until {found['until']}.")
    else:
        output.line("Shown in your lists again.")


@reports_failures
def respond_to_several(
    context: typer.Context,
    runs: Annotated[list[UUID], typer.Argument(metavar="RUN…", help="Ids of runs.")],
    value: Annotated[
        list[str],
        typer.Option(metavar="KEY=VALUE", help="A field, as JSON or else text."),
    ],
    reason: Reason = "",
    json: Json = False,
) -> None:
    """Give the open approvals of several runs one response; each is saved or refused."""
    body = {
        "approvals": [{"run": str(run)} for run in runs],
        "value": values.objects(value, "--value"),
        "reason": reason,
    }
    found: Any = api_of(context).post("/approvals/respond", body)
    if json:
        output.as_json(found)
    else:
        for one in found:
            what = "saved" if one["saved"] else f"not saved: {one['detail']}"
            output.line(f"{one['run']}: {what}")
    if not all(one["saved"] for one in found):
        raise typer.Exit(REFUSED)


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
    if found["escalated_at"]:
        output.line(f"Escalated to: {found['escalates_to']}")
