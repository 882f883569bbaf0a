"""Groups that follow the claims or attributes of a provider, at each sign-in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from allauth.socialaccount.providers.saml.provider import SAMLProvider
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction

from workflows.access.roles import ADMIN, AUDITOR
from workflows.audit import audit_events

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from allauth.socialaccount.models import SocialLogin
    from django.contrib.auth.models import User

    Pairs = Collection[tuple[str, str]]  # a group at the provider, and one here

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


def follow_provider(user: User, sociallogin: SocialLogin) -> None:
    """Give a person the groups that the provider states, by its mapping."""
    if is_saml(sociallogin):
        attributes = sociallogin.account.extra_data or {}
        follow_attributes(user, attributes)
    else:
        follow_claims(user, claims_of(sociallogin))


def is_saml(sociallogin: SocialLogin) -> bool:
    """Return whether the provider signed someone in by SAML, not by OpenID Connect."""
    return isinstance(sociallogin.provider, SAMLProvider)


def follow_claims(user: User, claims: Mapping[str, Any]) -> None:
    """Give a person the groups of OIDC_GROUPS that the claims name, and take the others."""
    _follow(user, named_groups(claims), settings.OIDC_GROUPS, "OIDC_GROUPS")


def follow_attributes(user: User, attributes: Mapping[str, Any]) -> None:
    """Give a person the groups of SAML_GROUPS that the attributes name, and take the others."""
    values = attributes.get(settings.SAML_GROUPS_ATTRIBUTE)
    there = frozenset(one for one in values or () if isinstance(one, str))
    _follow(user, there, settings.SAML_GROUPS, "SAML_GROUPS")


def _follow(user: User, there: Collection[str], mapping: Pairs, setting: str) -> None:
    """Change the groups of the mapping only.

    The staff status follows with them if the mapping has a role that needs it.
    """
    managed = {here for _, here in mapping}
    given = {here for name, here in mapping if name in there}
    if not managed:
        return
    with transaction.atomic():
        before = _state(user)
        _set(user, managed, given, setting)
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


def _set(
    user: User, managed: Collection[str], given: Collection[str], setting: str
) -> None:
    groups = {group.name: group for group in Group.objects.filter(name__in=managed)}
    for name in sorted(set(managed) - set(groups)):
        logger.warning("%s names the group %r, which does not exist.", setting, name)
    user.groups.add(*(group for name, group in groups.items() if name in given))
    user.groups.remove(*(group for name, group in groups.items() if name not in given))


def _state(user: User) -> dict[str, Any]:
    names = user.groups.order_by("name").values_list("name", flat=True)
    return {"groups": list(names), "is_staff": user.is_staff}
