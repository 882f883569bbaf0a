"""The Runtime of a run: providers on the ORM, a logger that writes log lines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from workflows.agents.provider import DatabaseAgents
from workflows.agents.recordings import ReplayingAgents
from workflows.agents.run_keys import NO_KEY, RunKey
from workflows.documents.page_images import StoredImages
from workflows.documents.run_files import RunFiles
from workflows.documents.runtime_documents import StoredDocuments
from workflows.execution.call_recorder import RunCallRecorder
from workflows.execution.variables import NO_VARIABLES, RunVariables
from workflows.models import Level
from workflows.runtime import Runtime
from workflows.runtime.profiles import ChosenProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflows.agents.call_requests import CallRequest
    from workflows.agents.recordings import Recordings
    from workflows.engine import Resource
    from workflows.execution.masking import Masker
    from workflows.models import CallReplay, Run
    from workflows.runtime import NodeContext, Progress


NO_RESOURCES: Final[Mapping[Resource[Any], Any]] = MappingProxyType({})


class RecordHandle(Protocol):
    """The part of a run's record that its services write to."""

    @property
    def masker(self) -> Masker:
        """Replaces the secrets of the run."""

    def log(self, level: int, message: str) -> None:
        """Add a log line; safe to call from any thread."""

    def report_progress(self, sequence: int, progress: Progress) -> None:
        """Show the progress of the step, if it is the current one; safe from any thread."""

    def masked(self, text: str) -> str:
        """Return a text without the secrets of the run."""

    def attach_write(self, write: Callable[[], None]) -> None:
        """Call this in the transaction of the next record, perhaps more than once."""

    async def flush(self) -> None:
        """Return once everything is committed."""


@dataclass(frozen=True, slots=True)
class RunLogger:
    """Lines of one run's log; safe to use from any thread."""

    write: Callable[[int, str], None]

    def debug(self, message: str, *args: object) -> None:
        """Log a detail."""
        self.write(Level.DEBUG, _formatted(message, args))

    def info(self, message: str, *args: object) -> None:
        """Log progress."""
        self.write(Level.INFO, _formatted(message, args))

    def warning(self, message: str, *args: object) -> None:
        """Log what someone should check."""
        self.write(Level.WARNING, _formatted(message, args))

    def error(self, message: str, *args: object) -> None:
        """Log a failure."""
        self.write(Level.ERROR, _formatted(message, args))


@dataclass(frozen=True, slots=True)
class RunReports:
    """Reports of progress of one run; safe to use from any thread."""

    report_at: Callable[[int, Progress], None]
    sequence: int = 0

    def at(self, context: NodeContext) -> RunReports:
        """Return the reports of one step."""
        return RunReports(self.report_at, context.sequence)

    def report(self, progress: Progress) -> None:
        """Show it while the step runs."""
        self.report_at(self.sequence, progress)


def _formatted(message: str, args: tuple[object, ...]) -> str:
    """Format a message; append the values to one that they do not fit."""
    try:
        return message % args if args else message
    except (TypeError, ValueError):
        return f"{message} {args!r}"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """How a run calls agents."""

    keeps_content: bool = False
    recordings: Recordings | None = None  # answers of its origin, to be replayed


def _agents(
    run: Run, handle: RecordHandle, key: RunKey, calls: CallOptions
) -> DatabaseAgents | ReplayingAgents:
    """Return the agents of a run, which record each call."""
    recorder = RunCallRecorder(
        run, handle.attach_write, handle.masker, keeps_content=calls.keeps_content
    )
    agents = DatabaseAgents(recorder, key)
    if calls.recordings is None:
        return agents

    def call_again(_request: CallRequest, why: CallReplay) -> DatabaseAgents:
        return replace(agents, replay=why)

    return ReplayingAgents(calls.recordings, call_again, recorder.enter_replayed)


def build_runtime(  # noqa: PLR0913 - what a run consists of
    run: Run,
    handle: RecordHandle,
    key: RunKey = NO_KEY,
    values: RunVariables = NO_VARIABLES,
    resources: Mapping[Resource[Any], Any] = NO_RESOURCES,
    *,
    calls: CallOptions = CallOptions(),
) -> Runtime:
    """Return the services for the nodes of one run.

    `key` is used instead of the keys of providers; `values` are what the run may read;
    `resources` are open.
    """
    return Runtime(
        agents=_agents(run, handle, key, calls),
        documents=StoredDocuments(RunFiles(run, handle)),
        images=StoredImages(),
        profiles=ChosenProfile(run.profile_stages),
        logger=RunLogger(handle.log),
        scheduled_for=run.scheduled_for,
        reports=RunReports(handle.report_progress),
        variables=values.variables,
        secrets=values.secrets,
        resources=resources,
    )
