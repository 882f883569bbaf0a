"""Responses to approvals: who may respond, validation, votes, and errors for closed ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import Group
from django.db.models import Q

from workflows.access import permissions
from workflows.agents import budgets
from workflows.audit import seals
from workflows.engine.errors import ResponseRefused
from workflows.engine.votes import is_veto
from workflows.errors import AlreadyAnswered, NotAllowed
from workflows.execution.params import check_response
from workflows.models import ApprovalKind, ApprovalStatus, ApprovalVote
from workflows.services.edited_states import checked_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.contrib.auth.models import AbstractBaseUser, User
    from django.db.models import QuerySet

    from workflows.models import Approval
    from workflows.registry import Registry

EXCLUDED: Final = {
    "launcher": "You launched this run: someone else has to respond.",
    "previous": "You responded to the previous approval of this run: someone else has to"
    " respond.",
}
RULES: Final = {
    "launcher": "Not by the person who launched the run.",
    "previous": "Not by the person who responded to the previous approval.",
}
MAX_SHOWN_VALUES: Final = 3  # of a response on one line
MAX_VALUE_LENGTH: Final = 80  # characters
VOTED: Final = "You have responded. The run waits for {}."


def may_respond(approval: Approval, user: AbstractBaseUser) -> bool:
    """Return whether this person is an approver, is not excluded, and has not voted."""
    granted = permissions.permissions_for(user)
    return permissions.is_approver(granted, approval) and not refusal(approval, user.pk)


def named_by(approval: Approval, people: QuerySet[User]) -> QuerySet[User]:
    """Return those of these people who are in a group of the approvers, or superusers.

    The same as `permissions.is_for`: what else forbids a response is read for each person.
    """
    if not approval.groups:
        return people
    members = Group.objects.filter(name__in=approval.groups).values("user")
    return people.filter(Q(is_superuser=True) | Q(pk__in=members))


def require_respondent(approval: Approval, by: AbstractBaseUser) -> None:
    """Raise NotAllowed, ResponseRefused or AlreadyAnswered for a person who may not respond."""
    permissions.require(
        permissions.can_approve_run(by, approval.run),
        "respond to approvals of this run",
    )
    if not permissions.is_approver(permissions.permissions_for(by), approval):
        raise NotAllowed(
            f"You are not an approver: members of {' or '.join(approval.groups)} are."
        )
    if why := refusal(approval, by.pk):
        is_excluded = by.pk in approval.excluded
        raise ResponseRefused(why) if is_excluded else AlreadyAnswered(why)


def require_open(approval: Approval, sequence: int | None = None) -> None:
    """Raise AlreadyAnswered if the approval is closed, or of another step than this one."""
    if approval.status != ApprovalStatus.OPEN:
        raise AlreadyAnswered(closed_reason(approval))
    require_step(approval, sequence)


def require_step(approval: Approval, sequence: int | None) -> None:
    """Raise AlreadyAnswered if a request is about the approval of another step."""
    if sequence is not None and approval.sequence != sequence:
        raise AlreadyAnswered(
            f"The run waits for the approval of step {approval.sequence}, not of"
            f" step {sequence}."
        )


def refusal(approval: Approval, person_id: int | None) -> str:
    """Return why this person cannot respond, whatever their permissions; "" if they can.

    Superusers included. Reads the votes of an approval that needs several.
    """
    if person_id is None or not approval.is_personal:
        return ""
    if person_id in approval.excluded:
        return EXCLUDED[approval.not_by]
    if any(vote.voter_id == person_id for vote in votes_of(approval)):
        return VOTED.format(missing(approval))
    return ""


def votes_of(approval: Approval) -> Sequence[ApprovalVote]:
    """Return the votes in their order; none for an approval with a single response."""
    return list(approval.votes.all()) if approval.votes_needed > 1 else []


def is_decided(approval: Approval, votes: Sequence[ApprovalVote]) -> bool:
    """Return whether nobody has to respond any more: all have, or one response was a veto."""
    if len(votes) >= approval.votes_needed:
        return True
    return any(is_veto(approval.veto, vote.response) for vote in votes)


def veto_text(approval: Approval) -> str:
    """Return "One response with outcome “reject” ends the vote.", "" if none does."""
    if not approval.veto:
        return ""
    values = " and ".join(f"{name} “{value}”" for name, value in approval.veto.items())
    return f"One response with {values} ends the vote."


def progress(approval: Approval) -> str:
    """Return "1 of 2 responses", "" for an approval with a single response."""
    if approval.votes_needed == 1:
        return ""
    return f"{len(votes_of(approval))} of {approval.votes_needed} responses"


def missing(approval: Approval) -> str:
    """Return how many more have to respond, such as "1 more person"."""
    count = max(approval.votes_needed - len(votes_of(approval)), 0)
    return f"{count} more {'person' if count == 1 else 'people'}"


def checked(
    workflows: Registry, approval: Approval, value: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a validated response as JSON: for a node, a failed step, or an increase of a budget.

    Raises InvalidParams, ApprovalNotFound, WorkflowNotFound.
    """
    if approval.kind == ApprovalKind.BUDGET:
        return budgets.validate_increase(approval, value)
    workflow = workflows.get(approval.run.workflow_name)
    if approval.kind == ApprovalKind.FAILURE:
        return checked_choice(workflow, approval, value)
    return check_response(workflow, approval.node_name, value)


