"""Input of forms that were rejected for their session, kept until it is restored.

A form that is submitted after its session has ended, or from a page that was opened
before the last sign-in, has no effect. Its fields pass through the sign-in page in a
signed hidden field, then into the new session, and from there back into the form. Nothing
is stored on the server before sign-in. Secrets and files are never kept, and the input of
one account is never shown to another.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core import signing
from django.utils.http import url_has_allowed_host_and_scheme

from workflows.pages.post_only_views import page_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

MAX_CHARS: Final = 500_000  # of all fields together; longer input is not kept
SALT: Final = "kept-input"
IN_SESSION: Final = "unsaved_input"
ACCOUNT: Final = "account"  # cookie: who last signed in with this browser
ACCOUNT_SECONDS: Final = 365 * 24 * 3600
CSRF_FIELD: Final = "csrfmiddlewaretoken"
SECRET: Final = re.compile(
    r"(^|[-_.:])(password\d*|token|secret|api_?key)$", re.IGNORECASE
)


@dataclass(slots=True)
class UnsavedInput:
    """The fields of a submitted form, in order, and the page of the form."""

    page: str  # path and query
    action: str  # path of the form's target
    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)  # names of files to choose again
    is_too_long: bool = False  # then there are no fields
    account: int | None = None  # primary key of the user, if known

    @classmethod
    def of(cls, request: HttpRequest) -> UnsavedInput:
        """Return the input of a request; without fields if it is too long."""
        fields = [
            (name, value)
            for name, values in request.POST.lists()
            for value in values
            if name != CSRF_FIELD and not is_secret(name)
        ]
        size = sum(len(name) + len(value) for name, value in fields)
        sent = [one for _, files in request.FILES.lists() for one in files]
        return cls(
            page=page_sent_from(request),
            action=request.path,
            fields=fields if size <= MAX_CHARS else [],
            files=[one.name or "" for one in sent],
            is_too_long=size > MAX_CHARS,
            account=account_of(request),
        )

    @property
    def is_worth_saving(self) -> bool:
        """Return whether anything was entered or chosen."""
        typed = any(value.strip() for _, value in self.fields)
        return typed or bool(self.files) or self.is_too_long

    def signed(self) -> str:
        """Return the input as signed text for a hidden field; "" if it is too long."""
        if self.is_too_long:
            return ""
        return signing.dumps(asdict(self), salt=SALT, compress=True)


def is_secret(name: str) -> bool:
    """Return whether a field of this name holds a password, token or key."""
    return SECRET.search(name) is not None


def unsigned(text: str) -> UnsavedInput | None:
    """Return the input of a signed text, None for an invalid or expired one."""
    try:
        found = signing.loads(text, salt=SALT, max_age=settings.SESSION_COOKIE_AGE)
    except signing.BadSignature:
        return None
    return _read(found)


def store(request: HttpRequest, kept: UnsavedInput) -> None:
    """Store the input in the session of the signed-in user."""
    request.session[IN_SESSION] = asdict(kept)


def pop(request: HttpRequest) -> UnsavedInput | None:
    """Remove and return the input that is kept for the requested page."""
    found = request.session.get(IN_SESSION)
    if found is None or unquote(urlsplit(found["page"]).path) != request.path:
        return None
    del request.session[IN_SESSION]
    return _read(found)


def _read(found: Any) -> UnsavedInput:
    fields = [(name, value) for name, value in found["fields"]]
    return UnsavedInput(**{**found, "fields": fields})


# Page and account -----------------------------------------------------------------------


def page_sent_from(request: HttpRequest) -> str:
    """Return the page that a form was submitted from, as path and query."""
    named = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if named and url_has_allowed_host_and_scheme(named, {request.get_host()}):
        return page_of(path_of(named))
    return page_of(path_of(request.get_full_path()))


def path_of(address: str) -> str:
    """Return path and query of a URL, which never lead to another host."""
    parts = urlsplit(address)
    path = "/" + parts.path.lstrip("/\\")
    return f"{path}?{parts.query}" if parts.query else path


def account_cookie() -> str:
    """Return the cookie's name, with the `__Host-` prefix under HTTPS."""
    return f"__Host-{ACCOUNT}" if settings.SESSION_COOKIE_SECURE else ACCOUNT


def account_of(request: HttpRequest) -> int | None:
    """Return the user who last signed in with this browser, None if unknown."""
    text = request.get_signed_cookie(account_cookie(), default=None, salt=SALT)
    return int(text) if text else None


def remember_account(response: HttpResponseBase, account: int) -> None:
    """Set a cookie with the signed-in user, which outlives the session."""
    response.set_signed_cookie(
        account_cookie(),
        str(account),
        salt=SALT,
        max_age=ACCOUNT_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
