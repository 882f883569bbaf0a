"""The command `signalbox`."""

from __future__ import annotations

from typing import Annotated

import typer

from signalbox.commands import (
    approvals,
    launching,
    login,
    pausing,
    reports,
    reviews,
    runs,
    sending,
)
from signalbox.session import Session

app = typer.Typer(
    help="Launch, watch and operate runs of workflows on a Signalbox server.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # a traceback could show the token
)


@app.callback()
def choose_server(
    context: typer.Context,
    server: Annotated[
        str,
        typer.Option(envvar="SIGNALBOX_SERVER", help="Name of a known server."),
    ] = "",
) -> None:
    """Select the server."""
    context.obj = context.obj or Session()
    context.obj.server = server or context.obj.server


for command in (
    login.login,
    launching.workflows,
    launching.launch,
    runs.runs,
    runs.show,
    runs.logs,
    runs.decisions,
    runs.respond,
    approvals.respond_to_several,
    approvals.claim,
    approvals.release,
    approvals.reassign,
    approvals.escalate,
    approvals.snooze,
    approvals.remind,
    sending.send,
    runs.cancel,
    runs.resume,
    pausing.pause,
    pausing.unpause,
    runs.rerun,
    runs.override,
    runs.change_response,
    reviews.assess,
    reviews.mark_golden,
    reviews.unmark_golden,
    reviews.promote_profile,
    reports.what_if,
    reports.usage,
    reports.accuracy,
    reports.calls,
    runs.schedules,
):
    app.command()(command)
app.add_typer(login.server_app, name="server", no_args_is_help=True)


def run() -> None:
    """Execute the command line and exit."""
    app(prog_name="signalbox")
