"""Why an attempt of a run was recovered, and what follows, as texts of notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from workflows.execution import rewinds
from workflows.models import PROCESS_DIED, Outcome, Run, Suspicion

if TYPE_CHECKING:
    from workflows.models import Attempt


def text_after_recovery(run: Run) -> str:
    """Return where a recovered run will be executed, and what it waits for."""
    if not run.suspicion:
        return "Another worker will resume the run shortly."
    lead = "A worker will resume the run in a separate process"
    if run.suspicion == Suspicion.ALONE:
        return f"{lead}, once no other run of that worker is in one."
    places = settings.SUSPECT_PROCESSES
    return f"{lead}, of which each worker starts up to {places} at once."


def recovery_of(run: Run) -> str:
    """Return why the last attempt was recovered, "" if it was not.

    `recoveries` alone does not say it: it also counts releases that no person and no
    shutdown requested, and it is kept while an attempt waits.
    """
    is_recovered = run.recoveries or run.suspicion
    attempt = run.attempts.filter(number=run.attempt).first() if is_recovered else None
    if attempt is None:
        return ""
    if attempt.outcome == Outcome.LOST:
        is_known = attempt.error_code == PROCESS_DIED
        lost = f"Worker {attempt.worker} stopped responding."
        return attempt.error_message if is_known else lost
    if is_unrequested_release(attempt):
        return (
            f"Worker {attempt.worker} released the run: code in the worker cancelled"
            " its task without a request."
        )
    return ""


def is_unrequested_release(attempt: Attempt) -> bool:
    """Return whether code cancelled the task of an attempt without a cancel request.

    Such a release has a message, one by a worker that shuts down has none.
    """
    is_explained = attempt.outcome == Outcome.RELEASED and bool(attempt.error_message)
    return is_explained and not is_rewound(attempt)


def is_rewound(attempt: Attempt) -> bool:
    """Return whether the database was rewound during an attempt."""
    return attempt.error_code == rewinds.ERROR_CODE
