"""Pages of providers and agents: configuration, trials, and keys that are never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, cast

import pytest
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from tests.support.agent_rows import KEY, make_agent, make_provider
from tests.support.openai_server import Answer, Gate, ModelServer, failing
from workflows.infra.database_threads import run_in_db
from workflows.models import Agent, AgentCall, AuditEvent, Price, Provider
from workflows.pages.live import agent_consumer
from workflows.pages.live.websocket_urls import websocket_urlpatterns

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
PROVIDER = {
    "name": "Ours",
    "kind": "openai",
    "base_url": "https://models.example.org/v1/chat/completions/",
    "secret": KEY,
    "timeout_seconds": "60",
    "tries": "3",
    "is_enabled": "on",
}


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return a client of an administrator."""
    return sign_in(admin)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def text_of(page: Client, path: str, status: int = 200) -> str:
    answer = page.get(path)
    assert answer.status_code == status
    return answer.content.decode()


# Configuration -----------------------------------------------------------------------


def test_without_a_provider_the_page_explains_the_consequence(
    page: Client, alice: User, sign_in: SignIn
) -> None:
    assert "No providers yet." in text_of(page, "/agents/")
    assert 'href="/agents/connect/"' in text_of(page, "/agents/")
    member_text = text_of(sign_in(alice), "/agents/")
    assert "Ask an administrator to add one." in member_text
    assert "/agents/connect/" not in member_text


def test_the_form_of_a_provider_states_the_minimums_that_it_accepts(
    page: Client,
) -> None:
    text = text_of(page, "/agents/providers/new/")
    assert "Minimum 1." in text
    assert "Minimum 0.1." in text
    assert "Minimum 0." not in text.replace("Minimum 0.1.", "")
    answer = page.post("/agents/providers/new/", {**PROVIDER, "tries": "0"})
    assert answer.status_code == 422
    assert not Provider.objects.exists()


def test_a_provider_is_stored_with_its_key_encrypted(page: Client, admin: User) -> None:
    answer = page.post("/agents/providers/new/", PROVIDER, follow=True)
    assert "“Ours” saved." in answer.content.decode()
    provider = Provider.objects.get()
    assert provider.open_key() == KEY
    assert provider.base_url == "https://models.example.org/v1"
    text = AuditEvent.objects.get()
    assert (text.actor, text.action, text.reason) == (admin, "save provider", "Ours")


def test_a_stored_key_is_retained_replaced_or_deleted_and_never_shown(
    page: Client,
) -> None:
    page.post("/agents/providers/new/", PROVIDER)
    path = f"/agents/providers/{Provider.objects.get().pk}/"
    assert KEY not in text_of(page, path)
    assert "A key is stored" in text_of(page, path)
    page.post(path, {**PROVIDER, "secret": ""})
    assert Provider.objects.get().open_key() == KEY
    page.post(path, {**PROVIDER, "secret": "another"})
    assert Provider.objects.get().open_key() == "another"
    both = page.post(path, {**PROVIDER, "secret": "x", "forget": "on"})
    assert both.status_code == 422
    assert 'value="x"' not in both.content.decode()
    page.post(path, {**PROVIDER, "secret": "", "forget": "on"})
    assert not Provider.objects.get().has_key


@pytest.mark.parametrize(
    ("changes", "expected_text"),
    [
        ({"name": ""}, "This field is required"),
        ({"base_url": "not an address"}, "Enter a full URL"),
        (
            {"base_url": "https://me:pw@x.org/v1"},
            "put credentials or a query into the URL",
        ),
        ({"kind": "carrier pigeon"}, "Select a valid choice"),
        ({"tries": "0"}, "greater than or equal to 1"),
    ],
)
def test_an_invalid_provider_is_refused_at_its_field(
    page: Client, changes: dict[str, str], expected_text: str
) -> None:
    answer = page.post("/agents/providers/new/", {**PROVIDER, **changes})
    assert answer.status_code == 422
    assert expected_text in answer.content.decode()
    assert not Provider.objects.exists()


