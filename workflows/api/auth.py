"""Authentication of API requests: a token, or the session of a browser with a CSRF token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from ninja.errors import AuthenticationError
from ninja.security import APIKeyCookie, HttpBearer

from workflows.access import permissions, tokens
from workflows.audit import audit_events
from workflows.pages.rate_limits import count

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

REFUSED: Final = (
    "The API token is unknown, expired or revoked, or its owner is inactive."
)


class TokenAuth(HttpBearer):
    """`Authorization: Bearer sbx_…`; the request acts as the owner of the token."""

    def authenticate(self, request: HttpRequest, token: str) -> User:
        """Return the owner with the permissions of the token. Raises AuthenticationError."""
        found = tokens.authenticate(token.strip())
        if found is None:
            count("api_failure", audit_events.address() or "unknown")
            raise AuthenticationError(message=REFUSED)
        count("api", f"token {found.pk}")
        audit_events.set_token_name(found.name)
        request.user = tokens.user_of(found)
        request.api_token = found  # type: ignore[attr-defined]
        return request.user


class SessionAuth(APIKeyCookie):
    """The session cookie of a browser; unsafe methods need the header X-CSRFToken."""

    param_name: str = settings.SESSION_COOKIE_NAME

    def __init__(self) -> None:
        """Check the CSRF token."""
        super().__init__(csrf=True)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any | None:
        """Return the signed-in user, None without one."""
        del key
        if not permissions.is_member(request.user):
            return None
        count("api", f"person {request.user.pk}")
        return request.user