def vote(
    approval: Approval, value: Mapping[str, Any], *, by: AbstractBaseUser, comment: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Store the vote of a person; return what the audit event says changed.

    Call it with the run's row locked, which serialises the votes. The digest of the response
    seals it with the event. Raises AlreadyAnswered.
    """
    given = votes_of(approval)
    if any(one.voter_id == by.pk for one in given):
        raise AlreadyAnswered(VOTED.format(missing(approval)))
    approval.votes.create(
        voter_id=by.pk, voter_name=by.get_username(), response=value, comment=comment
    )
    needed, count = approval.votes_needed, len(given)
    return (
        {"responses": f"{count} of {needed}"},
        {
            "responses": f"{count + 1} of {needed}",
            "digest": seals.payload_digest(value).hex(),
        },
    )


def expiry_text(approval: Approval) -> str:
    """Return what the expiry will do, such as "then the run continues with outcome “reject”"."""
    if approval.on_expiry is None:
        return "then the run fails"
    if not isinstance(approval.on_expiry, dict) or not approval.on_expiry:
        return "then the run continues with the declared response"
    return f"then the run continues with {response_text(approval.on_expiry)}"


def response_text(value: object) -> str:
    """Return a response on one line, such as "outcome “reject”"; empty values are left out."""
    if not isinstance(value, dict):
        return ""
    parts = [
        f"{name} “{_shortened(given)}”"
        for name, given in value.items()
        if given not in (None, "", [], {})
    ]
    more = len(parts) - MAX_SHOWN_VALUES
    shown = " and ".join(parts[:MAX_SHOWN_VALUES])
    return f"{shown} and {more} more" if more > 0 else shown


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 1]}…"


def responders(approval: Approval) -> str:
    """Return the names of those who responded, "" if no one did."""
    if approval.votes_needed > 1:
        return ", ".join(one.voter_name for one in votes_of(approval))
    return approval.responded_by.get_username() if approval.responded_by else ""


def closed_reason(approval: Approval) -> str:
    """Return the message for an approval that is not open."""
    by = responders(approval)
    if approval.status == ApprovalStatus.ANSWERED and by:
        return f"Already answered by {by}."
    if approval.status == ApprovalStatus.EXPIRED:
        return "The approval has expired."
    reason = approval.withdrawn_reason or "its run was cancelled"
    return f"The approval was withdrawn: {reason}."
