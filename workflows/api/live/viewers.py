"""Who reads a stream: the account behind a token or a session, which can end meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.access import permissions, tokens

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.base import SessionBase

    from workflows.api.requests import ApiRequest
    from workflows.models import ApiToken


@dataclass(slots=True)
class Viewer:
    """The reader of a stream, with the permissions at the time of the last check."""

    user: User
    token: ApiToken | None = None
    session: SessionBase | None = None

    @classmethod
    def of(cls, request: ApiRequest) -> Viewer:
        """Return the authenticated user of a request."""
        token: Any = getattr(request, "api_token", None)
        session = None if token else request.session
        return cls(request.user, token, session)

    def reload(self) -> bool:
        """Read account and permissions again; return False if access has ended.

        That is the case for a token that was revoked or has expired, a session that has
        ended, and an account that was deactivated.
        """
        if self.token is not None:
            token = tokens.reload(self.token)
            if token is not None:
                self.user = tokens.user_of(token)
            return token is not None
        user = permissions.reload_user(self.user, self.session)
        if user is not None:
            self.user = user
        return user is not None
