"""Invitations: an account manager makes a link, with which a person creates an account.

The link is shown once, or mailed. It is valid for seven days, once; of two people who use
it at once, one gets the account.
"""

from __future__ import annotations

import datetime as dt
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from workflows.access import permissions
from workflows.access.account_errors import InvitationNotFound
from workflows.access.escalation import Power
from workflows.audit import audit_events
from workflows.errors import NotAllowed
from workflows.models import Invitation

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import Group

LIFETIME: Final = dt.timedelta(days=7)
SECRET_BYTES: Final = 32


def invite(
    email: str, groups: Collection[Group], *, by: User
) -> tuple[Invitation, str]:
    """Create an invitation; return it with the secret of its link, which is not stored.

    Raises NotAllowed unless the person may add accounts, and has what the groups give.
    """
    permissions.require(permissions.can_invite(by), "invite people")
    power = Power.of(by)
    missing = sorted(one.name for one in groups if not power.can_add_to(one))
    if missing:
        raise NotAllowed(
            f"Only a superuser can invite to groups with permissions that you don’t have:"
            f" {', '.join(missing)}."
        )
    secret = secrets.token_urlsafe(SECRET_BYTES)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            email=email,
            digest=_digest(secret),
            expires_at=timezone.now() + LIFETIME,
            invited_by=by,
        )
        invitation.groups.set(groups)
        names = ", ".join(sorted(one.name for one in groups)) or "no group"
        audit_events.note("create invitation", by=by, reason=f"{invitation}: {names}")
    return invitation, secret


def revoke(invitation_id: int, *, by: User) -> Invitation:
    """Make a link invalid. Raises InvitationNotFound, NotAllowed."""
    permissions.require(permissions.can_invite(by), "revoke invitations")
    with transaction.atomic():
        rows = Invitation.objects.filter(Invitation.usable(), pk=invitation_id)
        if not rows.update(revoked_at=timezone.now()):
            raise InvitationNotFound
        invitation = Invitation.objects.get(pk=invitation_id)
        audit_events.note("revoke invitation", by=by, reason=str(invitation))
    return invitation


def find(secret: str) -> Invitation | None:
    """Return the usable invitation of a link, None if there is none.

    Its inviter still has to be able to invite: a person who left invites nobody.
    """
    rows = Invitation.objects.filter(Invitation.usable(), digest=_digest(secret))
    found = rows.select_related("invited_by").first()
    if found is None or found.invited_by is None:
        return None
    return found if permissions.can_invite(found.invited_by) else None


def accept(invitation: Invitation, account: User) -> User:
    """Save the new account with the groups of the invitation. Raises InvitationNotFound.

    Groups that the inviter could no longer give are left out.
    """
    with transaction.atomic():
        rows = Invitation.objects.filter(Invitation.usable(), pk=invitation.pk)
        if not rows.update(accepted_at=timezone.now()):
            raise InvitationNotFound
        account.email = invitation.email
        account.save()
        Invitation.objects.filter(pk=invitation.pk).update(accepted_by=account)
        inviter = invitation.invited_by
        power = Power.of(inviter) if inviter else None
        groups = [
            one for one in invitation.groups.all() if power and power.can_add_to(one)
        ]
        account.groups.set(groups)
        names = ", ".join(sorted(one.name for one in groups)) or "no group"
        reason = f"{account.get_username()}: {names}"
        audit_events.note("accept invitation", by=account, reason=reason)
    return account


def open_invitations() -> list[Invitation]:
    """Return the invitations that can be accepted, the newest first."""
    rows = Invitation.objects.filter(Invitation.usable())
    return list(rows.select_related("invited_by").prefetch_related("groups")[:100])


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
