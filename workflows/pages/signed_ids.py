"""Ids that a page gives to what its form will create: the form sent twice creates it once."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.core import signing

from workflows.models.runs import new_run_id

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def new_signed_id(user: User, salt: str) -> str:
    """Return a new id, signed for a user and a purpose."""
    return signing.dumps([user.pk, str(new_run_id())], salt=salt)


def signed_id(text: str, user: User, salt: str) -> UUID | None:
    """Return the id in a signed text; None for no text, or one of another user or purpose."""
    try:
        user_id, found = signing.loads(text, salt=salt)
    except signing.BadSignature:
        return None
    return UUID(found) if user_id == user.pk else None