def agent_fields(provider: Provider, **changes: object) -> dict[str, object]:
    return {
        "name": "writer",
        "provider": provider.pk,
        "model": "tiny",
        "capabilities": ["chat", "vision"],
        "options": '{"temperature": 0.2}',
        "is_enabled": "on",
        **changes,
    }


def test_an_agent_is_stored_and_only_one_is_the_default(
    page: Client, server: ModelServer
) -> None:
    provider = make_provider(server)
    make_agent(server, "other", is_default=True)
    answer = page.post("/agents/new/", agent_fields(provider, is_default="on"))
    agent = Agent.objects.get(name="writer")
    assert answer["Location"] == f"/agents/{agent.pk}/"
    assert agent.options == {"temperature": 0.2}
    assert agent.capabilities == ["chat", "vision"]
    assert list(Agent.objects.filter(is_default=True)) == [agent]
    listed = text_of(page, "/agents/")
    assert "chat, vision" in listed
    assert "default" in listed


@pytest.mark.parametrize(
    ("changes", "expected_text"),
    [
        ({"name": "other"}, "This name is already in use."),
        ({"capabilities": []}, "This field is required"),
        ({"options": "{broken"}, "Enter valid JSON"),
        ({"options": "[1]"}, "Enter a JSON object"),
        ({"options": '{"model": "x"}'}, "“model” is no option"),
    ],
)
def test_an_invalid_agent_is_refused_at_its_field(
    page: Client, server: ModelServer, changes: dict[str, object], expected_text: str
) -> None:
    provider = make_provider(server)
    make_agent(server, "other")
    answer = page.post("/agents/new/", agent_fields(provider, **changes))
    assert answer.status_code == 422
    assert expected_text in answer.content.decode()


def test_a_provider_cannot_be_deleted_while_agents_use_it(
    page: Client, server: ModelServer
) -> None:
    agent = make_agent(server)
    path = f"/agents/providers/{agent.provider_id}/delete/"
    answer = page.post(path)
    assert answer.status_code == 409
    assert "is used by writer" in answer.content.decode()
    page.post(f"/agents/{agent.pk}/delete/")
    assert page.post(path).status_code == 302
    assert not Provider.objects.exists()


def test_configuration_requires_the_permission_to_change_agents(
    alice: User, sign_in: SignIn, server: ModelServer
) -> None:
    agent, page = make_agent(server), sign_in(alice)
    for path in ("new/", "providers/new/", f"{agent.pk}/"):
        assert page.get(f"/agents/{path}").status_code == 403
    for path in (f"{agent.pk}/try/", f"{agent.pk}/delete/"):
        assert page.post(f"/agents/{path}", {"prompt": "x"}).status_code == 403
    assert server.requests == []
    assert Client().get("/agents/").status_code == 302


# Administration ----------------------------------------------------------------------


def test_admin_edits_providers_and_agents_and_shows_no_key(
    page: Client, server: ModelServer
) -> None:
    agent = make_agent(server)
    Price.objects.create(model="tiny", per_million_in=1, per_million_out=2)
    values = [
        text_of(page, f"/admin/workflows/{path}")
        for path in (
            "provider/",
            "provider/add/",
            f"provider/{agent.provider_id}/change/",
            "agent/",
            f"agent/{agent.pk}/change/",
            "price/",
            "agentcall/",
            "profile/",
            "budget/add/",
            "budgetraise/",
        )
    ]
    assert KEY not in "".join(values)
    path = f"/admin/workflows/provider/{agent.provider_id}/change/"
    page.post(path, {**PROVIDER, "secret": "from-admin"})
    assert Provider.objects.get().open_key() == "from-admin"


# Trials ------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_agent_can_be_tried_without_scripts(
    page: Client, admin: User, server: ModelServer
) -> None:
    agent = make_agent(server)
    Price.objects.create(model="tiny", per_million_in=1_000, per_million_out=2_000)
    server.script(Answer("Good <b>day</b>."))
    answer = page.post(f"/agents/{agent.pk}/try/", {"prompt": "Hello?"})
    shown = " ".join(answer.content.decode().split())
    assert "Good &lt;b&gt;day&lt;/b&gt;." in shown
    assert "7 input tokens, 5 output tokens, 0.0170 USD" in shown
    call = AgentCall.objects.get()
    assert (call.run, call.person, call.status) == (None, admin, "completed")


