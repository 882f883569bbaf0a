"""Errors of requests, with the HTTP status for pages, admin and API.

RequestError
├─ NotFound           404   WorkflowNotFound, RunNotFound, ApprovalNotFound, ViewNotFound,
│                            JobNotFound, TokenNotFound, ScheduleNotFound,
│                            DocumentNotFound, PageNotFound, DestinationNotFound,
│                            SubscriptionNotFound, AlertNotFound,
│                            DeliveryNotFound, WebhookNotFound,
│                            WebhookDeliveryNotFound
├─ InvalidStatus      409   the status of the run does not permit the action
├─ KeyReused          409   an idempotency key with other params
├─ StateUnavailable   409   checkpoints do not fit together
├─ HistoryChanged     409   the history of the run is not what was recorded
├─ ForkRefused        409   a step, decision or response that cannot be changed;
│                            StepNotFound
├─ VersionChanged     412   If-Match names another version
├─ AlreadyAnswered    409   the approval is closed
├─ LimitReached       409   the limits of the workflow refuse the launch
├─ PauseUnchanged     409   the workflow is paused already, or is not paused
├─ EmptySelection     422   a bulk action without runs
├─ WorkerAlive        409   the run is held by a live worker
├─ InUse              409   another object depends on the one to delete
├─ WhatIfUnavailable  409   the edges of the workflow are not known before a run
├─ AgentUnavailable        409   an agent of the workflow is unavailable
├─ SubworkflowMissing 409   a node launches a workflow that is not registered
├─ FingerprintChanged 409   the workflow changed since the run was launched
├─ NotAllowed         403   the person lacks a permission
├─ RateLimited        429   too many requests within a minute
├─ TooManyDownloads   429   the process sends as many exports as it may
├─ InvalidSort        400   unknown sort field
├─ InvalidCursor      400   of a list in the API
├─ InvalidLabel       422
├─ InvalidView        422
├─ InvalidToken       422   of an API token
├─ InvalidSchedule    422
├─ InvalidDestination 422   of webhooks
├─ InvalidBatch       422   one message per row and column
├─ InvalidSubscription 422
├─ InvalidAlert       422
├─ InvalidWebhook     422
├─ InvalidPayload     422   of a delivery to a webhook
├─ SignatureInvalid   401   of a delivery to a webhook
├─ WebhookUnavailable 503   its secret cannot be decrypted
├─ PayloadRemoved     409   retention deleted the data of the run
├─ ReasonInvalid      422   missing or too long
└─ InvalidParams      422   one message per field
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.engine.errors import InputInvalid, RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.models import RemovedRun, Run


class NotFound(RequestError):
    """Not found."""

    status = 404


class WorkflowNotFound(NotFound):
    """Workflow not found."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        """Name the missing workflow and the available ones."""
        available = f" Available: {', '.join(known)}." if known else ""
        super().__init__(f"Workflow “{name}” not found.{available}")
        self.name = name


class RunNotFound(NotFound):
    """Run not found."""

    def __init__(self, run_id: object) -> None:
        super().__init__(f"Run {run_id} not found. It may have been deleted.")


class RunRemoved(RunNotFound):
    """The run was deleted."""

    def __init__(self, removed: RemovedRun) -> None:
        """State when it was deleted and by whom."""
        NotFound.__init__(
            self,
            f"Run {removed.pk} of {removed.workflow_name} was deleted on"
            f" {removed.removed_at:%Y-%m-%d} by {removed.removed_by_name}."
            + (" The decision history is retained." if removed.keeps_history else ""),
        )


class PayloadRemoved(RequestError):
    """Not possible: retention has deleted the data of this run."""

    status = 409


class ReasonInvalid(RequestError):
    """The reason cannot be stored."""

    status = 422


class ReasonMissing(ReasonInvalid):
    """Enter a reason. It is saved in the audit log."""


class ReasonTooLong(ReasonInvalid):
    """The reason is too long."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"The reason has {length:,} characters, at most {limit:,} can be stored."
            " Shorten it and submit again."
        )


class ApprovalNotFound(NotFound):
    """Approval not found."""

    def __init__(self, run_id: object) -> None:
        super().__init__(f"Run {run_id} has no approval.")


class EventNotFound(NotFound):
    """Event not found."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"No workflow that you can see waits for an event “{name}”. Check the name."
        )


class CallbackNotFound(NotFound):
    """There is nothing at this address."""


class ViewNotFound(NotFound):
    """View not found. It may have been deleted, or is no longer shared."""


class JobNotFound(NotFound):
    """Bulk operation not found."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"Bulk operation {job_id} not found.")


class EmptySelection(RequestError):
    """Select at least one run."""

    status = 422


class WorkerAlive(RequestError):
    """The run is held by a live worker."""

    status = 409

    def __init__(self, run: Run) -> None:
        """Name the worker and the alternative."""
        super().__init__(
            f"Run {run.short_id} is held by worker {run.worker}, which is alive. Cancel the"
            " run to stop it."
        )


