"""`workflows` and `launch`."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from signalbox import output, values, watching
from signalbox.session import Json, api_of, reports_failures


@reports_failures
def workflows(context: typer.Context, json: Json = False) -> None:
    """List the workflows."""
    found = list(api_of(context).get("/workflows"))
    if json:
        output.as_json(found)
        return
    rows = [(one["name"], one["title"], one["description"]) for one in found]
    output.table(("NAME", "TITLE", "DESCRIPTION"), rows)


@reports_failures
def launch(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.")],
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A parameter, as JSON or else text."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=PATH", help="A parameter: uploads a document."),
    ] = None,
    params: Annotated[
        str, typer.Option(metavar="JSON", help="All parameters, as a JSON object.")
    ] = "",
    params_file: Annotated[
        Path | None, typer.Option(help="A file with the parameters as a JSON object.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run ends or waits.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait, and print the progress.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="Profile of the workflow, '' for its defaults."),
    ] = None,
    priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Higher starts first.")
    ] = 0,
    deadline: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="The run fails after so many seconds, or 30m, 2h, 1d.",
        ),
    ] = "",
    key: Annotated[
        str | None,
        typer.Option(help="Idempotency key; a random one if omitted."),
    ] = None,
    json: Json = False,
) -> None:
    """Launch a run. With --wait or --follow the exit code is that of its status.

    0 completed, 1 failed, 2 bad input, 3 waiting for an approval, 4 cancelled, 5 server not
    reachable, 130 interrupted: the run continues.
    """
    api = api_of(context)
    given = values.json_file(params_file) if params_file else {}
    given |= values.json_object(params, "--params") if params else {}
    given |= values.objects(param or (), "--param")
    for text in file or ():
        name, path = values.pair(text, "--file")
        given[name] = values.uploaded(api, Path(path))
    body = {"params": given, "priority": priority, "profile": profile}
    if deadline:
        body["deadline_seconds"] = values.seconds(deadline, "--deadline")
    # with a key, a request whose response was lost can be repeated
    headers = {"Idempotency-Key": key or f"cli-{uuid.uuid4()}"}
    run: Any = api.post(f"/workflows/{quote(workflow, safe='')}/runs", body, **headers)
    if not (wait or follow):
        _report(run, json)
        return
    if not json:
        output.note(f"Launched run {run['id']}.")
    show = watching.show_progress if follow else None
    run = watching.watch(api, run["id"], show=show)
    _report(run, json)
    watching.exit_with(run)


def _report(run: Any, json: bool) -> None:
    if json:
        output.as_json(run)
        return
    for line in output.run_lines(run):
        output.line(line)
