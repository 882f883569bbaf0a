"""Errors of claims, assignments, snoozes and reminders of approvals."""

from __future__ import annotations

from workflows.engine.errors import InputInvalid, RequestError


class AlreadyClaimed(RequestError):
    """Another person is working on the approval."""

    status = 409


class NotClaimed(RequestError):
    """No one is working on the approval."""

    status = 409


class RemindedAlready(RequestError):
    """The approvers were reminded a short time ago."""

    status = 409


class NotEscalated(RequestError):
    """The approval declares no escalation, or was escalated already."""

    status = 409


class InvalidAssignee(InputInvalid):
    """The person or group cannot respond to the approval."""


class InvalidSnooze(InputInvalid):
    """The approval cannot be hidden until that time."""
