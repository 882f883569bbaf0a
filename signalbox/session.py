"""What every command has: the API of the chosen server, and the handling of errors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar
from uuid import UUID

import httpx
import typer

from signalbox import output, servers
from signalbox.client import Api
from signalbox.failures import INTERRUPTED, Failure

Given = ParamSpec("Given")
Result = TypeVar("Result")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
RunId = Annotated[UUID, typer.Argument(metavar="RUN", help="Id of the run.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Reason, which is saved in the audit log.")
]


@dataclass(slots=True)
class Session:
    """The state of one invocation; tests pass one with another transport."""

    server: str = ""  # name of a known server
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], object] | None = None

    def api(self) -> Api:
        """Return the API of the chosen server. Raises Failure."""
        found = Api(servers.chosen(self.server), self.transport)
        if self.sleep is not None:
            found.sleep = self.sleep
        return found


def api_of(context: typer.Context) -> Api:
    """Return the API of the server that an invocation uses. Raises Failure."""
    session: Session = context.obj
    return session.api()


def reports_failures(command: Callable[Given, Result]) -> Callable[Given, Result]:
    """Return a command that prints a Failure and exits with its code."""

    @functools.wraps(command)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except Failure as failure:
            output.note(str(failure))
            if kwargs.get("json"):
                body: dict[str, Any] = {"error": str(failure)}
                output.as_json(failure.problem or body)
            raise typer.Exit(failure.code) from failure
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return call