class InvalidStatus(RequestError):
    """The status of the run does not permit the action."""

    status = 409

    def __init__(self, run: Run, wanted: str) -> None:
        """Take the rejected action as a participle, such as "resumed"."""
        state = f"is {run.get_status_display().lower()} and"
        if run.closing is not None:
            how = run.closing["status"]
            state = f"ends as {how} after its last nodes, which undo or report, and"
        super().__init__(f"Run {run.short_id} {state} cannot be {wanted}.")
        self.run = run


class InvalidDeadline(RequestError):
    """The deadline of a launch is not valid."""

    status = 422

    def __init__(self, days: int) -> None:
        """Take the longest deadline in days."""
        super().__init__(f"A deadline is above 0 and at most {days:,} days.")


class DeadlineOver(RequestError):
    """The deadline of the run has passed."""

    status = 409

    def __init__(self, run: Run) -> None:
        """Give the deadline and the alternative."""
        super().__init__(
            f"Run {run.short_id} cannot be resumed: its deadline, {run.deadline_at:%Y-%m-%d %H:%M}"
            " UTC, has passed. Rerun it."
        )


class StepsUndone(RequestError):
    """The steps of the run were undone."""

    status = 409

    def __init__(self, run: Run) -> None:
        """Give the number of steps and the alternative."""
        super().__init__(
            f"Run {run.short_id} cannot be resumed: {run.undo_text} of its steps, so that its"
            " state is no longer that of the systems it uses. Rerun it."
        )


class VersionChanged(RequestError):
    """The run has another version than the one in If-Match."""

    status = 412

    def __init__(self, run: Run) -> None:
        """Name the present version."""
        super().__init__(
            f"Run {run.short_id} has changed: it is at version {run.version} now. Read it"
            " again, then decide."
        )


class KeyReused(RequestError):
    """The idempotency key was used for another launch."""

    status = 409

    def __init__(self, run: Run) -> None:
        """Name the run that has the key."""
        super().__init__(
            f"This idempotency key launched run {run.short_id} with other parameters."
            " Use a new key for another launch."
        )


class MessageKeyReused(RequestError):
    """The idempotency key was used for another message."""

    status = 409

    def __init__(self, message: object) -> None:
        """Name the message that has the key."""
        super().__init__(
            f"This idempotency key sent message {message} with another key or value. Use a new"
            " idempotency key for another message."
        )


class CallbackUsed(RequestError):
    """This address was used."""

    status = 409


class CallbackOver(RequestError):
    """This address is no longer valid."""

    status = 410


class StateUnavailable(RequestError):
    """The state of a step can’t be restored."""

    status = 409


class AlreadyAnswered(RequestError):
    """The approval is closed."""

    status = 409


class LimitReached(RequestError):
    """The limits of the workflow refuse the launch."""

    status = 409

    def __init__(self, run: Run, limit: str) -> None:
        """Name the limit, not the key, which is data."""
        self.limit = limit  # such as “5 at once”
        of_key = " with its key" if run.limit_key else ""
        super().__init__(
            f"Not launched: the limit of “{run.workflow_name}”, {limit}, is reached by the"
            f" runs{of_key}. Try again later."
        )


class PauseUnchanged(RequestError):
    """The workflow is paused already, or is not paused."""

    status = 409


class HistoryChanged(RequestError):
    """The history of the run is not what was recorded."""

    status = 409

    def __init__(self, run: Run, finding: str) -> None:
        """Give what verification found."""
        super().__init__(
            f"The history of run {run.short_id} is not what was recorded, so that no run can"
            f" share it: {finding}"
        )


class ForkRefused(RequestError):
    """The run cannot be forked there."""

    status = 409


class StepNotFound(ForkRefused):
    """The run has no such step."""

    def __init__(self, run: Run, step: int) -> None:
        """Name the run and the step."""
        super().__init__(f"Run {run.short_id} has no step {step} to run again.")


class WhatIfUnavailable(RequestError):
    """The conditions of the workflow are not known before a run."""

    status = 409

    def __init__(self, name: str) -> None:
        """Name the workflow."""
        super().__init__(
            f"“{name}” is built by a factory for each run, so that its edges are not known"
            " before. Declare it as a Workflow to evaluate its decisions."
        )


class InUse(RequestError):
    """Other rows or unfinished runs depend on the object."""

    status = 409


class AgentUnavailable(RequestError):
    """An agent of the workflow is unavailable."""

    status = 409

    def __init__(self, stage: str, why: str) -> None:
        """Name the prompt and the cause."""
        super().__init__(f"Not launched. At “{stage}”: {why}")


class SubworkflowMissing(RequestError):
    """A node of the workflow launches a workflow that is not registered."""

    status = 409

    def __init__(self, workflow: str, node: str, missing: str) -> None:
        """Name both workflows and the node."""
        super().__init__(
            f"Workflow “{workflow}” cannot run: its node “{node}” launches the workflow"
            f" “{missing}”, which is not registered. Correct the name, or pass the Workflow"
            " itself."
        )