@pytest.mark.django_db(transaction=True)
def test_a_failed_trial_shows_the_reason(page: Client, server: ModelServer) -> None:
    agent = make_agent(server)
    server.script(failing(401, f"Who is {KEY}?"))
    shown = page.post(f"/agents/{agent.pk}/try/", {"prompt": "Hello?"}).content.decode()
    assert "did not accept the key" in shown
    assert KEY not in shown
    empty = page.post(f"/agents/{agent.pk}/try/", {"prompt": ""})
    assert empty.status_code == 422


async def socket_of(user: User, path: str) -> WebsocketCommunicator:
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), path)
    scope = cast("dict[str, Any]", socket.scope)
    scope |= {"user": user}
    assert (await socket.connect(10))[0]
    return socket


@pytest.mark.django_db(transaction=True)
async def test_with_scripts_the_response_is_streamed_to_the_page(
    admin: User, server: ModelServer
) -> None:
    agent = await run_in_db(make_agent, server)
    gate = Gate()
    server.script(Answer(pieces=["Good ", "day."], gate=gate))
    socket = await socket_of(admin, f"/ws/agents/{agent.pk}/try/")
    await socket.send_to(text_data="shown")  # acknowledges a rendering
    await socket.send_json_to({"headers": {}, "body": {"prompt": "Hello?"}})
    assert "Responding…" in await socket.receive_from(10)
    gate.let(2)
    last = ""
    while "input tokens" not in last:
        last = str(await socket.receive_from(10))
    assert "Good day." in last
    assert 'hx-swap-oob="outerMorph"' in last
    await socket.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_leaving_the_page_cancels_the_call(
    admin: User, server: ModelServer
) -> None:
    agent = await run_in_db(make_agent, server)
    gate = Gate()
    server.script(Answer(pieces=["Good ", "day."], gate=gate))
    socket = await socket_of(admin, f"/ws/agents/{agent.pk}/try/")
    await socket.send_json_to({"headers": {}, "body": {"prompt": "Hello?"}})
    gate.let(1)
    await socket.receive_from(10)
    await asyncio.to_thread(server.wait_requests, 1)
    await socket.disconnect()
    await asyncio.to_thread(server.wait_closed, 5.0)


@pytest.mark.django_db(transaction=True)
async def test_a_stream_ends_when_the_access_of_the_user_is_revoked(
    admin: User, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_consumer, "RECHECK_SECONDS", 0)
    agent = await run_in_db(make_agent, server)
    gate = Gate()
    server.script(Answer(pieces=["Good ", "day."], gate=gate))
    socket = await socket_of(admin, f"/ws/agents/{agent.pk}/try/")
    await socket.send_json_to({"headers": {}, "body": {"prompt": "Hello?"}})
    assert "Responding…" in await socket.receive_from(10)
    await run_in_db(User.objects.filter(pk=admin.pk).update, is_active=False)
    gate.let(2)
    closed = await socket.receive_output(10)
    assert closed == {"type": "websocket.close", "code": 4403}


@pytest.mark.django_db(transaction=True)
async def test_users_without_permission_are_refused_at_the_socket(
    alice: User, server: ModelServer
) -> None:
    agent = await run_in_db(make_agent, server)
    socket = await socket_of(alice, f"/ws/agents/{agent.pk}/try/")
    assert (await socket.receive_output(10))["code"] == 4403
    await socket.send_json_to({"body": {"prompt": "Hello?"}})
    assert server.requests == []


def test_keys_remain_readable_after_a_change_of_the_secret_key(
    server: ModelServer, settings: Any
) -> None:
    provider = make_provider(server)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another" * 10
    settings.SECRET_KEY_FALLBACKS = [old]
    assert provider.open_key() == KEY
    call_command("prepare", stdout=StringIO())
    settings.SECRET_KEY_FALLBACKS = []
    provider.refresh_from_db()
    assert provider.open_key() == KEY
