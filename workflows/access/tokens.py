"""API tokens: creation, verification, and the permissions of a request with a token.

A token never permits more than its owner may do at the time of the request: its scopes and
workflows only narrow the owner's permissions.
"""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from workflows.access import permissions
from workflows.access.escalation import Power
from workflows.access.permissions import NONE, Permissions, WorkflowSet
from workflows.audit import audit_events
from workflows.errors import InvalidToken, NotAllowed, TokenNotFound
from workflows.infra import notifications
from workflows.models import ApiToken, ServiceAccount, TokenScope
from workflows.models.tokens import MAX_TOKEN_NAME_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.db.models import QuerySet

PREFIX: Final = "sbx_"  # for secret scanners
SECRET_BYTES: Final = 32
HINT_LENGTH: Final = len(PREFIX) + 4
LAST_USE_INTERVAL: Final = dt.timedelta(minutes=1)  # between two writes of the last use
MAX_LIFETIME: Final = dt.timedelta(days=3_660)
ADMIN = frozenset({TokenScope.ADMIN.value})


# Use ------------------------------------------------------------------------------------


def authenticate(secret: str) -> ApiToken | None:
    """Return the usable token with this secret and its active owner, else None.

    Stores the time and the client's address at most once a minute.
    """
    found = find(secret)
    if found is not None:
        _note_use(found)
    return found


def find(secret: str) -> ApiToken | None:
    """Return the usable token with this secret and its active owner, else None."""
    if not (secret.startswith(PREFIX) and secret.isascii()):
        return None
    found = (
        ApiToken.objects.select_related("owner")
        .filter(digest=digest_of(secret))
        .first()
    )
    return _usable(found)


def reload(token: ApiToken) -> ApiToken | None:
    """Return a token as it is now, None if it is no longer usable."""
    found = ApiToken.objects.select_related("owner").filter(pk=token.pk).first()
    return _usable(found)


def _usable(token: ApiToken | None) -> ApiToken | None:
    is_usable = token is not None and token.is_usable and token.owner.is_active
    return token if is_usable else None


def user_of(token: ApiToken) -> User:
    """Return the owner with the permissions of the token.

    The object must not be saved. `permissions` sees the limits through its cache, and
    through `permissions.LIMITS_ATTRIBUTE` where permissions of Django are asked for.
    """
    user = token.owner
    granted = permissions.permissions_for(user)
    scopes = frozenset(token.scopes)
    setattr(user, permissions.CACHE_ATTRIBUTE, narrowed(granted, token))
    is_limited = not scopes >= ADMIN or bool(token.workflows)
    setattr(user, permissions.LIMITS_ATTRIBUTE, is_limited)
    return user


def narrowed(granted: Permissions, token: ApiToken) -> Permissions:
    """Return the part of an owner's permissions that a token gives.

    Every scope includes seeing runs with their steps and times; data requires `read` or
    `approve`.
    """
    scopes = frozenset(token.scopes)
    among = WorkflowSet(frozenset(token.workflows), all_but=not token.workflows)

    def part(names: WorkflowSet, *needed: TokenScope) -> WorkflowSet:
        return names & among if scopes & {*needed, TokenScope.ADMIN} else NONE

    reads = bool(scopes & {TokenScope.READ, TokenScope.ADMIN})
    return replace(
        granted,
        view=granted.view & among,
        launch=part(granted.launch, TokenScope.LAUNCH),
        operate=part(granted.operate, TokenScope.OPERATE),
        approve=part(granted.approve, TokenScope.APPROVE),
        read=part(granted.read, TokenScope.READ, TokenScope.APPROVE),
        documents=granted.documents and reads and not token.workflows,
        workers=granted.workers and reads and not token.workflows,
    )


def digest_of(secret: str) -> str:
    """Return the digest that is stored for a secret."""
    return sha256(secret.encode()).hexdigest()


def _note_use(token: ApiToken) -> None:
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - LAST_USE_INTERVAL)
    if token.last_used_at is not None and token.last_used_at > now - LAST_USE_INTERVAL:
        return
    ApiToken.objects.filter(stale, pk=token.pk).update(
        last_used_at=now, last_used_address=audit_events.address()
    )


# Management -----------------------------------------------------------------------------


def visible_tokens(user: User) -> QuerySet[ApiToken]:
    """Return the tokens that a person may see and revoke, without revoked ones.

    Their own; those of service accounts too for people who manage accounts.
    """
    mine = Q(owner=user)
    if permissions.can_give_roles(user):
        mine |= Q(owner__service_account__isnull=False)
    rows = ApiToken.objects.filter(mine, revoked_at=None)
    return rows.select_related("owner", "created_by")


