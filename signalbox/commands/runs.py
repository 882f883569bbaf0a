"""Commands about runs: `show`, `logs`, `cancel`, `rerun`, `respond` and others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from signalbox import output, values
from signalbox.client import Api
from signalbox.events import Follower
from signalbox.failures import Failure
from signalbox.session import Json, Reason, RunId, api_of, reports_failures

Replay = Annotated[
    bool, typer.Option("--replay", help="Use recorded answers of agents.")
]
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@reports_failures
def runs(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    workflow: Annotated[str, typer.Option(help="Name of the workflow.")] = "",
    status: Annotated[str, typer.Option(help="Such as failed or waiting.")] = "",
    launched_by: Annotated[str, typer.Option(help="User name.")] = "",
    label: Annotated[str, typer.Option(help="Label.")] = "",
    when: Annotated[str, typer.Option(help="1h, 24h, 7d, 30d or 90d.")] = "",
    where: Annotated[
        str, typer.Option(help="Conditions, such as “params.limit > 3”.")
    ] = "",
    text: Annotated[str, typer.Option(help="Text in the error message.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of runs.")] = 20,
    json: Json = False,
) -> None:
    """List runs, newest first."""
    filters = {
        "workflow": workflow,
        "status": status,
        "launched_by": launched_by,
        "label": label,
        "when": when,
        "where": where,
        "text": text,
    }
    found = list(api_of(context).rows("/runs", limit, **filters))
    if json:
        output.as_json(found)
        return
    rows = [
        (
            one["id"],
            one["workflow"],
            one["status"],
            one["created_at"],
            one["launched_by"],
        )
        for one in found
    ]
    output.table(("RUN", "WORKFLOW", "STATUS", "LAUNCHED", "BY"), rows)


@reports_failures
def show(context: typer.Context, run: RunId, json: Json = False) -> None:
    """Show a run with its steps."""
    api = api_of(context)
    found = api.get(f"/runs/{run}")
    if json:
        output.as_json(found)
        return
    for line in output.run_lines(found):
        output.line(line)
    for stage in api.rows(f"/runs/{run}/stages"):
        output.line(output.stage_line(stage))


@reports_failures
def logs(
    context: typer.Context,
    run: RunId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Follow the log until the run ends.")
    ] = False,
    level: Annotated[
        str, typer.Option(help="Minimum level: debug, info, warning or error.")
    ] = "debug",
    json: Json = False,
) -> None:
    """Print the log of a run; with --json one object per line."""
    if level not in LEVELS:
        raise typer.BadParameter(f"Choose from: {', '.join(LEVELS)}.")
    api, minimum = api_of(context), LEVELS[level]
    lines = (
        _followed_lines(api, run)
        if follow
        else api.rows(f"/runs/{run}/log", level=minimum)
    )
    for line in lines:
        if line["level"] < minimum:
            continue
        if json:
            output.json_line(line)
        else:
            output.line(output.log_line(line))


def _followed_lines(api: Api, run: UUID) -> Iterator[Any]:
    """Yield the log lines of a run until it ends. Raises Failure."""
    for event in Follower(api, f"/runs/{run}/events", output.note).events():
        if event.data["hidden"]:
            raise Failure("You don’t have permission to read the log of this run.")
        yield from event.data["log"]


@reports_failures
def decisions(context: typer.Context, run: RunId, json: Json = False) -> None:
    """Show the edges that a run evaluated, and why it took its path."""
    found = api_of(context).get(f"/runs/{run}/decisions")
    if json:
        output.as_json(found)
        return
    for one in found:
        output.line(output.decision_line(one))


@reports_failures
def cancel(
    context: typer.Context, run: RunId, reason: Reason = "", json: Json = False
) -> None:
    """Cancel a run."""
    _act(context, run, "cancel", {"reason": reason}, json)


@reports_failures
def resume(
    context: typer.Context, run: RunId, reason: Reason = "", json: Json = False
) -> None:
    """Resume a failed or cancelled run from its last completed step."""
    _act(context, run, "resume", {"reason": reason}, json)


@reports_failures
def rerun(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    run: RunId,
    reason: Reason = "",
    from_step: Annotated[
        int | None,
        typer.Option("--from", min=1, help="Share the steps before this one."),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", help="KEY=VALUE: other parameters; give all of them."),
    ] = None,
    params_file: Annotated[
        Path | None, typer.Option(help="JSON file with other parameters.")
    ] = None,
    state_file: Annotated[
        Path | None, typer.Option(help="JSON file with the state before the step.")
    ] = None,
    replay: Replay = False,
    json: Json = False,
) -> None:
    """Launch a run again, from the start or from one of its steps."""
    given = values.json_file(params_file) if params_file else {}
    given |= values.objects(params or (), "--param")
    body: dict[str, Any] = {"reason": reason}
    if from_step is not None:
        body["from_step"] = from_step
    if given:
        body["params"] = given
    if state_file is not None:
        body["state"] = values.json_file(state_file)
    if replay:
        body["answers"] = "recorded"
    _act(context, run, "rerun", body, json)


@reports_failures
def override(  # noqa: PLR0913, PLR0917 - arguments of a command
    context: typer.Context,
    run: RunId,
    step: Annotated[int, typer.Argument(min=1, help="Number of the step.")],
    edge: Annotated[int, typer.Argument(min=0, help="Index of the edge to take.")],
    reason: Reason = "",
    replay: Replay = False,
    json: Json = False,
) -> None:
    """Take another edge after a step, in a new run that shares the steps until then."""
    body: dict[str, Any] = {"step": step, "edge": edge, "reason": reason}
    if replay:
        body["answers"] = "recorded"
    _act(context, run, "override", body, json)


@reports_failures
def change_response(  # noqa: PLR0913, PLR0917 - arguments of a command
    context: typer.Context,
    run: RunId,
    step: Annotated[int, typer.Argument(min=1, help="Number of the approval's step.")],
    reason: Reason = "",
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field, as JSON or else text."),
    ] = None,
    values_file: Annotated[
        Path | None, typer.Option(help="A file with the fields as a JSON object.")
    ] = None,
    json: Json = False,
) -> None:
    """Change the response to an approval, in a new run that shares the steps until then."""
    fields = values.json_file(values_file) if values_file else {}
    fields |= values.objects(value or (), "--value")
    body: dict[str, Any] = {"step": step, "value": fields, "reason": reason}
    _act(context, run, "change-response", body, json)


@reports_failures
def respond(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    run: RunId,
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field, as JSON or else text."),
    ] = None,
    values_file: Annotated[
        Path | None, typer.Option(help="A file with the fields as a JSON object.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Saved with the response.")] = "",
    sequence: Annotated[
        int | None, typer.Option(help="Step of the approval: refuses another one.")
    ] = None,
    json: Json = False,
) -> None:
    """Respond to the open approval of a run, which resumes the run.

    Without fields, the question and its form are shown, and nothing is sent.
    """
    fields = values.json_file(values_file) if values_file else {}
    fields |= values.objects(value or (), "--value")
    if not (value or values_file):
        _show_approvals(context, run, json)
        return
    body: dict[str, Any] = {"value": fields, "reason": reason, "sequence": sequence}
    _act(context, run, "respond", body, json)


@reports_failures
def schedules(
    context: typer.Context,
    workflow: Annotated[str, typer.Option(help="Name of the workflow.")] = "",
    json: Json = False,
) -> None:
    """List schedules."""
    rows = api_of(context).rows("/schedules")
    found = [one for one in rows if workflow in {"", one["workflow"]}]
    if json:
        output.as_json(found)
        return
    cells = [
        (
            one["name"],
            one["workflow"],
            one["description"],
            "paused" if one["paused"] else one["next"],
        )
        for one in found
    ]
    output.table(("NAME", "WORKFLOW", "WHEN", "NEXT"), cells)


def _act(context: typer.Context, run: UUID, action: str, body: Any, json: bool) -> None:
    found = api_of(context).post(f"/runs/{run}/{action}", body)
    if json:
        output.as_json(found)
        return
    for line in output.run_lines(found):
        output.line(line)


def _show_approvals(context: typer.Context, run: UUID, json: bool) -> None:
    rows = api_of(context).get(f"/runs/{run}/approvals")
    found = [one for one in rows if one["status"] == "open"]
    if json:
        output.as_json(found)
        return
    if not found:
        output.line("The run has no open approval.")
    for one in found:
        output.line(f"Step {one['sequence']}: {one['question']}")
        if one["votes_needed"] > 1:
            names = ", ".join(vote["voter"] for vote in one["votes"]) or "nobody yet"
            output.line(
                f"  {len(one['votes'])} of {one['votes_needed']} responses: {names}"
            )
        if one["refusal"]:
            output.line(f"  {one['refusal']}")
            continue
        for name, schema in (one["form"] or {}).get("properties", {}).items():
            choices = ", ".join(map(str, schema.get("enum", ())))
            output.line(
                f"  --value {name}=… {choices or schema.get('type', '')}".rstrip()
            )
