"""`login` and `server`: which servers are known, and with which token."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from signalbox import output, servers
from signalbox.client import Api
from signalbox.failures import Failure
from signalbox.servers import Server
from signalbox.session import Json, Session, reports_failures

server_app = typer.Typer(help="List, select and remove known servers.")


@reports_failures
def login(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="URL of the server.")],
    name: Annotated[
        str, typer.Option(help="Name of the server; its host if omitted.")
    ] = "",
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Read the token from standard input.")
    ] = False,
    allow_http: Annotated[
        bool, typer.Option("--allow-http", help="Send the token unencrypted.")
    ] = False,
) -> None:
    """Store a server and a token, after checking both; it becomes the default.

    Create the token on the page “API tokens” of the server. It is stored in a file that only
    you can read. Without a file, SIGNALBOX_URL and SIGNALBOX_TOKEN are used.
    """
    servers.checked(Server(url, "", allow_http))
    if token_stdin:
        token = sys.stdin.readline().strip()
    else:
        token = str(typer.prompt("API token", hide_input=True)).strip()
    server = servers.checked(Server(url, token, allow_http))
    session: Session = context.obj
    Api(server, session.transport).get("/workflows")
    name = name or urlsplit(server.url).netloc
    known = servers.load()
    known.by_name[name] = server
    known.default = name
    servers.save(known)
    output.line(f"Logged in to {server.url} as server “{name}”, the default.")


@server_app.command("list")
@reports_failures
def list_servers(json: Json = False) -> None:
    """List the known servers; tokens are never shown."""
    known = servers.load()
    rows = [
        {"name": name, "url": one.url, "default": name == known.default}
        for name, one in sorted(known.by_name.items())
    ]
    if json:
        output.as_json(rows)
        return
    marks = [("*" if row["default"] else "", row["name"], row["url"]) for row in rows]
    output.table(("", "NAME", "URL"), marks)


@server_app.command("use")
@reports_failures
def use_server(
    name: Annotated[str, typer.Argument(help="Name of the server.")],
) -> None:
    """Make a server the default."""
    known = _with(name)
    known.default = name
    servers.save(known)
    output.line(f"“{name}” is the default.")


@server_app.command("remove")
@reports_failures
def remove_server(
    name: Annotated[str, typer.Argument(help="Name of the server.")],
) -> None:
    """Remove a server and its token from the file; revoke the token on the server."""
    known = _with(name)
    del known.by_name[name]
    if known.default == name:
        known.default = ""
    servers.save(known)
    output.line(f"“{name}” was removed. Revoke its token on the server.")


def _with(name: str) -> servers.Servers:
    known = servers.load()
    if name not in known.by_name:
        raise Failure(f"There is no server “{name}”. See `signalbox server list`.")
    return known