def create(  # noqa: PLR0913 - fields of a token
    owner: User,
    name: str,
    *,
    by: User,
    scopes: Collection[str],
    workflows: Collection[str] = (),
    expires_at: dt.datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create a token; return it with its secret, which is not stored.

    Raises InvalidToken, and NotAllowed unless it is the person's own, or that of a service
    account whose permissions the person has too.
    """
    _require_may_create(owner, by)
    name = " ".join(name.split())
    _validate(name, scopes, workflows, expires_at)
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = ApiToken(
        owner=owner,
        name=name,
        hint=secret[:HINT_LENGTH],
        digest=digest_of(secret),
        scopes=[one.value for one in TokenScope if one.value in scopes],
        workflows=sorted(set(workflows)),
        expires_at=expires_at,
        created_by=by,
    )
    try:
        with transaction.atomic():
            token.save(force_insert=True)
            audit_events.note("create token", by=by, reason=_described(token))
    except IntegrityError as error:
        raise InvalidToken(
            {"name": [f"{owner.get_username()} has a token “{name}” already."]}
        ) from error
    return token, secret


def revoke(pk: int, *, by: User) -> ApiToken:
    """Revoke a token: requests with it are refused from now on. Raises TokenNotFound."""
    with transaction.atomic():
        token = visible_tokens(by).filter(pk=pk).first()
        revoked = ApiToken.objects.filter(pk=pk, revoked_at=None)
        if token is None or not revoked.update(revoked_at=timezone.now()):
            raise TokenNotFound
        notifications.permissions_changed_on_commit()  # for open streams of events
        audit_events.note("revoke token", by=by, reason=_described(token))
    return token


def create_service_account(name: str, description: str, *, by: User) -> ServiceAccount:
    """Create an account for a program, without a password and in no role.

    Raises InvalidToken, NotAllowed.
    """
    permissions.require(permissions.can_give_roles(by), "create service accounts")
    name = name.strip()
    if not name or User.objects.filter(username=name).exists():
        why = f"“{name}” is taken." if name else "Enter a name."
        raise InvalidToken({"name": [why]})
    user = User(username=name)
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise InvalidToken({"name": error.messages}) from error
    with transaction.atomic():
        user.save()
        account = ServiceAccount.objects.create(
            user=user, description=description.strip()[:200], created_by=by
        )
        audit_events.note("create service account", by=by, reason=name)
    return account


def _require_may_create(owner: User, by: User) -> None:
    if getattr(by, permissions.LIMITS_ATTRIBUTE, None) is not None:
        raise NotAllowed("A token can’t create tokens. Sign in to create one.")
    require_may_act_as(owner, by, "tokens")


def require_may_act_as(owner: User, by: User, what: str) -> None:
    """Raise NotAllowed unless a person may create what acts as an account.

    That is their own, or a service account whose permissions they have too. `what` is the
    plural of what they create.
    """
    if owner.pk == by.pk:
        return
    is_service = ServiceAccount.objects.filter(user=owner).exists()
    permissions.require(
        is_service and permissions.can_give_roles(by), f"create {what} of this account"
    )
    if not Power.of(by).covers(Power.of(owner)):
        raise NotAllowed(
            f"{owner.get_username()} has permissions that you lack. Ask someone who has these"
            f" permissions to create the {what[:-1]}."
        )


def _validate(
    name: str,
    scopes: Collection[str],
    workflows: Collection[str],
    expires_at: dt.datetime | None,
) -> None:
    errors: dict[str, list[str]] = {}
    if not name or len(name) > MAX_TOKEN_NAME_LENGTH or "\x00" in name:
        errors["name"] = [f"Enter a name of up to {MAX_TOKEN_NAME_LENGTH} characters."]
    if not scopes or set(scopes) - set(TokenScope.values):
        errors["scopes"] = [f"Choose from: {', '.join(TokenScope.values)}."]
    if unknown := set(workflows) - permissions.names_now():
        errors["workflows"] = [f"Unknown workflow: {', '.join(sorted(unknown))}."]
    now = timezone.now()
    if expires_at is not None and not now < expires_at < now + MAX_LIFETIME:
        errors["expires_at"] = ["Choose a time in the future, within ten years."]
    if errors:
        raise InvalidToken(errors)


def _described(token: ApiToken) -> str:
    """Return the text of the audit event: the name, the owner and what the token gives."""
    names = ", ".join(token.workflows) or "all workflows"
    return (
        f"{token.name} of {token.owner.get_username()} ({token.hint}…):"
        f" {', '.join(token.scopes)}; {names}"
    )
