"""The Runtime in the child process of an isolated node: its logger, profile and key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from workflows.runtime.errors import Unavailable
from workflows.runtime.protocols import NodeContext, Profiles, Runtime
from workflows.runtime.records import Progress


class Sender(Protocol):
    """The pipe to the process of the run."""

    def log(self, level: str, message: str) -> None:
        """Send a line for the log of the run."""

    def progress(self, done: object, of: object, text: object) -> None:
        """Send a report of progress."""


@dataclass(frozen=True, slots=True)
class ChildRuntime:
    """What is sent to the child process; it is pickled."""

    profiles: Profiles
    scheduled_for: dt.datetime | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def connect(self, context: NodeContext, sender: Sender) -> Runtime:
        """Return the Runtime for the node, in its process."""
        return Runtime(
            agents=cast("Any", _Refused("Agents")),
            documents=cast("Any", _Refused("Documents")),
            images=cast("Any", _Refused("Images of documents")),
            profiles=self.profiles,
            logger=SentLog(sender),
            context=context,
            scheduled_for=self.scheduled_for,
            reports=SentProgress(sender),
            variables=self.variables,
            secrets=self.secrets,
        )


@dataclass(frozen=True, slots=True)
class _Refused:
    """A part of the Runtime that is not available."""

    name: str

    def __getattr__(self, _: str) -> Any:
        raise Unavailable(
            f"{self.name} are not available in a node with isolate=: use them in another"
            " node before it, and pass on the values in the state."
        )


@dataclass(frozen=True, slots=True)
class SentLog:
    """A logger whose lines are written by the process of the run."""

    sender: Sender

    def debug(self, message: str, *args: object) -> None:
        """Log at level debug."""
        self._send("debug", message, args)

    def info(self, message: str, *args: object) -> None:
        """Log at level info."""
        self._send("info", message, args)

    def warning(self, message: str, *args: object) -> None:
        """Log at level warning."""
        self._send("warning", message, args)

    def error(self, message: str, *args: object) -> None:
        """Log at level error."""
        self._send("error", message, args)

    def _send(self, level: str, message: str, args: tuple[object, ...]) -> None:
        try:
            text = message % args if args else message
        except (TypeError, ValueError):  # as in the process of the run
            text = f"{message} {args!r}"
        self.sender.log(level, text)


@dataclass(frozen=True, slots=True)
class SentProgress:
    """Reports of progress that the process of the run records."""

    sender: Sender

    def report(self, progress: Progress) -> None:
        """Send a report."""
        self.sender.progress(progress.done, progress.of, progress.text)
