"""Responses to approvals: who may respond, validation, and errors for closed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.access import permissions
from workflows.agents import budgets
from workflows.execution.params import check_response
from workflows.models import ApprovalKind, ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import Approval
    from workflows.registry import Registry


def can_respond(approval: Approval, user: AbstractBaseUser) -> bool:
    """Return whether this person is an approver."""
    return is_for(approval.groups, permissions.permissions_for(user).groups)


def is_for(approvers: Collection[str], groups: frozenset[str] | None) -> bool:
    """Return whether a member of `groups` is an approver; no approvers means everyone."""
    return groups is None or not approvers or not groups.isdisjoint(approvers)


def checked(
    workflows: Registry, approval: Approval, value: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a validated response as JSON: for a node, or an increase of a budget.

    Raises InvalidParams, ApprovalNotFound, WorkflowNotFound.
    """
    if approval.kind == ApprovalKind.BUDGET:
        return budgets.validate_increase(approval, value)
    workflow = workflows.get(approval.run.workflow_name)
    return check_response(workflow, approval.node_name, value)


def closed_reason(approval: Approval) -> str:
    """Return the message for an approval that is not open."""
    if approval.status == ApprovalStatus.ANSWERED and approval.responded_by:
        return f"Already answered by {approval.responded_by.get_username()}."
    if approval.status == ApprovalStatus.EXPIRED:
        return "The approval has expired."
    return "The approval was withdrawn: its run was cancelled."
