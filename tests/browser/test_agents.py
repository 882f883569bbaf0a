"""An agent is set up and tried in a browser, and a run shows a streamed response."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    TIMEOUT_MS,
    Visit,
    sign_in,
    status_is,
    store_screenshot,
)
from tests.support.openai_server import Answer, Gate, ModelServer

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def longer_timeout() -> Iterator[None]:
    """Wait for elements as long as for pages."""
    expect.set_options(timeout=TIMEOUT_MS)
    yield
    expect.set_options(timeout=None)


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def set_up(page: Page, server: ModelServer, name: str) -> None:
    """Add a provider and an agent by their forms."""
    page.goto("/agents/providers/new/")
    page.fill("#id_name", f"Provider of {name}")
    page.fill("#id_base_url", server.url)
    page.fill("#id_secret", "a-key-that-is-not-shown")
    page.click(".form button[type=submit]")
    page.goto("/agents/new/")
    page.fill("#id_name", name)
    page.select_option("#id_provider", label=f"Provider of {name}")
    page.fill("#id_model", "tiny")
    page.click(".form button[type=submit]")
    page.wait_for_selector("#try-form")


def try_it(page: Page, server: ModelServer) -> None:
    """Send a prompt on the open page, and check that the response grows."""
    gate = Gate()
    server.script(Answer(pieces=["Good ", "day."], gate=gate))
    page.fill("#try-form textarea", "Hello?")
    page.click("#try-form button[type=submit]")
    gate.let(1)
    expect(page.locator("#try-answer")).to_contain_text("Responding…")
    gate.let(1)
    expect(page.locator("#try-answer")).to_contain_text("Good day.")
    expect(page.locator("#try-answer")).to_contain_text(
        "7 input tokens, 5 output tokens"
    )
    store_screenshot(page, "agent-tried")


def launch_and_read_along(page: Page, server: ModelServer) -> None:
    """Launch a run, and check its streamed text before the response is complete."""
    gate = Gate()
    server.script(Answer(pieces=["All ", "is ", "well."], gate=gate))
    page.fill("textarea[name=text]", "Everything went fine. Nobody complained.")
    page.click("#launch button[type=submit]")
    page.wait_for_selector("#run-status")
    gate.let(2)
    expect(page.locator("#run-stream-preview")).to_contain_text("All is")
    expect(page.locator("#run-stream-preview")).not_to_contain_text("well.")
    store_screenshot(page, "run-stream-preview")
    gate.let(1)
    status_is(page, "completed")
    expect(page.locator("#run-result")).to_contain_text("All is well.")
    expect(page.locator("#run-stream-preview section")).to_have_count(0)
    expect(page.locator("#run-details")).to_contain_text("Model calls")
    store_screenshot(page, "run-summarized")


def test_an_agent_is_set_up_and_tried_with_streamed_output(
    visit: Visit, model_server: ModelServer
) -> None:
    page = visit()
    page.goto("/agents/")
    sign_in(page)
    expect(page.locator("main")).to_contain_text("No providers yet.")
    page.goto("/workflows/summarize/")
    expect(page.locator("#launch")).to_contain_text("Can’t launch yet.")
    set_up(page, model_server, "writer")
    try_it(page, model_server)
    page.goto("/workflows/summarize/")
    launch_and_read_along(page, model_server)


@pytest.mark.slow
def test_an_agent_is_set_up_and_tried_without_scripts(
    visit: Visit, model_server: ModelServer
) -> None:
    page = visit(java_script_enabled=False)
    page.goto("/agents/")
    sign_in(page)
    set_up(page, model_server, "plain")
    model_server.script(Answer("Good day."))
    page.fill("#try-form textarea", "Hello?")
    page.click("#try-form button[type=submit]")
    expect(page.locator("#try-answer")).to_contain_text("Good day.")
    expect(page.locator("#try-answer")).to_contain_text("7 input tokens")
