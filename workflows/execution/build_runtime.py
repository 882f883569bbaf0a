"""The real Runtime of a run: providers on the ORM, a logger that writes log lines."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from workflows.agents.provider import DatabaseAgents
from workflows.documents.images import StoredImages
from workflows.documents.provider import StoredDocuments
from workflows.models import Level
from workflows.runtime import Runtime
from workflows.runtime.profiles import ChosenProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflows.agents.provider import CallRecorder

NO_PROMPTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RunLogger:
    """Lines of one run's log; safe to use from any thread."""

    write: Callable[[int, str], None]

    def debug(self, message: str, *args: object) -> None:
        """Note a detail."""
        self.write(Level.DEBUG, _filled(message, args))

    def info(self, message: str, *args: object) -> None:
        """Say what goes on."""
        self.write(Level.INFO, _filled(message, args))

    def warning(self, message: str, *args: object) -> None:
        """Say what someone should look at."""
        self.write(Level.WARNING, _filled(message, args))

    def error(self, message: str, *args: object) -> None:
        """Say what went wrong."""
        self.write(Level.ERROR, _filled(message, args))


def _filled(message: str, args: tuple[object, ...]) -> str:
    """Fill the places in; a message that does not fit its values loses neither."""
    try:
        return message % args if args else message
    except (TypeError, ValueError):
        return f"{message} {args!r}"


def provide(
    log: Callable[[int, str], None],
    ledger: CallRecorder,
    *,
    token: str = "",
    prompts: Mapping[str, Mapping[str, Any]] = NO_PROMPTS,
) -> Runtime:
    """Return what the nodes of one run may reach.

    `log` takes a level and a line, `ledger` each call of an agent; `token` is used in
    place of the keys of providers, `prompts` is the profile kept with the run.
    """
    return Runtime(
        agents=DatabaseAgents(ledger, token),
        documents=StoredDocuments(),
        images=StoredImages(),
        profiles=ChosenProfile(prompts),
        logger=RunLogger(log),
    )
