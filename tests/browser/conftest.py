"""A server with its worker and samples, and browsers that record errors of pages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    sync_playwright,
)

from tests.support.servers import ADMIN_PASSWORD, RunningServer, running_server

# Chromium as in CI: without a sandbox as root, and without requests to its vendor.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENSHOTS = Path(__file__).parent.parent.parent / "test-results" / "screenshots"
REFUSED = re.compile(
    r"status of (401|403|404|409|413|422)"
)  # caused by the test on purpose
TIMEOUT_MS = 20_000  # an upper bound for a failing test, not a wait

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a new server: an admin, samples, no run."""
    with running_server(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """Provide the browser until the end of these tests, with its event loop."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield running
        running.close()


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Provide a page that fails the test on console errors and requests to other hosts.

    Animations are off: Chromium would draw them on the CPU, 60 times a second.
    """
    shown = {"viewport": {"width": 1400, "height": 900}, "reduced_motion": "reduce"}
    options = {**shown, **options}
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(TIMEOUT_MS)
    troubles: list[str] = []
    try:
        page = context.new_page()
        record_errors(context, page, url, troubles)
        yield page
    finally:
        context.close()
    assert troubles == []


def record_errors(
    context: BrowserContext, page: Page, url: str, troubles: list[str]
) -> None:
    """Record console errors and requests to other hosts."""
    home = urlsplit(url).netloc

    def recorded(address: str) -> None:
        if urlsplit(address).netloc not in {home, ""}:
            troubles.append(f"request to {address}")

    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.extend(errors_in(message)))
    page.on("websocket", lambda socket: recorded(socket.url))
    context.on("request", lambda request: recorded(request.url))


def errors_in(message: ConsoleMessage) -> list[str]:
    """Return the console errors of a page, without those of refusals that the test expects."""
    is_error = message.type == "error" and not REFUSED.search(message.text)
    return [message.text] if is_error else []


@pytest.fixture
def visit(browser: Browser, site: RunningServer) -> Iterator[Visit]:
    """Return a function that opens a separate browser on the site."""
    open_ones = []

    def one(**options: Any) -> Page:
        visit = visiting(browser, site.url, **options)
        page = visit.__enter__()
        open_ones.append(visit)
        return page

    yield one
    for visit in open_ones:
        visit.__exit__(None, None, None)


def sign_in(page: Page) -> None:
    """Sign in on the current page."""
    page.fill("#id_username", "admin")
    page.fill("#id_password", ADMIN_PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector(".topbar .menu")
    page.wait_for_load_state()  # the menu is rendered before the scripts have run


def launch(page: Page, document: str) -> None:
    """Launch the classifier on a sample; end on the page of the run."""
    page.goto("/workflows/classify-document/")
    labels = page.locator("select[name=document] option").all_text_contents()
    label = next(text for text in labels if text.startswith(document))
    page.select_option("select[name=document]", label=label)
    page.click("#launch button[type=submit]")
    page.wait_for_selector("#run-status")


def status_is(page: Page, *statuses: str) -> None:
    """Return when the open page shows the status."""
    wanted = ", ".join(f"#run-status[data-status={status}]" for status in statuses)
    page.wait_for_selector(wanted)


def store_screenshot(page: Page, name: str) -> Path:
    """Store a screenshot of the page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    path = SCREENSHOTS / f"{name}{'-' + worker if worker else ''}.png"
    page.screenshot(path=path, full_page=True)
    return path
