"""The provider wizard, against a local server with scripted responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from tests.support.agent_rows import KEY, make_agent, make_provider
from tests.support.openai_server import Answer, ModelServer, failing
from workflows.models import Agent, AuditEvent, Provider

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
MODELS = Answer(
    raw=json.dumps(
        {"object": "list", "data": [{"id": "small"}, {"id": "big"}]}
    ).encode()
)


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return a client of an administrator."""
    return sign_in(admin)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def send(page: Client, url: str, preset: str = "other", **given: Any) -> Any:
    form = {"name": "Ours", "base_url": url, "secret": KEY, **given}
    return page.post(f"/agents/connect/?preset={preset}", form)


def problem(page: Client, url: str, **given: Any) -> str:
    """Return the text of a connection that fails, and check that nothing was stored."""
    answer = send(page, url, **given)
    assert answer.status_code == 422
    assert not Provider.objects.exists()
    text: str = answer.content.decode()
    assert KEY not in text
    return text


def test_every_preset_has_a_form_with_its_address(page: Client) -> None:
    text = page.get("/agents/connect/").content.decode()
    for slug, address in {
        "openai": "https://api.openai.com/v1",
        "azure": "",
        "ollama": "http://localhost:11434/v1",
        "lm-studio": "http://localhost:1234/v1",
        "vllm": "http://localhost:8001/v1",
        "other": "",
    }.items():
        assert f'href="/agents/connect/?preset={slug}"' in text
        form = page.get(f"/agents/connect/?preset={slug}").content.decode()
        assert f'value="{address}"' in form or not address
        assert ("API version" in form) == (slug == "azure")


def test_from_preset_to_default_agent(page: Client, server: ModelServer) -> None:
    server.script(MODELS, MODELS)
    answer = send(page, server.url)
    provider = Provider.objects.get()
    models = f"/agents/providers/{provider.pk}/models/"
    assert answer.headers["Location"] == models
    assert provider.open_key() == KEY
    text = page.get(models).content.decode()
    assert "2 models listed." in text
    assert '<option value="big">big</option>' in text
    form = {
        "model": "big",
        "name": "default",
        "capabilities": "chat",
        "is_default": "on",
    }
    answer = page.post(models, form)
    agent = Agent.objects.get()
    assert answer.headers["Location"] == f"/agents/{agent.pk}/"
    assert (agent.provider, agent.model, agent.is_default) == (provider, "big", True)
    assert [one.path for one in server.requests] == ["/v1/models", "/v1/models"]
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert set(actions) == {"save provider", "save agent"}
    assert KEY not in str(list(AuditEvent.objects.values()))


def test_each_problem_names_a_remedy(page: Client, server: ModelServer) -> None:
    for answer, advice in (
        (failing(401, f"Bad key {KEY}"), "Copy the key again"),
        (failing(403), "Copy the key again"),
        (failing(404), "Check the path of the base URL"),
        (failing(429, "No credit"), "(429): No credit. Check the credit"),
        (failing(503), "Test again in a minute"),
        (failing(307, headers={"Location": "http://x.example/"}), "the final address"),
        (failing(400, "Odd"), "Check the base URL"),
        (Answer(raw=b"<html>a page</html>"), "not an OpenAI-compatible API"),
        (Answer(raw=b'{"data": 3}'), "not an OpenAI-compatible API"),
        (Answer(raw=b"[" * 9_000), "not an OpenAI-compatible API"),
    ):
        server.script(answer)
        assert advice in problem(page, server.url).replace("&#x27;", "'"), advice
    server.script(failing(401))
    assert "requires an API key (401). Enter one." in problem(
        page, server.url, secret=""
    )


def test_a_server_that_is_not_running_gets_a_sentence(page: Client) -> None:
    with ModelServer() as stopped:
        url = stopped.url
    text = problem(page, url)
    assert "Check host and port, and start the model server" in text
    assert "Enter the API key again: it was not stored." in text
    assert "The host of http://models.invalid/v1 is unknown." in problem(
        page, "http://models.invalid/v1"
    )


def test_a_provider_can_be_saved_after_a_failed_test(
    page: Client, server: ModelServer
) -> None:
    answer = send(page, server.url, untested="1")
    assert answer.status_code == 302
    assert server.requests == []
    server.script(failing(404))
    text = page.get(answer.headers["Location"]).content.decode()
    assert "there is no list of models (404)" in text
    assert 'name="model"' in text


def test_the_guard_of_addresses_applies(
    page: Client, server: ModelServer, settings: Settings
) -> None:
    settings.ALLOW_PRIVATE_PROVIDERS = False
    for extra in ({}, {"untested": "1"}):
        assert "set ALLOW_PRIVATE_PROVIDERS" in problem(page, server.url, **extra)
    provider = make_provider(server)
    text = page.get(f"/agents/providers/{provider.pk}/models/").content.decode()
    assert "set ALLOW_PRIVATE_PROVIDERS" in text
    assert server.requests == []
    assert "needs a setting" in page.get("/agents/connect/").content.decode()


def test_the_key_of_another_address_is_not_sent(
    page: Client, server: ModelServer
) -> None:
    provider = make_provider(server, base_url="http://127.0.0.1:9/v1")
    Provider.objects.filter(pk=provider.pk).update(base_url=server.url)
    text = page.get(f"/agents/providers/{provider.pk}/models/").content.decode()
    assert "is for another address and was not sent" in text
    assert server.requests == []


def test_names_of_models_are_shown_as_text_and_bounded(
    page: Client, server: ModelServer
) -> None:
    names = ["<b>x</b>", "n" * 121, 7, None, "small", "small"]
    rows = [{"id": name} for name in names] + ["small", None]
    server.script(Answer(raw=json.dumps({"data": rows}).encode()))
    provider = make_provider(server)
    text = page.get(f"/agents/providers/{provider.pk}/models/").content.decode()
    assert "2 models listed." in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "<b>x</b>" not in text


def test_ollama_without_models_names_the_command_that_adds_one(
    page: Client, server: ModelServer
) -> None:
    server.script(Answer(raw=b'{"object": "list", "data": null}'))
    provider = make_provider(server, kind="ollama")
    text = page.get(f"/agents/providers/{provider.pk}/models/").content.decode()
    assert "ollama pull" in text


def test_a_second_agent_is_not_made_the_default(
    page: Client, server: ModelServer
) -> None:
    provider = make_agent(server, is_default=True).provider
    server.script(MODELS)
    text = page.get(f"/agents/providers/{provider.pk}/models/").content.decode()
    assert 'name="is_default"' in text
    assert "checked" not in text.partition('name="is_default"')[2][:80]


def test_members_cannot_open_the_wizard(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    assert client.get("/agents/connect/").status_code == 403
    assert client.post("/agents/connect/?preset=openai", {}).status_code == 403
