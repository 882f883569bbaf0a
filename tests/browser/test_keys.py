"""Pages by keyboard alone: search, palette, queue, and the most frequent jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import TIMEOUT_MS, Visit, status_is
from tests.browser.test_run_page import launch, signed_in
from tests.support.servers import RunningServer, running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
expect.set_options(timeout=TIMEOUT_MS)
MAX_TABS = 150  # presses of Tab until an element must have the focus
IS_VISIBLE = """(element) => {
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  const inside = box.bottom > 0 && box.top < innerHeight && box.width > 0;
  return inside && (ring || style.boxShadow !== "none");
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a server with workflows that wait for people."""
    home = tmp_path_factory.mktemp("keys")
    with running_server(home, WORKFLOW_APPS="tests.browser.shown") as running:
        yield running


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until the element has the focus; it must be in sight, with a ring."""
    target.wait_for()
    for _ in range(MAX_TABS):
        if target.evaluate("element => element === document.activeElement"):
            assert target.evaluate(IS_VISIBLE), target.evaluate("e => e.outerHTML")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {target}")


def press(page: Page, target: Locator, key: str = "Enter") -> None:
    tab_to(page, target)
    page.keyboard.press(key)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_search_and_palette_work_by_keyboard(visit: Visit) -> None:
    page = signed_in(visit)
    box, palette = page.locator("#search-q"), page.locator("dialog.palette[open]")
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("/a")
    expect(box).to_have_value("/a")
    page.keyboard.press("Control+k")
    query = palette.locator("input")
    expect(query).to_be_focused()
    page.keyboard.press("Escape")
    expect(palette).to_have_count(0)
    expect(box).to_be_focused()
    page.keyboard.press("Meta+k")
    page.keyboard.type("refine")
    first, second = (palette.get_by_role("option").nth(at) for at in (0, 1))
    expect(first).to_contain_text("efine")
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(second).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Refine draft", exact=True)).to_be_visible()


def test_search_and_help_open_by_keyboard(visit: Visit) -> None:
    page = signed_in(visit)
    page.keyboard.press("/")
    page.keyboard.type("refine")
    page.keyboard.press("Enter")
    expect(page).to_have_url("/search/?q=refine")
    page.locator("body").press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="Keys")).to_be_hidden()


def test_the_queue_of_approvals_works_by_keyboard(visit: Visit) -> None:
    page = signed_in(visit)
    addresses = []
    for rounds in (0, 1):
        addresses.append(launch(page, "refine-draft", rounds=rounds))
        status_is(page, "waiting")
    page.goto("/approvals/")
    links = page.locator("[data-keys] > li div > a")
    for key, at in (("j", 0), ("j", 1), ("j", 1), ("k", 0)):
        page.keyboard.press(key)
        expect(links.nth(at)).to_be_focused()
    assert links.nth(0).evaluate(IS_VISIBLE)
    press(page, page.get_by_role("button", name="Claim").first)
    expect(page.locator(".inbox-claim").first).to_contain_text("is working on it")
    expect(links.nth(0)).to_be_focused()
    page.goto("/approvals/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("#response-form")
    tab_to(page, page.locator("#response-reason"))
    page.keyboard.type("by keyboard")
    press(page, page.locator("#response-form button[value=publish]"))
    status_is(page, "completed")


def test_the_jobs_of_a_run_work_by_keyboard(visit: Visit) -> None:
    page = signed_in(visit)
    page.goto("/workflows/refine-draft/")
    press(page, page.locator("#launch button[type=submit]").first)
    status_is(page, "waiting")
    address = page.url
    for name, reason, status in (
        ("cancel", "by mistake", "cancelled"),
        ("resume", "needed", "waiting"),
    ):
        press(page, page.locator(f"#action-{name} > summary"))
        tab_to(page, page.locator(f"#{name}-reason"))
        page.keyboard.type(reason)
        page.keyboard.press("Enter")
        status_is(page, status)
    tab_to(page, page.locator("#response-reason"))
    page.keyboard.type("fine")
    press(page, page.locator("#response-form button[value=publish]"))
    status_is(page, "completed")
    press(page, page.get_by_role("link", name="Rerun", exact=True))
    press(page, page.locator("#launch button[type=submit]").first)
    status_is(page, "waiting")
    page.goto(address)
    press(page, page.get_by_role("link", name="Take another edge").first)
    expect(page.locator("main form").first).to_be_visible()
    why = page.locator("main [name=reason]")
    tab_to(page, why)
    page.keyboard.type("the other way")
    page.goto("/decisions/")
    press(page, page.get_by_role("link", name="All edges"))
    expect(page.locator("main")).to_contain_text("condition")


def test_lists_are_filtered_by_keyboard(visit: Visit) -> None:
    page = signed_in(visit)
    page.goto("/runs/")
    status = page.locator("select[name=status]")
    tab_to(page, status)
    page.keyboard.type("Fail")
    page.wait_for_url("**/runs/?status=failed*")
    expect(status).to_have_value("failed")
