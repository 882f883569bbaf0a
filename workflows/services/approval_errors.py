"""Errors of requests about the work on approvals."""

from __future__ import annotations

from workflows.engine.errors import RequestError


class AlreadyClaimed(RequestError):
    """Another person is working on the approval."""

    status = 409


class NotClaimed(RequestError):
    """No one is working on the approval."""

    status = 409
