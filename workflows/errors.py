"""What a caller did wrong, as errors that pages, admin, API and commands can answer.

RequestError
├─ NotFound           404   WorkflowNotFound, RunNotFound, ApprovalNotFound, ViewNotFound,
│                            JobNotFound
├─ InvalidStatus      409   the run is in no status for that
├─ EmptySelection      422   a deed on several runs is on none
├─ WorkerAlive          409   a worker that is alive has the run
├─ StillNeeded        409   something else needs what was to be deleted
├─ NobodyToAsk        409   a workflow asks agents, and one of them is not there
├─ FingerprintChanged 409   the workflow changed since the run was made
├─ NotAllowed         403   this person may not
├─ RateLimited            429   too much of it within a minute
├─ InvalidSort        400   a list cannot be sorted by that
├─ InvalidLabel       422   that is no label
├─ InvalidView        422   a view cannot be kept like that
├─ PayloadRemoved     409   what it would need was let go
├─ ReasonMissing      422   a person has to say why
└─ InvalidParams      422   with one message a field
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.engine.errors import InputInvalid, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.models import RemovedRun, Run


class NotFound(RequestError):
    """Nothing of that name or id is here."""

    status = 404


class WorkflowNotFound(NotFound):
    """There is no such workflow."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        """Name what was asked for and what there is."""
        there_is = f" There is {', '.join(known)}." if known else ""
        super().__init__(f"No workflow is called “{name}”.{there_is}")
        self.name = name


class RunNotFound(NotFound):
    """There is no such run."""

    def __init__(self, run_id: object) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is no run {run_id}. It may have been deleted.")


class RunRemoved(RunNotFound):
    """The run was there, and was removed."""

    def __init__(self, removed: RemovedRun) -> None:
        """Say which it was, when it went, and by whom."""
        NotFound.__init__(
            self,
            f"Run {removed.pk} of {removed.workflow_name} was removed on"
            f" {removed.removed_at:%Y-%m-%d} by {removed.removed_by_name}."
            + (" Its decisions are kept." if removed.keeps_history else ""),
        )


class PayloadRemoved(RequestError):
    """The run cannot go on: retention removed its states."""

    status = 409


class ReasonMissing(RequestError):
    """Say why: what you do here is kept with its reason, for whoever asks."""

    status = 422


class ApprovalNotFound(NotFound):
    """There is no such question."""

    def __init__(self, run_id: object) -> None:
        """Name the run that was asked for."""
        super().__init__(f"Run {run_id} asks nobody anything.")


class ViewNotFound(NotFound):
    """There is no such view. It may have been deleted, or is not shared any more."""


class JobNotFound(NotFound):
    """There is no such job."""

    def __init__(self, job_id: object) -> None:
        """Name the id that was asked for."""
        super().__init__(f"There is no job {job_id}, or it is not yours to see.")


class EmptySelection(RequestError):
    """Choose at least one run."""

    status = 422


class WorkerAlive(RequestError):
    """A worker that is alive has the run."""

    status = 409

    def __init__(self, run: Run) -> None:
        """Name the worker, and what can be done instead."""
        super().__init__(
            f"Worker {run.worker} has run {run.short_id}, and is alive. Cancel the run if"
            " it should stop."
        )


class InvalidStatus(RequestError):
    """The run is in no status for that."""

    status = 409

    def __init__(self, run: Run, wanted: str) -> None:
        """Say where the run stands and what was wanted of it."""
        super().__init__(
            f"Run {run.short_id} is {run.get_status_display().lower()}"
            f" and cannot be {wanted}."
        )
        self.run = run


class AlreadyAnswered(RequestError):
    """Somebody else was faster."""

    status = 409


class StillNeeded(RequestError):
    """Something else needs it."""

    status = 409


class NobodyToAsk(RequestError):
    """A workflow asks agents, and one of them cannot be asked."""

    status = 409

    def __init__(self, stage: str, why: str) -> None:
        """Name the stage, and say why nobody can be asked."""
        super().__init__(f"Nothing was launched. At “{stage}”: {why}")


class FingerprintChanged(RequestError):
    """The workflow's definition changed since this run was made."""

    status = 409

    def __init__(self, run: Run, differences: Sequence[str]) -> None:
        """Name the differences."""
        super().__init__(
            f"{run.workflow_name} has changed since run {run.short_id} started:"
            f" {'; '.join(differences)}. Launch a new run, or declare the old version"
            " compatible in the workflow."
        )
        self.differences = differences


class NotAllowed(RequestError):
    """This person may not do that."""

    status = 403


class RateLimited(RequestError):
    """Too much was asked for within a minute."""

    status = 429

    def __init__(self, what: str, most: int, *, seconds: int) -> None:
        """Say how much is allowed, and when it may be tried again."""
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
        super().__init__(
            f"Too many {what}: up to {most} are taken in a minute. Nothing was"
            f" done; try again in {wait}."
        )
        self.seconds = seconds


class InvalidSort(RequestError):
    """A list cannot be sorted by that."""

    status = 400

    def __init__(self, field: str, known: Sequence[str]) -> None:
        """Name what was asked for and what there is."""
        super().__init__(
            f"Runs cannot be sorted by “{field[:80]}”. Sort by {', '.join(known)};"
            " a minus before it turns the order round."
        )


class InvalidLabel(RequestError):
    """That is no label."""

    status = 422

    def __init__(self, name: str, why: str = "") -> None:
        """Say what a label can be, or why this one cannot be added."""
        can_be = "A label has up to 40 characters and no comma."
        super().__init__(
            why or (f"“{name[:60]}” is no label. {can_be}" if name else can_be)
        )


class InvalidView(RequestError):
    """A view cannot be kept like that."""

    status = 422


class InvalidParams(InputInvalid):
    """Some values do not fit what the workflow asks for."""
