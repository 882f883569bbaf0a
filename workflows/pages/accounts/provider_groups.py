"""Groups that follow the claims of a provider, at each sign-in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction

from workflows.access.roles import ADMIN, AUDITOR
from workflows.audit import audit_events

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from allauth.socialaccount.models import SocialLogin
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)
STAFF: Final = {ADMIN, AUDITOR}  # roles that use the pages of Django admin


def claims_of(sociallogin: SocialLogin) -> dict[str, Any]:
    """Return the claims of the ID token and of the userinfo, which is newer."""
    data = sociallogin.account.extra_data or {}
    parts = [data.get("id_token"), data.get("userinfo")]
    return {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}


def named_groups(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the provider's groups in the claims; a missing claim is none.

    A dotted name such as `realm_access.roles` leads into objects.
    """
    value: Any = claims.get(settings.OIDC_GROUPS_CLAIM)
    if value is None:
        value = claims
        for part in settings.OIDC_GROUPS_CLAIM.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return frozenset()
    return frozenset(one for one in value if isinstance(one, str))


def follow_claims(user: User, claims: Mapping[str, Any]) -> None:
    """Give a person the groups of the mapping that the claims name, and take the others.

    Only groups of the mapping change. The staff status follows with them if the mapping
    has a role that needs it.
    """
    there = named_groups(claims)
    managed = {here for _, here in settings.OIDC_GROUPS}
    given = {here for name, here in settings.OIDC_GROUPS if name in there}
    if not managed:
        return
    with transaction.atomic():
        before = _state(user)
        _set(user, managed, given)
        if managed & STAFF and not user.is_superuser:
            user.is_staff = bool(given & STAFF)
            user.save(update_fields=["is_staff"])
        after = _state(user)
        if before != after:
            audit_events.note(
                "follow provider groups",
                by=None,
                reason=user.get_username(),
                changed=(before, after),
            )


def _set(user: User, managed: Collection[str], given: Collection[str]) -> None:
    groups = {group.name: group for group in Group.objects.filter(name__in=managed)}
    for name in sorted(set(managed) - set(groups)):
        logger.warning("OIDC_GROUPS names the group %r, which does not exist.", name)
    user.groups.add(*(group for name, group in groups.items() if name in given))
    user.groups.remove(*(group for name, group in groups.items() if name not in given))


def _state(user: User) -> dict[str, Any]:
    names = user.groups.order_by("name").values_list("name", flat=True)
    return {"groups": list(names), "is_staff": user.is_staff}
