"""Sessions of a person: where they are signed in, and their end.

allauth keeps a row with browser and address of each sign-in. Sessions that are older than
these rows are found by reading all sessions when a person is signed out everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session
from django.db import transaction
from django.utils import timezone

from workflows.access.account_errors import SessionNotFound
from workflows.audit import audit_events
from workflows.infra import notifications

if TYPE_CHECKING:
    import datetime as dt

    from django.contrib.auth.models import User

BROWSERS: Final = {  # the first that a user agent contains; later ones imitate earlier ones
    "Edg": "Edge",
    "OPR": "Opera",
    "Firefox": "Firefox",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS: Final = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "Linux": "Linux",
}
MAX_AGENT_LENGTH: Final = 60  # characters of one that is not recognised


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session for its owner."""

    pk: int
    browser: str
    address: str
    since: dt.datetime
    is_current: bool


def sessions_of(user: User, current: str | None = None) -> list[SignedIn]:
    """Return the sessions of a person that have not ended, the newest first.

    `current` is the key of the session that asks.
    """
    rows = UserSession.objects.purge_and_list(user)
    rows.sort(key=lambda row: row.created_at, reverse=True)
    return [
        SignedIn(
            row.pk,
            browser_of(row.user_agent),
            row.ip,
            row.created_at,
            row.session_key == current,
        )
        for row in rows
    ]


def browser_of(agent: str) -> str:
    """Return browser and system of a user agent, else its beginning."""
    browser = next((BROWSERS[one] for one in BROWSERS if one in agent), "")
    system = next((SYSTEMS[one] for one in SYSTEMS if one in agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or agent[:MAX_AGENT_LENGTH] or "Unknown browser"


def end_session(session_id: int, *, of: User) -> None:
    """End one session of a person. Raises SessionNotFound."""
    with transaction.atomic():
        row = UserSession.objects.filter(pk=session_id, user=of).first()
        if row is None:
            raise SessionNotFound
        row.end()
        reason = f"{of.get_username()}: {browser_of(row.user_agent)}, {row.ip}"
        audit_events.note("end session", by=of, reason=reason)
        notifications.permissions_changed_on_commit()  # closes its websockets


def sign_out_everywhere(user: User, *, by: User, keep: str | None = None) -> int:
    """End all sessions of a person but `keep`; return how many there were."""
    with transaction.atomic():
        now, keys = timezone.now(), []
        for session in Session.objects.filter(expire_date__gt=now).iterator():
            is_theirs = session.get_decoded().get(SESSION_KEY) == str(user.pk)
            if is_theirs and session.session_key != keep:
                keys.append(session.session_key)
        for key in keys:
            Session.objects.filter(session_key=key).delete()
        UserSession.objects.filter(user=user).exclude(session_key=keep or "").delete()
        audit_events.note("sign out everywhere", by=by, reason=user.get_username())
        notifications.permissions_changed_on_commit()  # closes their websockets
    return len(keys)
