"""`send`."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated, Any

import typer

from signalbox import output, values
from signalbox.session import Json, api_of, reports_failures


@reports_failures
def send(  # noqa: PLR0913, PLR0917 - options of a command
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the event.")],
    key: Annotated[
        str, typer.Argument(help="Selects the runs, such as the number of an order.")
    ] = "",
    value: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="A field, as JSON or else text."),
    ] = None,
    values_file: Annotated[
        Path | None, typer.Option(help="A file with the fields as a JSON object.")
    ] = None,
    workflow: Annotated[
        str, typer.Option(help="The only workflow to send it to.")
    ] = "",
    idempotency_key: Annotated[
        str | None, typer.Option(help="A random one if omitted.")
    ] = None,
    json: Json = False,
) -> None:
    """Send a message to the runs that wait for an event with this name and key.

    A message that no run waits for is kept for the next one that does.
    """
    fields = values.json_file(values_file) if values_file else {}
    fields |= values.objects(value or (), "--value")
    body = {"name": name, "key": key, "value": fields, "workflow": workflow}
    # with a key, a request whose response was lost can be repeated
    headers = {"Idempotency-Key": idempotency_key or f"cli-{uuid.uuid4()}"}
    sent: Any = api_of(context).post("/events", body, **headers)
    if json:
        output.as_json(sent)
        return
    for one in sent:
        output.line(_text(one))


def _text(sent: Any) -> str:
    runs = sent["runs"]
    if runs:
        moved = f"moved run {', '.join(runs)}"
    else:
        moved = "kept: no run waits for it" if sent["kept"] else "taken by no run"
    return f"{sent['workflow']}: {moved}"
