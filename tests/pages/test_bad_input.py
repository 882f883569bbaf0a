"""Invalid input at every entry point gives an error message, no 500 and no partial row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.urls import URLPattern, reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from project.asgi import application
from tests.support.bad_values import BAD, DEEP, LONG, NUMBERS, TEXTS, texts
from tests.support.hostile_rows import REGISTERED, World, make_world
from workflows.infra.database_threads import run_in_db
from workflows.models import AuditEvent, Document, Run
from workflows.pages.urls import urlpatterns

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
quick = settings(
    max_examples=settings().max_examples // 3,  # each is a request or more
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FORM = "application/x-www-form-urlencoded"
UNLIMITED = {"login": 0, "launch": 0, "upload": 0, "api": 0, "chat": 0}
QUERY = (
    *("at", "node", "edge", "level", "find", "after", "before", "workflow", "status"),
    *(
        "who",
        "label",
        "when",
        "from",
        "to",
        "zone",
        "where",
        "text",
        "column",
        "fields",
    ),
    *("a", "b", "again", "box", "run", "zoom", "dpi", "q", "person", "outcome", "page"),
    *("at_a", "at_b", "first", "second", "next", "o", "p", "e", "_changelist_filters"),
)
FIELDS = (
    *(
        "reason",
        "text",
        "name",
        "off",
        "question",
        "response-outcome",
        "response-label",
    ),
    *(
        "launch-once",
        "document",
        "document:file",
        "threshold",
        "prompt",
        "agent",
        "params",
    ),
    *("launch-profile", "launch-token", "do", "run", "query", "scope", "confirmed"),
    *("label", "shared", "model", "provider", "options", "capabilities", "base_url"),
    *("kind", "timeout_seconds", "tries", "secret", "weight", "stages", "username"),
    *("password", "next", "action", "_selected_action", "index", "select_across"),
)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    """Return a database with rows of each kind, without rate limits."""
    with override_settings(RATES=UNLIMITED):
        yield make_world("ordinary")


@pytest.fixture(params=[6, pytest.param(1, marks=pytest.mark.slow)], ids="of {}".format)
def spread(request: pytest.FixtureRequest) -> Spread:
    """Return the combinations of pages and values; the slow tests use all."""
    return Spread(request.param)


@dataclass(frozen=True)
class Spread:
    """Combines pages and values so that each page gets one of `every` values.

    Each value is sent to one of `every` pages, and each page gets values of all kinds.
    """

    every: int

    def has(self, page: int, value: int) -> bool:
        """Return whether a page gets a value; both are given by number."""
        return (page + value) % self.every == 0

    def over(self, pages: Sequence[str], value: int) -> list[str]:
        """Return the pages that get a value."""
        return [page for i, page in enumerate(pages) if self.has(i, value)]


class Sender:
    """Sends requests that a browser does not send, and records server errors."""

    def __init__(self, world: World) -> None:
        self.client, self.failed = Client(), dict[str, str]()
        self.client.force_login(world.user)

    def get(
        self, address: str, fields: dict[str, str] | None = None, **more: Any
    ) -> None:
        """Request a page with a query."""
        query = f"?{as_query(fields)}" if fields else ""
        self._record(f"GET {address}{query}", self.client.get, address + query, **more)

    def post(self, address: str, fields: dict[str, str], **more: Any) -> None:
        """Send a form."""
        body = as_query(fields)
        more = {"content_type": FORM, **more}
        self._record(f"POST {address} {body}", self.client.post, address, body, **more)

    def _record(
        self, what: str, send: Callable[..., Any], *given: Any, **more: Any
    ) -> None:
        try:
            status = send(*given, **more).status_code
        except Exception as error:
            self.failed[what[:300]] = f"{type(error).__name__}: {error!s:.200}"
        else:
            if status >= 500:
                self.failed[what[:300]] = str(status)


@pytest.fixture
def sender(world: World) -> Iterator[Sender]:
    """Provide the sender of a superuser; assert that no request caused an error."""
    known, browser = world.ids, Sender(world)
    yield browser
    assert "\n".join(f"{v}: {k}" for k, v in browser.failed.items()) == ""
    launched = AuditEvent.objects.filter(action="launch").values("run")
    new_runs = Run.objects.exclude(pk__in=known)
    assert not new_runs.exclude(pk__in=launched).exists(), "a run without audit event"


def addresses(world: World) -> dict[str, str]:
    """Return an address of every page, with ids of existing rows."""
    arguments = world.arguments(REGISTERED)
    return {
        one.name: reverse(
            one.name,
            kwargs={name: arguments[name] for name in one.pattern.converters},
        )
        for one in urlpatterns
        if isinstance(one, URLPattern) and one.name
    }


def as_query(fields: dict[str, str]) -> str:
    """Return a query string; lone surrogates are encoded as bytes."""
    return urlencode(fields, errors="surrogatepass")


# Addresses and queries --------------------------------------------------------------


def test_no_query_string_causes_a_server_error(world: World, sender: Sender) -> None:
    pages = addresses(world)

    @quick
    @given(
        st.sampled_from(sorted(pages)),
        st.dictionaries(st.sampled_from(QUERY), texts, min_size=1, max_size=12),
    )
    def probe(name: str, fields: dict[str, str]) -> None:
        sender.get(pages[name], fields)
        assert sender.failed == {}

    probe()


def test_no_filter_causes_a_server_error(
    world: World, sender: Sender, spread: Spread
) -> None:
    pages = addresses(world)
    for number, value in enumerate(BAD):
        short = value[:3_000]
        queries = (
            ("runs", dict.fromkeys(QUERY, short)),
            ("decisions", dict.fromkeys(QUERY, short)),
            ("documents", dict.fromkeys(QUERY, short)),
            ("run-log", dict.fromkeys(QUERY, short)),
            ("runs", {"where": short, "status": "failed"}),
            ("runs", {"fields": f"params.{short}", "from": short}),
            ("decisions", {"where": short, "edge": short}),
        )
        for index, (name, query) in enumerate(queries):
            if spread.has(index, number):
                sender.get(pages[name], query)


def test_no_address_causes_a_server_error(sender: Sender, spread: Spread) -> None:
    one = "01890000-0000-7000-8000-000000000000"
    encoded = ["%ED%A0%80", "%00", "%FF", "%2F", "%2e%2e", "%0A"]
    encoded += [quote(one[:999], safe="", errors="surrogatepass") for one in BAD]
    for number, fields in enumerate(encoded):
        places = (
            f"/workflows/{fields}/",
            f"/workflows/{fields}/profiles/",
            f"/runs/{fields}/",
            f"/runs/export.{fields}",
            f"/runs/{one}/states/{fields}.json",
            f"/documents/{one}/pages/{fields}.png",
            f"/agents/{fields}/",
            f"/admin/workflows/stage/{fields}/change/",
            f"/admin/{fields}/",
        )
        for address in spread.over(places, number):
            sender.get(address)


def test_no_number_in_an_address_causes_a_server_error(
    world: World, sender: Sender
) -> None:
    run, document = world.rich.pk, world.document.pk
    for number in (2**31, 2**63 - 1, 2**63, 2**64, 10**30):
        for address in (
            f"/runs/{run}/states/{number}/",
            f"/runs/{run}/states/{number}.json",
            f"/runs/{run}/?at={number}",
            f"/runs/{run}/steps/?after={number}",
            f"/runs/{run}/log/?after={number}",
            f"/documents/{document}/pages/{number}/",
            f"/documents/{document}/pages/{number}.png",
            f"/agents/{number}/",
            f"/agents/providers/{number}/",
            f"/workflows/summarize/profiles/{number}/",
            f"/decisions/?before={number}",
            f"/admin/workflows/stage/{number}/change/",
            f"/admin/workflows/stage/?p={number}",
            f"/admin/workflows/run/?p=-{number}",
        ):
            sender.get(address)
        for address in (f"/runs/views/{number}/", f"/runs/views/{number}/delete/"):
            sender.post(address, {"name": "a"})
        for address in (f"/agents/{number}/try/", f"/agents/{number}/delete/"):
            sender.post(address, {"prompt": "a"})


# Forms ------------------------------------------------------------------------------


def test_no_form_causes_a_server_error(world: World, sender: Sender) -> None:
    pages = addresses(world)

    @quick
    @given(
        st.sampled_from(sorted(pages)),
        st.dictionaries(st.sampled_from(FIELDS), texts, max_size=15),
        st.sampled_from([{}, {"HX-Request": "true"}]),
    )
    def send(name: str, fields: dict[str, str], headers: dict[str, str]) -> None:
        sender.post(pages[name], fields, headers=headers)
        assert sender.failed == {}

    send()


def test_no_field_value_causes_a_server_error(
    world: World, sender: Sender, spread: Spread
) -> None:
    pages = addresses(world)
    asked = reverse("run-respond", args=[world.asked.run_id])
    for number, value in enumerate(BAD):
        all_fields = dict.fromkeys(FIELDS, value)
        answer = {**all_fields, "question": str(world.asked.sequence)}
        forms = (
            *("run-note", "run-label", "agent-new", "profile-new"),
            "workflow",
            "answer",
        )
        for name in spread.over(forms, number):
            if name == "answer":
                sender.post(asked, answer)
            elif name == "workflow":
                sender.post("/workflows/reasoning/", all_fields)
            else:
                sender.post(pages[name], all_fields)
        if number % 6 == 0:
            all_of_them = {"do": "resume", "scope": "all", "query": f"where={value}"}
            sender.post(pages["runs-bulk"], all_fields | all_of_them)


BODIES = [
    ("application/json", b'{"a": 1}'),
    ("text/plain", b"reason=x"),
    ("", b"reason=x"),
    ("multipart/form-data", b"reason=x"),
    ("multipart/form-data; boundary=", b"--\r\n"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data"),
    (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data; name=file; filename=\x00\r\n\r\n!!!",
    ),
    ("multipart/form-data; charset=utf-16; boundary=x", b"--x--\r\n"),
    (f"{FORM}; charset=utf-16", b"reason=x"),
    (f"{FORM}; charset=nothing", b"reason=x"),
    (FORM, b"\xff=\xff&%ED%A0%80=%00&reason=%FF&&&==;"),
    (FORM, b"reason=" + b"a" * LONG),
    (FORM, b"a=1&" * 5_000),
]


def test_no_body_causes_a_server_error(world: World, sender: Sender) -> None:
    pages = addresses(world)
    for kind, body in BODIES:
        for name in ("run-note", "run-respond", "workflow", "documents", "runs-bulk"):
            sender._record(  # noqa: SLF001 - not a form
                f"{kind} {body[:40]!r} {name}",
                *(sender.client.generic, "POST", pages[name], body),
                content_type=kind,
            )
        sender._record(  # noqa: SLF001 - not a form
            f"{kind} {body[:40]!r}",
            *(sender.client.generic, "POST", "/accounts/login/", body),
            content_type=kind,
        )


# Uploads ----------------------------------------------------------------------------


def test_no_upload_causes_a_server_error(world: World, sender: Sender) -> None:
    before = Document.objects.count()
    for name in (*TEXTS[:11], "a" * 300 + ".pdf", "x.pdf\x00.exe", "CON", "a\nb.pdf"):
        for content in (b"", b"\x00", b"%PDF-1.7", b"%PDF-" + b"9" * 999):
            file = SimpleUploadedFile("a.pdf", content)
            file._name = name.encode(errors="replace").decode()  # type: ignore[attr-defined] # noqa: SLF001
            answer = sender.client.post(reverse("documents"), {"file": file})
            assert answer.status_code in {200, 400, 413, 422}, (name, content)
    assert Document.objects.count() == before


# The admin --------------------------------------------------------------------------


def test_no_form_of_the_admin_causes_a_server_error(
    world: World, sender: Sender, spread: Spread
) -> None:
    for number, value in enumerate(BAD[::2]):
        chosen = {"_selected_action": value[:3_000], "reason": value[:3_000]}
        for event in spread.over(("cancel_selected", value[:200]), number):
            more = {"action": event, "confirmed": "1", "index": value[:9]}
            sender.post("/admin/workflows/run/", chosen | more)
        names = (*FIELDS, "tokens", "cost", "scope", "per_million_in", "workflow_name")
        for address in spread.over(("budget", "price", "agent"), number):
            fields = dict.fromkeys(names, value)
            sender.post(f"/admin/workflows/{address}/add/", fields)
        if spread.has(1, number):
            required = ("username", "password1", "password2")
            sender.post("/admin/auth/user/add/", dict.fromkeys(required, value))
        for model in spread.over(("run", "decision", "document", "approval"), number):
            sender.get(f"/admin/workflows/{model}/", {"q": value[:3_000]})


# Sockets ----------------------------------------------------------------------------

FIRST_SECONDS = 10


async def open_websocket(
    person: User, path: str, query: bytes
) -> WebsocketCommunicator:
    """Return a websocket of a user with a raw query string."""
    session = await run_in_db(_session_of, person)
    headers = [
        (b"host", b"localhost"),
        (b"origin", b"http://localhost"),
        (b"cookie", f"sessionid={session}".encode()),
    ]
    socket = WebsocketCommunicator(application, path, headers)
    socket.scope["query_string"] = query
    return socket


def _session_of(person: User) -> str:
    session = SessionStore()
    session["_auth_user_id"] = str(person.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = person.get_session_auth_hash()
    session.save()
    return str(session.session_key)


QUERIES = [
    b"",
    b"\xff\xfe",
    b"%ED%A0%80=%ED%A0%80&at=%00",
    b"at=-1&node=%00&edge=%00.9999999999999999999999&level=NaN&find=%FF",
    b"where=params.%00+%3D+1&from=9999-12-31&before=%00",
    b"a=1&" * 2_000,
]
MESSAGES: list[str | bytes] = [
    " ",
    "see ",
    "see \x00",
    "see ?at=99999999999999999999&node=\x00&edge=.&level=-1",
    "see " + "a=1&" * 20_000,
    "stale",
    "shown",
    "nothing of ours",
    "[" * DEEP,
    '{"body": {"prompt": "\\ud800\\u0000"}}',
    '{"body": {"prompt": 1}}',
    '{"body": null}',
    '{"type": "websocket.disconnect"}',
    b"\xff\x00",
]


@pytest.mark.django_db(transaction=True)
async def test_no_message_breaks_a_websocket() -> None:
    with override_settings(RATES=UNLIMITED):
        world = await run_in_db(make_world, "ordinary")
        for path in (
            f"/ws/runs/{world.rich.pk}/",
            "/ws/lists/runs/",
            "/ws/lists/decisions/",
            "/ws/lists/workflow/",
            f"/ws/agents/{world.agent.pk}/try/",
        ):
            for query in QUERIES:
                await send_everything(world.user, path, query)


async def send_everything(person: User, path: str, query: bytes) -> None:
    """Open a websocket and send all messages; it must still respond."""
    socket = await open_websocket(person, path, query)
    connected, _ = await socket.connect(timeout=FIRST_SECONDS)
    assert connected, (path, query)
    for message in MESSAGES:
        if isinstance(message, bytes):
            await socket.send_to(bytes_data=message)
        else:
            await socket.send_to(text_data=message)
    if "agents" not in path:
        assert await socket.receive_from(timeout=FIRST_SECONDS), (path, query)
    await socket.disconnect(timeout=FIRST_SECONDS)


# Commands ---------------------------------------------------------------------------


def test_no_argument_causes_an_unhandled_error_of_a_command(
    world: World, capsys: Any
) -> None:
    before = Run.objects.count()
    for value in BAD[::3]:
        text = value[:5_000]
        for arguments in (
            ("run_workflow", f"-{text}"),
            ("run_workflow", "reasoning", f"--param={text}"),
            ("run_workflow", "reasoning", f"--param=nothing={text}", "--json"),
            ("run_workflow", REGISTERED, f"--param=document={text}"),
            ("run_workflow", REGISTERED, f"--param=document=@{text}"),
            ("run_workflow", "summarize", f"--profile={text}"),
            ("checkpoints", f"x{text}"),
        ):
            with pytest.raises((CommandError, SystemExit)):
                call_command(*arguments)
    capsys.readouterr()
    assert Run.objects.count() == before


# Headers ----------------------------------------------------------------------------

HEADERS = [
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer \x00"},
    {"Authorization": "Basic ÿ"},
    {"Accept": "\x00"},
    {"Cookie": "sessionid=\x00; csrftoken=\x00"},
    {"Cookie": "sessionid=" + "a" * 5_000},
    {"X-CSRFToken": "\x00"},
    {"HX-Request": "true", "HX-Current-URL": "\x00", "HX-Target": "\ud7ff"},
    {"Range": "bytes=-"},
    {"Range": "bytes=9999999999999999999999-0"},
    {"If-None-Match": '"\x00'},
    {"If-Modified-Since": "yesterday"},
    {"Accept-Language": "a" * 5_000},
    {"Referer": "http://[", "Origin": "http://["},
    {"Host": "["},
    {"Host": "localhost:99999999"},
]


def test_no_request_header_causes_a_server_error(world: World, sender: Sender) -> None:
    pages = addresses(world)
    for headers in HEADERS:
        for address in (
            "/metrics",
            "/health/live",
            "/static/css/app.css",
            "/nothing",
            pages["home"],
            pages["run"],
            pages["document-file"],
        ):
            sender.get(address, headers=headers)
        sender.post(pages["run-note"], {"text": ""}, headers=headers)


def test_an_invalid_range_of_a_file_causes_no_server_error(
    world: World, sender: Sender
) -> None:
    address = addresses(world)["document-file"]
    for number in NUMBERS:
        for span in (f"bytes={number}-", f"bytes=-{number}", f"bytes=0-{number}"):
            answer = sender.client.get(address, headers={"Range": span})
            assert answer.status_code in {200, 206, 416}, span
