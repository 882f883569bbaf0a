"""Security headers of every response, and attacks by forms, files and sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import pytest
from channels.testing import WebsocketCommunicator
from django.apps import apps
from django.contrib import admin as site
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from project.asgi import application
from project.security import HEADER, POLICY
from project.websocket_origins import is_ours
from tests.support.factories import make_document, make_run

SignIn = Callable[[User], Client]
ONE = UUID(int=1)
ARGUMENTS: dict[str, Any] = {
    "uuid": ONE,
    "uuidstr": ONE,  # of the API
    "int": 1,
    "str": "csv",
    "slug": "runs",
    "path": "1",
}
OPEN = {
    "/favicon.ico",
    "/health/live",
    "/health/pages",
    "/health/ready",
    "/metrics",
    "/hooks/csv",  # of other systems, which sign what they send
    "/callbacks/csv",  # of third parties, to whom a run gave the address
    "/accounts/saml/csv/acs/",  # of an identity provider, which signs what it sends
}


# Every address ----------------------------------------------------------------------


def addresses() -> Iterator[str]:
    """Yield an address for every URL there is, admin's included."""
    yield from _addresses(get_resolver().url_patterns, "/")


def _addresses(patterns: list[Any], before: str) -> Iterator[str]:
    for one in patterns:
        route = before + _filled(one.pattern)
        if isinstance(one, URLResolver):
            yield from _addresses(one.url_patterns, route)
        elif isinstance(one, URLPattern) and "$" not in route and "^" not in route:
            yield route


def _filled(pattern: Any) -> str:
    text = str(pattern)
    text = text.replace("<id>", "1")  # as admin writes a text
    for name, converter in pattern.converters.items():
        kind = type(converter).__name__.removesuffix("Converter").lower()
        kind = {"string": "str"}.get(kind, kind)
        text = text.replace(f"<{kind}:{name}>", str(ARGUMENTS[kind]))
        text = text.replace(f"<{name}>", str(ARGUMENTS[kind]))
    return text


ADDRESSES = sorted(set(addresses()))


def test_every_address_is_known() -> None:
    assert len(ADDRESSES) > 80
    assert not [one for one in ADDRESSES if "<" in one]


def test_a_post_without_the_token_of_a_page_changes_nothing(admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    accepted = {}
    for address in set(ADDRESSES) - OPEN:
        # the API refuses the method first where an address has no POST
        refusals = {403, 405} if address.startswith("/api/") else {403}
        for headers in ({}, {"HX-Request": "true"}, {"X-CSRFToken": "x" * 64}):
            answer = client.post(address, {"confirmed": "1"}, headers=headers)
            if answer.status_code not in refusals:
                accepted[address] = answer.status_code, headers
    assert accepted == {}


def test_an_open_page_shows_the_token_it_has(admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin)
    run = make_run()
    page = client.get(reverse("run", args=[run.pk])).content.decode()
    token = page.split('"X-CSRFToken": "')[1].split('"')[0]
    address = reverse("run-note", args=[run.pk])
    live = {"HX-Request": "true", "X-CSRFToken": token}
    assert client.post(address, {"text": "Seen."}, headers=live).status_code == 200
    assert run.notes.get().text == "Seen."


def test_a_form_of_another_site_is_refused_with_its_token_too(admin: User) -> None:
    client = Client(enforce_csrf_checks=True)
    page = client.get("/accounts/login/").content.decode()
    token = page.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    form = {"username": "admin", "password": "?", "csrfmiddlewaretoken": token}
    evil = {"Origin": "https://evil.example"}
    assert client.post("/accounts/login/", form, headers=evil).status_code == 403
    assert client.post("/accounts/login/", form).status_code == 200


# Headers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address", ["/", "/nothing", "/admin/", "/admin/workflows/run/", "/health/live"]
)
def test_every_response_has_the_security_policy(
    admin: User, sign_in: SignIn, address: str
) -> None:
    answer = sign_in(admin).get(address)
    assert answer[HEADER] == POLICY
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer["Permissions-Policy"]


def test_the_policy_has_no_exception() -> None:
    assert "unsafe" not in POLICY
    assert "*" not in POLICY
    assert "http" not in POLICY


