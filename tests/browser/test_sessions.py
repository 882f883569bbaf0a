"""A session that ends under an open page: the page shows it, and typed values are preserved."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TIMEOUT_MS, Visit, sign_in, store_screenshot
from tests.support.servers import RunningServer, running_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a server with workflows that wait for people."""
    home = tmp_path_factory.mktemp("sessions")
    with running_server(home, WORKFLOW_APPS="tests.browser.shown") as running:
        yield running


def expire_sessions(site: RunningServer, but: Page) -> None:
    """Expire all sessions except that of one page, without a notification."""
    cookies = {one["name"]: one["value"] for one in but.context.cookies()}
    file = site.log.parent / "db.sqlite3"
    connection = sqlite3.connect(file, timeout=20)
    with connection:
        connection.execute(
            "UPDATE django_session SET expire_date = '2020-01-01 00:00:00'"
            " WHERE session_key <> ?",
            [cookies["sessionid"]],
        )
    connection.close()


def check_pages(admin: Page) -> None:
    """Let open pages check their permissions at once, instead of after an interval."""
    admin.goto("/admin/auth/user/")
    admin.locator("#result_list").get_by_role("link", name="admin").click()
    admin.locator("input[name=_save]").click()
    expect(admin.get_by_text("was changed successfully")).to_be_visible()


def waiting_run(page: Page) -> str:
    """Launch a run that waits for a response; return its address, open on the page."""
    page.goto("/workflows/refine-draft/")
    page.fill("#launch [name=rounds]", "0")
    page.click("#launch button[type=submit]")
    page.wait_for_selector("#response-form")
    expect(page.locator("#live")).to_have_text("Live")
    return page.url


def signed_in(visit: Visit, **options: object) -> Page:
    page = visit(**options)
    page.goto("/")
    sign_in(page)
    return page


def test_an_open_page_shows_that_it_is_signed_out_and_preserves_typed_values(
    visit: Visit, site: RunningServer
) -> None:
    page, other = signed_in(visit), signed_in(visit)
    address = waiting_run(page)
    page.fill("#response-reason", "Not yet\nreally")
    page.fill("#note-text", "half a note")
    expire_sessions(site, but=other)
    check_pages(other)
    expect(page.locator("#live")).to_have_text("Signed out")
    expect(page.locator("#messages")).to_contain_text(
        "Signed out. Sign in to continue."
    )
    store_screenshot(page, "signed-out")
    other.goto(address)
    other.fill("#note-text", "news that only members see")
    other.get_by_role("button", name="Add note").click()
    expect(other.locator(".note-text")).to_be_visible()
    expect(page.locator(".note-text")).to_have_count(0)
    page.get_by_role("link", name="Sign in to continue.").click()
    sign_in(page)
    expect(page).to_have_url(address)
    expect(page.locator("#messages")).to_contain_text("Not submitted.")
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator(".note-text")).to_have_count(1)
    expect(page.locator("#response-reason")).to_have_value("Not yet\nreally")
    store_screenshot(page, "signed-in-again")
    page.click("#response-form button[value=reject]")
    page.wait_for_selector("#run-status[data-status=completed]")
    nothing_is_kept_longer_than_needed(page)


def nothing_is_kept_longer_than_needed(page: Page) -> None:
    """Send the note that is kept on a page; check that it is not restored afterwards."""
    note, notes = page.locator("#note-text"), page.locator(".note-text")
    page.reload()
    expect(note).to_have_value("half a note")
    page.get_by_role("button", name="Add note").click()
    expect(notes).to_have_count(2)
    page.reload()
    expect(note).to_have_value("")
    expect(page.locator("#messages .message")).to_have_count(0)
    page.evaluate(
        "sessionStorage.setItem(`typed:0:${location.pathname}`,"
        """ '{"#note-form":[{"spot":"text 0","name":"Note","value":"of another"}]}')"""
    )
    page.reload()
    expect(note).to_have_value("")
    assert page.evaluate("sessionStorage.length") == 0, "another account's is dropped"


def test_a_form_sent_after_the_session_ended_stays_and_can_be_sent_after_signing_in(
    visit: Visit, site: RunningServer
) -> None:
    page, other = signed_in(visit), signed_in(visit)
    address = waiting_run(page)
    expire_sessions(site, but=other)
    page.click("#action-cancel > summary")
    page.fill("#cancel-reason", "No longer needed")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("Signed out. Nothing was sent.")
    expect(page.locator("#live")).to_have_text("Signed out")
    expect(page.locator("#cancel-reason")).to_have_value("No longer needed")
    store_screenshot(page, "signed-out-cancel")
    page.get_by_role("link", name="Sign in to continue.").click()
    sign_in(page)
    expect(page).to_have_url(address)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("#cancel-reason")).to_be_visible()
    expect(page.locator("#cancel-reason")).to_have_value("No longer needed")
    page.locator("#cancel-reason").press("Enter")
    page.wait_for_selector("#run-status[data-status=cancelled]")


@pytest.mark.slow
def test_signing_in_in_another_tab_loses_nothing_in_this_one(
    visit: Visit, site: RunningServer
) -> None:
    page, other = signed_in(visit), signed_in(visit)
    waiting_run(page)
    page.fill("#note-text", "typed before")
    expire_sessions(site, but=other)
    second = page.context.new_page()
    second.goto("/")
    sign_in(second)
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("#messages")).to_contain_text("before the last sign-in")
    page.get_by_role("link", name="Reload the page").click()
    expect(page.locator("#messages")).to_contain_text("Not submitted.")
    expect(page.locator("#note-text")).to_have_value("typed before")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator(".note-text")).to_have_text("typed before")


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [False, True])
def test_all_fields_of_a_form_are_restored(
    visit: Visit, site: RunningServer, scripts: bool
) -> None:
    page, other = signed_in(visit, java_script_enabled=scripts), signed_in(visit)
    page.goto("/workflows/refine-draft/")
    page.fill("#launch [name=rounds]", "2")
    page.check("#launch [name=broken_press]")
    expire_sessions(site, but=other)
    page.click("#launch button[type=submit]")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    store_screenshot(page, "sign-in-keeps-form")
    sign_in(page)
    expect(page.locator("#messages")).to_contain_text("Not submitted.")
    expect(page.locator("#launch [name=rounds]")).to_have_value("2")
    expect(page.locator("#launch [name=broken_press]")).to_be_checked()
    store_screenshot(page, "form-filled-in")
    page.click("#launch button[type=submit]")
    expect(page.locator("#run-status")).to_be_visible()
