"""API keys stay with the address they were entered for; addresses pass the guard."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client

from tests.support.agent_rows import KEY, agent_setup, make_agent, make_provider
from tests.support.openai_server import Answer, ModelServer
from workflows.agents.keys import INVALID_KEY
from workflows.agents.lookup import find_service
from workflows.agents.run_keys import RunKey
from workflows.infra import encryption
from workflows.infra.database_threads import run_in_db
from workflows.models import AuditEvent, Provider
from workflows.runtime import AuthenticationFailed, Invalid, Unavailable

pytestmark = pytest.mark.django_db(transaction=True)

SignIn = Callable[[User], Client]
PAGES = ("/agents/providers/{}/", "/admin/workflows/provider/{}/change/")
FORM = {
    "name": "Ours",
    "kind": "openai",
    "base_url": "https://models.example.org/v1",
    "timeout_seconds": "60",
    "tries": "3",
    "is_enabled": "on",
}


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    return sign_in(admin)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def provider() -> Provider:
    row = Provider(name="Ours", base_url=FORM["base_url"], timeout_seconds=60, tries=3)
    row.store_key(KEY)
    row.save()
    return row


def stored(provider: Provider) -> Provider:
    return Provider.objects.get(pk=provider.pk)


# Providers ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example.org/v1",
        "http://models.example.org/v1",
        "https://models.example.org:8443/v1",
    ],
)
def test_a_changed_origin_deletes_the_stored_key_and_reports_it(
    page: Client, provider: Provider, path: str, address: str
) -> None:
    form = {**FORM, "base_url": address}
    answer = page.post(path.format(provider.pk), form, follow=True)
    assert "The stored API key was deleted" in answer.content.decode()
    assert (stored(provider).base_url, stored(provider).has_key) == (address, False)
    event = AuditEvent.objects.get()
    assert (event.before or {})["key"] == "kept"
    assert (event.after or {})["base_url"] == address
    assert (event.after or {})["key"] == "none"


@pytest.mark.parametrize("path", PAGES)
def test_a_key_entered_with_the_new_address_belongs_to_it(
    page: Client, provider: Provider, path: str
) -> None:
    form = {**FORM, "base_url": "https://other.example.org/v1", "secret": "new"}
    answer = page.post(path.format(provider.pk), form, follow=True)
    assert "was deleted" not in answer.content.decode()
    assert stored(provider).open_key() == "new"


def test_a_changed_path_of_the_same_origin_retains_the_key(
    page: Client, provider: Provider
) -> None:
    form = {**FORM, "base_url": "https://MODELS.example.org:443/v2"}
    answer = page.post(PAGES[0].format(provider.pk), form, follow=True)
    assert "was deleted" not in answer.content.decode()
    assert stored(provider).open_key() == KEY


def test_a_program_that_saves_another_address_drops_the_key(provider: Provider) -> None:
    provider.base_url = "https://evil.example.org/v1"
    provider.save(update_fields=["base_url"])
    assert not stored(provider).has_key


async def test_a_changed_url_in_the_row_alone_sends_no_key(server: ModelServer) -> None:
    await run_in_db(make_agent, server)
    with ModelServer() as evil:
        await run_in_db(Provider.objects.update, base_url=evil.url)
        with pytest.raises(Unavailable, match=r"entered for another address.*again"):
            await agent_setup().agents.chat("writer", "Hello?")
        assert evil.connections == 0


async def test_redirects_are_not_followed(server: ModelServer) -> None:
    provider = await run_in_db(make_provider, server, timeout_seconds=60)
    await run_in_db(make_agent, server, provider=provider)
    with ModelServer() as other:
        to = {"Location": f"{other.url}/chat/completions"}
        server.script(Answer(status=307, headers=to))
        task = agent_setup()
        with pytest.raises(Invalid, match=r"redirects to another address \(307\)"):
            await task.agents.chat("writer", "Hello?")
        await task.clients.close()
        assert other.connections == 0


def test_the_migration_binds_keys_to_their_present_address(provider: Provider) -> None:
    migration = importlib.import_module("workflows.migrations.0019_key_origins")
    old, unknown = encryption.encrypt({"key": "old"}), b"of another SECRET_KEY"
    Provider.objects.update(key=old)
    Provider.objects.create(name="Lost", base_url="https://x.example.org")
    Provider.objects.filter(name="Lost").update(key=unknown)
    migration.bind_keys(apps, None)
    assert stored(provider).open_key() == "old"
    assert bytes(Provider.objects.get(name="Lost").key or b"") == unknown


# The key of one run ---------------------------------------------------------------------


async def test_the_key_of_a_run_is_not_sent_to_an_address_entered_later(
    server: ModelServer,
) -> None:
    await run_in_db(make_agent, server, key="")
    key = RunKey.decrypted((await run_in_db(RunKey.entered, "at-launch")).encrypted())
    task = agent_setup()
    agents = type(task.agents)(task.ledger, key, lambda: task.clients)
    await agents.chat("writer", "Hello?")
    assert server.requests[0].headers["authorization"] == "Bearer at-launch"
    with ModelServer() as evil:
        await run_in_db(Provider.objects.update, base_url=evil.url)
        with pytest.raises(Unavailable, match=r"“Local”.*The key was not sent"):
            await agents.chat("writer", "Hello?")
        assert evil.connections == 0
    await task.clients.close()


# Text of keys ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["schlüssel", "sk-“quoted”", "two words", "line\nbreak"]
)
def test_a_key_that_no_header_can_carry_is_refused_at_its_field(
    page: Client, key: str
) -> None:
    answer = page.post("/agents/providers/new/", {**FORM, "secret": key})
    assert answer.status_code == 422
    assert INVALID_KEY in answer.content.decode()
    assert not Provider.objects.exists()


async def test_a_non_ascii_key_from_code_is_refused_before_the_request(
    server: ModelServer,
) -> None:
    await run_in_db(make_agent, server)
    with pytest.raises(AuthenticationFailed, match="only ASCII"):
        await agent_setup("schlüssel").agents.chat("writer", "Hello?")
    assert server.connections == 0


# Addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.1:11434/v1", "http://localhost/v1", "http://2130706433/v1"),
        *(
            "http://169.254.169.254/latest",
            "http://[fd00:ec2::254]/v1",
            "http://10.1/v1",
        ),
    ],
)
def test_an_internal_address_needs_the_setting(
    page: Client, settings: Any, address: str
) -> None:
    form = {**FORM, "base_url": address}
    settings.ALLOW_PRIVATE_PROVIDERS = False
    answer = page.post("/agents/providers/new/", form)
    assert answer.status_code == 422
    assert "set ALLOW_PRIVATE_PROVIDERS on the server" in answer.content.decode()
    settings.ALLOW_PRIVATE_PROVIDERS = True
    assert page.post("/agents/providers/new/", form).status_code == 302


def test_a_provider_at_an_internal_address_can_be_disabled(
    page: Client, settings: Any, server: ModelServer
) -> None:
    found = make_provider(server)
    settings.ALLOW_PRIVATE_PROVIDERS = False
    form = {**FORM, "base_url": server.url, "is_enabled": ""}
    assert page.post(PAGES[0].format(found.pk), form).status_code == 302
    assert not stored(found).is_enabled


async def test_a_call_to_an_internal_address_is_refused_once_and_names_the_setting(
    server: ModelServer, settings: Any
) -> None:
    await run_in_db(make_agent, server)
    settings.ALLOW_PRIVATE_PROVIDERS = False
    task = agent_setup()
    wanted = r"“127\.0\.0\.1” is a private.*ALLOW_PRIVATE_PROVIDERS"
    with pytest.raises(Unavailable, match=wanted):
        await task.agents.chat("writer", "Hello?")
    with pytest.raises(Unavailable, match=wanted):
        async for _ in task.agents.chat_stream("writer", "Hello?"):
            pass
    assert [call.usage.tries for call in task.ledger.calls] == [1, 1]
    assert server.connections == 0
    await task.clients.close()


def test_an_address_that_no_client_understands_is_refused(page: Client) -> None:
    for address in ("http://0177.0.0.1/v1", "https://x.org:99999/v1", "https:///v1"):
        answer = page.post("/agents/providers/new/", {**FORM, "base_url": address})
        assert "Enter a full URL" in answer.content.decode()


def test_keys_are_found_by_agent(provider: Provider, server: ModelServer) -> None:
    make_agent(server, provider=provider)
    assert find_service("writer").key == KEY
