"""View as: an administrator sees pages as another member would see them, read-only.

The session stays that of the administrator and names the member. While it does:

1. `request.user` of pages is the member, marked so that no action is recorded for it.
2. Every request that could change something is refused, and so is every change of a row.
3. Admin, API, account pages and websockets, which serve a person, are refused.

It ends on request, at sign-out, after VIEW_AS_SECONDS, and when the administrator could no
longer start it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.db import connection, transaction
from django.urls import reverse

from workflows.access import permissions
from workflows.access.account_errors import MemberNotFound
from workflows.access.escalation import Power
from workflows.audit import audit_events
from workflows.audit.audit_events import READ_ONLY, VIEWED_ATTRIBUTE
from workflows.errors import NotAllowed
from workflows.pages.request_errors import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.sessions.backends.base import SessionBase
    from django.http import HttpRequest, HttpResponseBase

KEY: Final = "view_as"  # of the session: [id of the member, time of the start]
VIEW_AS_SECONDS: Final = 3_600
SAFE: Final = ("GET", "HEAD", "OPTIONS")
PERSONAL: Final = ("/admin/", "/accounts/", "/api/")
WRITES: Final = ("INSERT", "UPDATE", "DELETE", "REPLACE")
NOT_SHOWN: Final = "This page is not shown while you view pages as another member."


@dataclass(frozen=True, slots=True)
class ViewAs:
    """Who views pages as whom."""

    actor: User
    member: User


def may_view_as(actor: User, member: User) -> bool:
    """Return whether an administrator may view pages as a member.

    As for setting a password: nobody sees more this way than they can see themselves.
    """
    return (
        permissions.can_manage_members(actor)
        and member.is_active
        and member.pk != actor.pk
        and Power.of(actor).covers(Power.of(member))
    )


def start(request: HttpRequest, member_id: int, *, by: User) -> User:
    """View pages as a member from the next request on. Raises MemberNotFound, NotAllowed."""
    permissions.require(permissions.can_manage_members(by), "view pages as a member")
    member = User.objects.filter(pk=member_id).first()
    if member is None:
        raise MemberNotFound
    if not may_view_as(by, member):
        raise NotAllowed(
            f"You can’t view pages as {member.get_username()}: that is your own or an"
            " inactive account, or one that can do or see more than yours."
        )
    with transaction.atomic():
        audit_events.note("start view as", by=by, reason=member.get_username())
    request.session[KEY] = [member.pk, time.time()]
    return member


def end(request: HttpRequest, *, by: User) -> User | None:
    """Show a person's own pages again; return the member, None if there is none."""
    member = _member_of(request.session)
    if request.session.pop(KEY, None) is None:
        return None
    name = member.get_username() if member else "deleted account"
    audit_events.note("end view as", by=by, reason=name)
    return member


def _member_of(session: SessionBase) -> User | None:
    """Return the member that a session names, None without one or after its time."""
    named = session.get(KEY)
    if named is None:
        return None
    return User.objects.filter(pk=named[0]).first()


def _is_over(session: SessionBase) -> bool:
    return bool(time.time() - session[KEY][1] > VIEW_AS_SECONDS)


def show_as_member(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return the middleware that shows pages as the member that the session names."""
    own_pages = {reverse("view-as-end"), reverse("logout")}

    def respond(request: HttpRequest) -> HttpResponseBase:
        if request.session.get(KEY) is None or request.path in own_pages:
            return get_response(request)
        actor: Any = request.user
        member = _member_of(request.session)
        is_allowed = member is not None and may_view_as(actor, member)
        if member is None or not is_allowed or _is_over(request.session):
            if actor.is_authenticated:
                end(request, by=actor)
            return get_response(request)
        return _shown(request, ViewAs(actor, member), get_response)

    return respond


def _shown(
    request: HttpRequest,
    viewing: ViewAs,
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> HttpResponseBase:
    if request.path.startswith("/api/") and "Authorization" in request.headers:
        return get_response(request)  # of a program: its token says as whom
    setattr(viewing.member, VIEWED_ATTRIBUTE, viewing.actor.pk)
    request.user = viewing.member
    request.view_as = viewing  # type: ignore[attr-defined] # for templates
    if request.method not in SAFE:
        return refused(request, NotAllowed(READ_ONLY))  # type: ignore[arg-type] # htmx's
    if request.path.startswith(PERSONAL):
        return refused(request, NotAllowed(NOT_SHOWN))  # type: ignore[arg-type] # htmx's
    with changing_nothing():
        return get_response(request)


@contextmanager
def changing_nothing() -> Iterator[None]:
    """Refuse statements of this thread that change rows. Raises NotAllowed from them."""

    def execute(call: Any, sql: Any, *rest: Any) -> Any:
        if str(sql).lstrip().upper().startswith(WRITES):
            raise NotAllowed(READ_ONLY)
        return call(sql, *rest)

    with connection.execute_wrapper(execute):
        yield


def _sign_out(request: HttpRequest | None, user: User | None, **_: object) -> None:
    if request is not None and user is not None and KEY in request.session:
        end(request, by=user)


user_logged_out.connect(_sign_out, dispatch_uid="end view as")


def without_sockets(application: Any) -> Any:
    """Wrap an ASGI application, below authentication, to refuse websockets meanwhile.

    A websocket would deliver the pages of the administrator.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if KEY in scope["session"]:
            await receive()
            await send({"type": "websocket.close"})
            return
        await application(scope, receive, send)

    return serve
