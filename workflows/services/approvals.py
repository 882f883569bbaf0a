"""Answers to questions: from whom, of which shape, and what is told to whoever came later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.access import permissions
from workflows.agents import budgets
from workflows.execution.params import check_answer
from workflows.models import ApprovalKind, ApprovalStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django.contrib.auth.models import AbstractBaseUser

    from workflows.models import Approval
    from workflows.registry import Registry


def may_answer(approval: Approval, user: AbstractBaseUser) -> bool:
    """Tell whether this person is among those the question is for."""
    return is_for(approval.groups, permissions.permissions_for(user).groups)


def is_for(asked: Collection[str], groups: frozenset[str] | None) -> bool:
    """Tell whether a question for these groups is for somebody who is in those."""
    return groups is None or not asked or not groups.isdisjoint(asked)


def checked(
    workflows: Registry, approval: Approval, value: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an answer as JSON: to a node, or for more of a budget.

    Raises InvalidParams, ApprovalNotFound, WorkflowNotFound.
    """
    if approval.kind == ApprovalKind.BUDGET:
        return budgets.check_more(approval, value)
    workflow = workflows.get(approval.run.workflow_name)
    return check_answer(workflow, approval.node_name, value)


def who_was_faster(approval: Approval) -> str:
    """Return why a question is not open any more."""
    if approval.status == ApprovalStatus.ANSWERED and approval.answered_by:
        return f"{approval.answered_by.get_username()} has answered this already."
    if approval.status == ApprovalStatus.EXPIRED:
        return "The time to answer has passed."
    return "The question was withdrawn: its run was cancelled."
