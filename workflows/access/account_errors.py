"""Errors of requests about accounts; the responses have the status 404."""

from __future__ import annotations

from workflows.errors import NotFound


class MemberNotFound(NotFound):
    """Member not found. The account may have been deleted."""


class SessionNotFound(NotFound):
    """Session not found. It may have ended."""


class InvitationNotFound(NotFound):
    """Invitation not found. It may have expired, or was used or revoked already."""
