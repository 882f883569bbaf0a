"""The first steps of a new user: from the sign-in page to the response to an approval."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import (
    TIMEOUT_MS,
    Visit,
    launch,
    sign_in,
    status_is,
    store_screenshot,
)
from tests.support.servers import free_port, running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DOUBTFUL = "pilot-boat-review.pdf"  # its banners disagree
CLEAR = "tide-gate-report.pdf"


def mark(page: Page) -> None:
    """Set a mark in the page that a reload would remove."""
    page.evaluate("window.untouched = true")


def is_untouched(page: Page) -> bool:
    """Return whether the page was not reloaded."""
    return page.evaluate("window.untouched === true") is True


def test_a_newcomer_gets_from_sign_in_to_a_response_without_a_reload(
    visit: Visit,
) -> None:
    page = visit()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page)

    page.get_by_role("link", name="Workflows", exact=True).click()
    page.get_by_role("heading", name="Classify a document").get_by_role("link").click()
    expect(page.locator(".graph .node-title").first).to_be_visible()
    page.fill("[name=threshold]", "2")
    page.click("#launch button[type=submit]")
    expect(page.locator(".field[data-invalid]")).to_have_count(2)
    expect(page.locator("[name=threshold]")).to_have_value("2")
    expect(page.locator("#workflow-runs")).to_contain_text("No runs yet.")

    launch(page, DOUBTFUL)
    mark(page)
    status_is(page, "waiting")
    expect_question(page)
    store_screenshot(page, "run-waiting")

    page.fill("#response-reason", "The banner counts.")
    page.click("#response-form button[value=publish]")
    status_is(page, "completed")
    expect(page.locator("#run-path")).to_contain_text("Decided by admin")
    expect(page.locator("#run-path")).to_contain_text("The banner counts.")
    expect(page.locator("#run-result")).to_contain_text("published")
    expect(page.locator("#run-approval")).to_be_empty()
    expect(page.locator("#live")).to_have_attribute("data-live", "live")
    assert "Completed" in page.title()
    assert is_untouched(page)
    store_screenshot(page, "run-completed")


def expect_question(page: Page) -> None:
    """Expect the question with its evidence and form."""
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#question-heading")).to_contain_text(DOUBTFUL)
    expect(page.locator("#run-path")).to_contain_text("The banners disagree")
    expect(page.locator(".node[data-state=waiting] .node-note")).to_have_text("Waiting")
    expect(page.locator(".page-image-marks rect").first).to_be_visible()
    sheet = page.locator(".page-image img").first
    expect(sheet).to_have_js_property("complete", value=True)
    assert sheet.evaluate("image => image.naturalWidth") > 500


def test_a_newcomer_responds_without_scripts_by_reloading(visit: Visit) -> None:
    page = visit(java_script_enabled=False)
    page.goto("/")
    sign_in(page)
    launch(page, DOUBTFUL)
    reload_until(page, "waiting")
    expect(page.locator("#question-heading")).to_contain_text(DOUBTFUL)
    expect(page.locator(".page-image-marks rect").first).to_be_visible()
    page.fill("#response-reason", "Not ours.")
    page.click("#response-form button[value=reject]")
    reload_until(page, "completed")
    expect(page.locator("#run-path")).to_contain_text("Decided by admin")
    expect(page.locator("#run-path")).to_contain_text("Not ours.")
    expect(page.locator("#run-result")).to_contain_text("rejected")


def reload_until(page: Page, status: str) -> None:
    """Reload the page by its link until it shows the status."""
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while page.locator(f"#run-status[data-status={status}]").count() == 0:
        assert time.monotonic() < deadline, page.locator("#run-status").inner_text()
        page.get_by_role("link", name="Refresh").click()


def test_a_clear_document_is_published_without_a_question(visit: Visit) -> None:
    page = visit()
    page.goto("/")
    sign_in(page)
    launch(page, CLEAR)
    mark(page)
    status_is(page, "completed")
    expect(page.locator("#run-path")).to_contain_text("threshold 80%")
    expect(page.locator(".edge[data-outcome=taken]")).to_have_count(3)
    expect(page.locator(".edge[data-outcome=rejected]")).to_have_count(3)
    assert is_untouched(page)


def test_a_run_is_cancelled_and_resumed_with_reasons_on_the_open_page(
    visit: Visit,
) -> None:
    page = visit()
    page.goto("/")
    sign_in(page)
    launch(page, DOUBTFUL)
    mark(page)
    status_is(page, "waiting")

    page.click("#action-cancel summary")
    page.fill("#cancel-reason", "wrong document")
    page.click("#action-cancel button")
    status_is(page, "cancelled")
    expect(page.locator("#run-notice")).to_contain_text("wrong document")
    expect(page.locator("#live")).to_have_attribute("data-live", "live")

    page.click("#action-resume summary")
    page.fill("#resume-reason", "right after all")
    page.click("#action-resume button")
    status_is(page, "waiting")
    expect(page.locator("#run-path")).to_contain_text("right after all")
    expect(page.locator("#live")).to_have_text("Live")
    assert is_untouched(page)


def test_typed_values_survive_an_update_of_the_page(visit: Visit) -> None:
    writer, other = visit(), visit()
    for page in (writer, other):
        page.goto("/")
        sign_in(page)
    launch(writer, DOUBTFUL)
    status_is(writer, "waiting")
    writer.fill("#response-reason", "I am still thinking")
    writer.click("#action-cancel summary")
    writer.fill("#cancel-reason", "half a")

    other.goto(writer.url)
    for region in ("run-status", "run-approval"):
        arrives(writer, region, fresh_region(other, region))
    expect(writer.locator("#question-heading")).to_have_text("Changed meanwhile")
    expect(writer.locator("#action-cancel")).to_have_attribute("open", "")
    expect(writer.locator("#response-reason")).to_have_value("I am still thinking")
    expect(writer.locator("#cancel-reason")).to_be_focused()
    writer.keyboard.press("End")
    writer.keyboard.type(" sentence")
    expect(writer.locator("#cancel-reason")).to_have_value("half a sentence")


def fresh_region(page: Page, region: str) -> str:
    """Return a region as the server renders it, with another question."""
    html: str = page.locator(f"#{region}").evaluate(
        """region => {
          const heading = region.querySelector("h2");
          if (heading) heading.textContent = "Changed meanwhile";
          region.setAttribute("hx-swap-oob", "outerMorph");
          return region.outerHTML;
        }"""
    )
    return html


def arrives(page: Page, region: str, html: str) -> None:
    """Swap a region in as the socket does."""
    swap = "html => htmx.swap({sourceElement: document.body, swap: 'none', text: html})"
    page.evaluate(swap, html)
    page.wait_for_selector(f"#{region}")


def test_a_new_run_appears_in_the_open_lists(visit: Visit) -> None:
    watcher, actor = visit(), visit()
    for page in (watcher, actor):
        page.goto("/")
        sign_in(page)
    watcher.goto("/runs/?status=completed")
    expect(watcher.locator("#live")).to_have_text("Live")
    mark(watcher)
    launch(actor, CLEAR)
    status_is(actor, "completed")
    run = actor.url.rstrip("/").split("/")[-1]
    expect(watcher.locator(f"#row-{run}")).to_be_visible()
    assert is_untouched(watcher)


def test_the_journey_works_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit()
    page.goto("/workflows/classify-document/")
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    sign_in(page)
    launch(page, DOUBTFUL)
    status_is(page, "waiting")
    page.locator("#response-reason").focus()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Tab")
    expect(page.locator("#response-form button[value=publish]")).to_be_focused()
    page.keyboard.press("Enter")
    status_is(page, "completed")
    expect(page.locator("#run-path")).to_contain_text("by keyboard")
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_the_live_indicator_shows_that_a_server_stops_and_returns(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data_dir, port = tmp_path_factory.mktemp("killed"), str(free_port())
    with running_server(data_dir, "--port", port) as server:
        context = browser.new_context(base_url=server.url)
        page = context.new_page()
        page.goto("/")
        sign_in(page)
        launch(page, DOUBTFUL)
        mark(page)
        status_is(page, "waiting")
        expect(page.locator("#live")).to_have_text("Live")
        server.process.kill()
        expect(page.locator("#live")).to_have_text("Reconnecting…")
    with running_server(data_dir, "--port", port):
        expect(page.locator("#live")).to_have_text("Live", timeout=TIMEOUT_MS)
        page.fill("#response-reason", "It is clear.")
        page.click("#response-form button[value=publish]")
        status_is(page, "completed")
        assert is_untouched(page)
        context.close()


def test_a_form_from_the_socket_can_be_submitted_before_htmx_processes_it(
    visit: Visit,
) -> None:
    page = visit()
    page.goto("/")
    sign_in(page)
    launch(page, DOUBTFUL)
    status_is(page, "waiting")
    page.evaluate(
        """() => {
          const form = document.querySelector("#response-form");
          form.removeAttribute("hx-post");
          form.querySelector("[name=csrfmiddlewaretoken]")?.remove();
          form.replaceWith(form.cloneNode(true));
        }"""
    )
    mark(page)
    page.fill("#response-reason", "It is clear.")
    page.click("#response-form button[value=publish]")
    status_is(page, "completed")
    assert not is_untouched(page)


def test_the_second_responder_sees_who_responded_first(visit: Visit) -> None:
    first, second = visit(), visit(java_script_enabled=False)
    for page in (first, second):
        page.goto("/")
        sign_in(page)
    launch(first, DOUBTFUL)
    status_is(first, "waiting")
    second.goto(first.url)
    first.fill("#response-reason", "It is clear.")
    first.click("#response-form button[value=publish]")
    status_is(first, "completed")
    second.fill("#response-reason", "It is clear.")
    second.click("#response-form button[value=reject]")
    expect(second.locator("main")).to_contain_text("Already answered by admin.")
    second.get_by_role("link", name="Back").click()
    status_is(second, "completed")
