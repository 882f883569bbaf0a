"""Commands with which people judge runs and act on it: `assess`, `mark-golden` and others."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

import typer

from signalbox import output, values
from signalbox.failures import Failure
from signalbox.session import Json, Reason, RunId, api_of, reports_failures


@reports_failures
def assess(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    run: RunId,
    verdict: Annotated[
        Literal["right", "wrong", "none"],
        typer.Argument(help="none withdraws the assessment."),
    ],
    step: Annotated[
        int,
        typer.Option(min=0, help="Step after which the edge was taken; 0: the run."),
    ] = 0,
    note: Annotated[str, typer.Option(help="Saved with the assessment.")] = "",
    json: Json = False,
) -> None:
    """Say whether an ended run, or the edge that it took after a step, was right."""
    api, path = api_of(context), f"/runs/{run}/assessment"
    of = f"Step {step} of run {run}" if step else f"Run {run}"
    if verdict == "none":
        api.request("DELETE", path, params={"step": step})
        _report(None, f"{of} is not assessed.", json)
        return
    body = {"right": verdict == "right", "step": step, "note": note}
    found = api.request("PUT", path, json=body).json()
    edge = f": {found['from_node']} → {found['to_node']}" if step else ""
    _report(found, f"{of} is assessed as {verdict}{edge}.", json)


@reports_failures
def mark_golden(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    run: RunId,
    reason: Reason = "",
    dataset: Annotated[
        str, typer.Option(help="Name under which runs are checked together.")
    ] = "",
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD[=TOLERANCE]", help="A field of the result; repeatable."
        ),
    ] = None,
    no_path: Annotated[
        bool, typer.Option("--no-path", help="Nodes and edges may differ.")
    ] = False,
    json: Json = False,
) -> None:
    """Mark an ended run golden: later versions have to repeat what is given. Pins the run."""
    body: dict[str, Any] = {
        "reason": reason,
        "checks_path": not no_path,
        "fields": [_field(text) for text in field or ()],
    }
    if dataset:
        body["dataset"] = dataset
    found = api_of(context).request("PUT", f"/runs/{run}/golden", json=body).json()
    _report(found, f"Run {run} is golden, in the dataset {found['dataset']}.", json)


@reports_failures
def unmark_golden(
    context: typer.Context, run: RunId, reason: Reason = "", json: Json = False
) -> None:
    """Unmark a golden run; unpin it if marking it had pinned it."""
    api_of(context).request("DELETE", f"/runs/{run}/golden", params={"reason": reason})
    _report(None, f"Run {run} is not golden.", json)


@reports_failures
def promote_profile(
    context: typer.Context,
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.")],
    profile: Annotated[str, typer.Argument(help="Its profile; '' for none.")],
    reason: Reason,
    json: Json = False,
) -> None:
    """Make a profile the default: launches that name none get it from now on."""
    path = f"/workflows/{quote(workflow, safe='')}/promote-profile"
    body = {"profile": profile, "reason": reason}
    api_of(context).request("POST", path, json=body)
    name = f"the profile {profile}" if profile else "no profile"
    _report(None, f"Launches of {workflow} that name none get {name}.", json)


def _field(text: str) -> dict[str, Any]:
    """Return a field and its tolerance. Raises Failure."""
    name, equals, number = text.partition("=")
    tolerance = values.value_of(number) if equals else None
    if equals and not isinstance(tolerance, (int, float)):
        raise Failure(f"“{text}” has no tolerance: use --field total.net=0.5.")
    return {"field": name, "tolerance": tolerance}


def _report(found: Any, text: str, json: bool) -> None:
    if json:
        output.as_json(found)
    else:
        output.line(text)
