"""On the page of a run no element is cut off or overlaps another one, at any width."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, status_is
from tests.browser.test_run_page import answer, launch, signed_in
from tests.support.servers import RunningServer, running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
WIDTHS = (390, 768, 780, 830, 864, 960, 1024, 1280, 1440)

# texts of graphs that exceed the drawing, or overlap
IN_GRAPHS = """() => [...document.querySelectorAll('.graph > svg')].flatMap((svg) => {
  const { width } = svg.viewBox.baseVal;
  const texts = [...svg.querySelectorAll('text')].map((e) => [e.textContent, e.getBBox()]);
  const out = texts.filter(([, b]) => b.x < 0 || b.x + b.width > width).map(([t]) => t);
  const over = texts.flatMap(([t, a], i) => texts.slice(i + 1)
    .filter(([, b]) => a.x < b.x + b.width && b.x < a.x + a.width
      && a.y + 2 < b.y + b.height - 2 && b.y + 2 < a.y + a.height - 2)
    .map(([u]) => `${t} | ${u}`));
  return [...out, ...over];
})"""
ON_THE_AXIS = """() => {
  const texts = [...document.querySelectorAll('.tl-axis text')]
    .filter((e) => getComputedStyle(e).display !== 'none')
    .map((e) => [e.textContent, e.getBoundingClientRect()]);
  return texts.flatMap(([t, a], i) => texts.slice(i + 1)
    .filter(([, b]) => a.left < b.right && b.left < a.right).map(([u]) => `${t} | ${u}`));
}"""
BAR = """() => {
  const parts = [...document.querySelector('.topbar-inner').children]
    .map((e) => e.getBoundingClientRect()).filter((r) => r.width && r.height);
  return {
    lines: Math.max(...parts.map((r) => r.bottom)) - Math.min(...parts.map((r) => r.top)),
    right: innerWidth - Math.max(...parts.map((r) => r.right)),
  };
}"""
LONG_NAME = """() => {
  document.querySelector('.topbar .menu summary').textContent = 'somebody.with.a.long.name@example';
  document.querySelector('#nav-approvals').innerHTML = '<b class="count">128</b>';
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a server with workflows that have loops, retries and approvals."""
    home = tmp_path_factory.mktemp("overlaps")
    with running_server(home, WORKFLOW_APPS="tests.browser.shown") as running:
        yield running


def finished(page: Page) -> str:
    """Return the address of a run that completed its loops and got a response."""
    address = launch(page, "refine-draft", rounds=12)
    status_is(page, "waiting")
    answer(page, "publish")
    status_is(page, "completed")
    return address


def test_texts_do_not_overlap_and_the_bar_is_one_line(visit: Visit) -> None:
    page = signed_in(visit)
    for address in (finished(page), "/workflows/refine-draft/"):
        page.goto(address)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate(IN_GRAPHS) == [], width
            assert page.evaluate(ON_THE_AXIS) == [], width
    page.evaluate(LONG_NAME)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        bar = page.evaluate(BAR)
        assert bar["lines"] < 60, (width, bar)
        assert bar["right"] >= 0, (width, bar)


def test_after_a_response_the_status_is_in_view_and_focused(visit: Visit) -> None:
    page = signed_in(visit, viewport={"width": 1024, "height": 500})
    launch(page, "refine-draft", rounds=1)
    status_is(page, "waiting")
    page.locator("#response-form button[value=publish]").scroll_into_view_if_needed()
    answer(page, "publish")
    status_is(page, "completed")
    expect(page.locator("#run-status")).to_be_focused()
    expect(page.locator("#run-status .badge")).to_be_in_viewport()


def test_the_heading_of_the_graph_stays_visible_when_a_node_is_selected(
    visit: Visit,
) -> None:
    page = signed_in(visit, viewport={"width": 1440, "height": 640})
    page.goto(finished(page))
    expect(page.locator("#live")).to_have_attribute("data-live", "live")
    page.locator(".node-link").nth(3).click()
    expect(page.locator("#panel-heading")).to_be_in_viewport()
    expect(page.locator("#graph-heading")).to_be_in_viewport()