class Inline(HTMLParser):
    """What of a page a strict policy would not run or apply."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        kind = dict(attrs).get("type")
        is_data = kind == "application/json"  # which is not run
        is_inline = tag == "style" or (tag == "script" and "src" not in names)
        if is_inline and not is_data:
            self.found.append(tag)
        wrong = {name for name in names if name.startswith("on") or name == "style"}
        self.found.extend(f"{tag} {name}" for name in sorted(wrong))


def inline(page: str) -> list[str]:
    """Return what is inline on a page."""
    parser = Inline()
    parser.feed(page)
    return parser.found


def admin_pages() -> list[str]:
    """Return the list of every model of the admin, and the forms it has."""
    found = ["/admin/", "/admin/password_change/"]
    for model in apps.get_models():
        if not site.site.is_registered(model):
            continue
        label, _, model_name = model._meta.label_lower.partition(".")  # noqa: SLF001
        name = f"admin:{label}_{model_name}"
        found += [reverse(f"{name}_changelist"), reverse(f"{name}_add")]
    return found


def test_no_page_of_the_admin_needs_an_exception(admin: User, sign_in: SignIn) -> None:
    client = sign_in(admin)
    run = make_run()
    pages = [
        *admin_pages(),
        reverse("admin:workflows_run_change", args=[run.pk]),
        reverse("admin:auth_user_change", args=[admin.pk]),
    ]
    found = {}
    for page in pages:
        answer = client.get(page)
        assert answer.status_code in {200, 403}, page
        found[page] = inline(answer.content.decode())
    assert {page: what for page, what in found.items() if what} == {}


# Files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("a.svg", "image/svg+xml", b"<svg onload='alert(1)'/>"),
        ("a.html", "text/html", b"<script>alert(1)</script>"),
        ("a.pdf", "application/pdf", b"%PDF-1.7 <script>alert(1)</script>"),
        ("a.xhtml", "application/xhtml+xml", b"<html/>"),
    ],
)
def test_no_file_is_shown_by_the_browser_itself(
    alice: User, sign_in: SignIn, name: str, kind: str, content: bytes
) -> None:
    document = make_document(name, content, content_type=kind)
    answer = sign_in(alice).get(reverse("document-file", args=[document.pk]))
    assert answer["Content-Disposition"].startswith("attachment;")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Type"] in {"application/pdf", "application/octet-stream"}
    assert answer[HEADER] == POLICY


def test_no_stored_file_uses_its_uploaded_name(alice: User, sign_in: SignIn) -> None:
    document = make_document()
    for prefix in ("/media/", "/static/", "/"):
        answer = sign_in(alice).get(f"{prefix}{document.file.name}")
        assert answer.status_code == 404


# Sockets ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("http://LOCALHOST:8000", "localhost:8000", True),
        ("http://localhost", "localhost:80", True),
        ("https://localhost", "localhost", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://localhost:3000", "localhost:8000", False),
        ("http://127.0.0.1:8000", "localhost:8000", False),
        ("http://evil.example", "localhost:8000", False),
        ("http://evil.example", "evil.example", False),
        ("http://localhost:8000.evil.example", "localhost:8000", False),
        ("http://localhost:8000@evil.example", "localhost:8000", False),
        ("http://localhost:99999", "localhost:8000", False),
        ("http://[localhost", "localhost:8000", False),
        ("file://", "localhost:8000", False),
        ("null", "localhost:8000", False),
        ("", "localhost:8000", False),
        ("http://localhost:8000", "", False),
        ("https://runs.example.org", "localhost:8000", True),
        ("http://runs.example.org", "localhost:8000", False),
        ("https://a.example.net", "localhost:8000", True),
        ("https://a.example.net.evil.example", "localhost:8000", False),
    ],
)
def test_only_pages_of_the_same_origin_can_open_sockets(
    origin: str, host: str, ours: bool
) -> None:
    trusted = ["https://runs.example.org", "https://*.example.net"]
    with override_settings(
        CSRF_TRUSTED_ORIGINS=trusted, ALLOWED_HOSTS=["localhost", "127.0.0.1", "[::1]"]
    ):
        assert is_ours(origin, host) is ours


def test_with_https_no_plain_page_opens_one() -> None:
    with override_settings(HTTPS=True, ALLOWED_HOSTS=["localhost"]):
        assert not is_ours("http://localhost", "localhost")
        assert is_ours("https://localhost", "localhost")


@pytest.mark.parametrize("origin", [b"http://evil.example", b"\xff", None])
async def test_a_socket_of_another_site_is_refused(origin: bytes | None) -> None:
    headers = [(b"host", b"localhost")]
    if origin is not None:
        headers.append((b"origin", origin))
    socket = WebsocketCommunicator(application, f"/ws/runs/{ONE}/", headers)
    connected, code = await socket.connect()
    assert (connected, code) == (False, 4403)