class FingerprintChanged(RequestError):
    """The workflow has changed since the run was launched."""

    status = 409

    def __init__(self, run: Run, differences: Sequence[str]) -> None:
        """List the differences."""
        super().__init__(
            f"{run.workflow_name} has changed since run {run.short_id} started:"
            f" {'; '.join(differences)}. Launch a new run, or declare the old version"
            " compatible in the workflow."
        )
        self.differences = differences


class NotAllowed(RequestError):
    """You don’t have permission to do that."""

    status = 403


class RateLimited(RequestError):
    """Too many requests within a minute."""

    status = 429

    def __init__(self, what: str, most: int, *, seconds: int) -> None:
        """State the limit and the seconds until the next attempt."""
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
        super().__init__(
            f"Too many {what}: the limit is {most} per minute. Nothing was changed."
            f" Try again in {wait}."
        )
        self.seconds = seconds


class TooManyDownloads(RequestError):
    """The process sends as many exports as it may."""

    status = 429
    seconds = 10  # after which a client may try again

    def __init__(self, what: str = "exports") -> None:
        super().__init__(
            f"Too many {what} are in progress. Try again when one of them is finished."
        )


class TooManyStreams(RequestError):
    """The process, or the person, has as many streams of events as are permitted."""

    status = 429
    seconds = 10  # after which a client may try again

    def __init__(self, whose: str) -> None:
        """Say whose limit was reached."""
        super().__init__(
            f"{whose} has too many open streams of events. Close one, or try again later."
        )


class InvalidSort(RequestError):
    """Unknown sort field."""

    status = 400

    def __init__(self, field: str, known: Sequence[str]) -> None:
        """Name the unknown field and the known ones."""
        super().__init__(
            f"Can’t sort runs by “{field[:80]}”. Available: {', '.join(known)}; prefix a"
            " field with - for descending order."
        )


class InvalidCursor(RequestError):
    """The cursor is invalid. Use `next` of a page of the same list."""

    status = 400


class InvalidLabel(RequestError):
    """Invalid label."""

    status = 422

    def __init__(self, name: str, why: str = "") -> None:
        """Give the cause, or the rule for labels if the name is invalid."""
        rule = "A label has up to 40 characters and no comma."
        super().__init__(
            why or (f"“{name[:60]}” is not a valid label. {rule}" if name else rule)
        )


class InvalidKey(RequestError):
    """The API key can’t be sent in a request."""

    status = 422


class InvalidView(RequestError):
    """The view can’t be saved."""

    status = 422


class InvalidParams(InputInvalid):
    """Some parameters are invalid."""


class InvalidMessage(InputInvalid):
    """Some fields of a message are invalid."""


class InvalidToken(InputInvalid):
    """Some fields of an API token are invalid."""


class InvalidSchedule(InputInvalid):
    """Some fields of a schedule are invalid."""


class InvalidWebhook(InputInvalid):
    """Some fields of a webhook are invalid."""


class InvalidBatch(InputInvalid):
    """Some rows of a batch of launches are invalid."""


class InvalidPayload(RequestError):
    """The body of a delivery cannot be used."""

    status = 422


class SignatureInvalid(RequestError):
    """The signature of a delivery is invalid."""

    status = 401


class WebhookUnavailable(RequestError):
    """The webhook can’t verify deliveries at the moment."""

    status = 503
    seconds = 300  # after which a sender may try again


class WorkflowUnavailable(RequestError):
    """The message can’t be checked at the moment."""

    status = 503
    seconds = 300  # after which a sender may try again


class WebhookNotFound(NotFound):
    """Webhook not found. It may have been deleted."""


class WebhookDeliveryNotFound(NotFound):
    """Delivery not found. Deliveries are deleted after some days."""


class ScheduleNotFound(NotFound):
    """Schedule not found. It may have been deleted."""


class InvalidDestination(InputInvalid):
    """Some fields of a webhook destination are invalid."""


class InvalidAlert(InputInvalid):
    """Some fields of an alert rule are invalid."""


class AlertNotFound(NotFound):
    """Alert rule not found. It may have been deleted."""


class InvalidSubscription(InputInvalid):
    """Some fields of a subscription are invalid."""


class SubscriptionNotFound(NotFound):
    """Subscription not found. It may have been deleted."""


class InvalidVariable(InputInvalid):
    """Some fields of a variable are invalid."""


class VariableNotFound(NotFound):
    """Variable not found. It may have been deleted."""


class DestinationNotFound(NotFound):
    """Webhook destination not found. It may have been deleted."""


class DeliveryNotFound(NotFound):
    """Delivery not found. It may have been deleted by retention."""


class TokenNotFound(NotFound):
    """Token not found. It may have been revoked."""


class DocumentNotFound(NotFound):
    """Document not found. It may have been deleted."""


class PageNotFound(NotFound):
    """The document has no such page."""

    def __init__(self, number: int, pages: int) -> None:
        """Name the pages there are."""
        there_are = f"It has {pages}." if pages else "It has none."
        super().__init__(f"The document has no page {number}. {there_are}")
