"""The page of a run in each of its states, and its controls."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import TIMEOUT_MS, Visit, sign_in, status_is
from tests.browser.test_appearance import DESK, PHONE, check_page
from tests.support.servers import RunningServer, running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
UNTOUCHED = "window.untouched === true"
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a server with workflows for every state, and a worker with two slots."""
    home = tmp_path_factory.mktemp("shown")
    shown = {"WORKFLOW_APPS": "tests.browser.shown", "WORKER_CONCURRENCY": "2"}
    with running_server(home, **shown) as running:
        yield running


@pytest.fixture(scope="module")
def places() -> dict[str, str]:
    """Provide the addresses of runs, which the first test that needs them creates."""
    return {}


def signed_in(visit: Visit, **options: Any) -> Page:
    page = visit(**options)
    page.goto("/")
    sign_in(page)
    return page


def launch(page: Page, workflow: str, **fields: str | float | bool) -> str:
    """Launch a run; return its address, open on the page."""
    page.goto(f"/workflows/{workflow}/")
    for name, value in fields.items():
        control = page.locator(f"#launch [name={name}]")
        if value is True:
            control.check()
        else:
            control.fill(str(value))
    page.click("#launch button[type=submit]")
    page.wait_for_selector("#run-status")
    return page.url


def answer(page: Page, outcome: str) -> None:
    page.fill("#response-reason", "Good enough.")
    page.click(f"#response-form button[value={outcome}]")


def prepare(visit: Visit, places: dict[str, str]) -> dict[str, str]:
    """Return the addresses of a run in each state."""
    if not places:
        page = signed_in(visit)
        places |= ended(page) | resumed_runs(page)
        whole = places["completed"]
        places |= {
            "moment": f"{whole}?at=6",
            "start": f"{whole}?at=0",
            "node": f"{whole}?node=judge",
            "edge": f"{whole}?edge=judge.0",
            "log-found": f"{whole}?level=30&find=press",
            "state": f"{whole}states/2/",
            "state-changes": f"{whole}states/2/?show=changes",
            "items": f"{whole}items/2/",
            "first-state": f"{whole}states/0/",
            "steps": f"{whole}steps/",
            "log": f"{whole}log/?level=20",
        }
        words = places["long-words"]
        text = "say_a_name_that_is_much_longer_than_a_phone_is_wide_and_has_no_break"
        places |= {
            "long-steps": f"{words}steps/",
            "long-log": f"{words}log/",
            "long-node": f"{words}?node={text}",
            "long-edge": f"{words}?edge={text}.0",
            "long-decisions": "/decisions/?workflow=long-words",
            "long-state": f"{words}states/1/",
        }
        places |= unfinished_runs(page)
    return places


def ended(page: Page) -> dict[str, str]:
    """Return runs that have ended, and those that wait for a person or another run."""
    found = {"waiting": launch(page, "refine-draft", rounds=6)}
    status_is(page, "waiting")
    found["completed"] = launch(page, "refine-draft")
    status_is(page, "waiting")
    answer(page, "publish")
    status_is(page, "completed")
    found["parent"] = launch(page, "outer-run")
    status_is(page, "waiting")
    found["long-words"] = launch(page, "long-words")
    status_is(page, "failed")
    found["large"] = launch(page, "large-graph")
    status_is(page, "completed")
    found["cancelled"] = launch(page, "refine-draft", pace=60)
    status_is(page, "running")
    do(page, "cancel", "wrong draft")
    status_is(page, "cancelled")
    return found


def resumed_runs(page: Page) -> dict[str, str]:
    """Return a run that failed, with a note, and one that failed again when resumed."""
    found = {}
    for name in ("failed", "resumed"):
        found[name] = launch(page, "refine-draft", broken_press=True)
        status_is(page, "waiting")
        answer(page, "publish")
        status_is(page, "failed")
    do(page, "resume", "The press has paper.")
    expect(page.locator("#run-path")).to_contain_text("The press has paper.")
    status_is(page, "failed")
    page.fill("#note-text", "It had not.")
    page.click("#note-form button")
    expect(page.locator("#run-notes")).to_contain_text("It had not.")
    return found


def unfinished_runs(page: Page) -> dict[str, str]:
    """Return a running run, and a pending one while both slots are in use."""
    found = {}
    for name in ("running", "beside"):
        found[name] = launch(page, "refine-draft", pace=120)
        status_is(page, "running")
    found["pending"] = launch(page, "refine-draft")
    expect(page.locator("#run-notice")).to_contain_text("All workers are busy.")
    return found


def do(page: Page, action: str, reason: str) -> None:
    """Perform the action of a button with a reason."""
    page.click(f"#action-{action} summary")
    page.fill(f"#{action}-reason", reason)
    page.click(f"#action-{action} button")


def mark(page: Page) -> None:
    """Set a mark in the page that a reload would remove."""
    page.evaluate("window.untouched = true")


# Appearance ------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_run_page_is_complete_and_accessible_in_every_status(
    visit: Visit, places: dict[str, str], scheme: str, width: int
) -> None:
    everything = prepare(visit, places)
    page = signed_in(
        visit,
        color_scheme=scheme,
        viewport={"width": width, "height": 844 if width == PHONE else 900},
        reduced_motion="reduce",
    )
    with_axe = (scheme == "light") == (width == DESK)
    problems = []
    for name, address in everything.items():
        page.goto(address)
        page.wait_for_selector("main")
        problems += check_page(page, f"run-{name}-{scheme}-{width}", with_axe=with_axe)
    assert not problems, "\n".join(problems)


# Other views -----------------------------------------------------------------------------


def test_a_step_is_selected_in_place_and_the_back_button_deselects_it(
    visit: Visit, places: dict[str, str]
) -> None:
    page = signed_in(visit)
    page.goto(prepare(visit, places)["completed"])
    expect(page.locator("#live")).to_have_attribute("data-live", "live")
    mark(page)
    judge = page.locator(".node-link").filter(has_text="Judge")
    judge.click()
    expect(page.locator("#panel-heading")).to_have_text("Judge")
    expect(judge).to_have_attribute("aria-current", "true")
    assert page.url.endswith("?node=judge")
    page.locator("#run-panel").get_by_role("link", name="Improve").first.click()
    expect(page.locator("#panel-heading")).to_have_text("Judge → Improve")
    expect(page.locator("#run-panel")).to_contain_text("2 of 3 rounds are done")
    page.go_back()
    expect(page.locator("#panel-heading")).to_have_text("Judge")
    page.locator("#run-panel").get_by_role("link", name="Close").click()
    expect(page.locator("#panel-heading")).to_have_count(0)
    assert page.evaluate(UNTOUCHED)


def test_the_keyboard_moves_the_slider_through_the_steps(
    visit: Visit, places: dict[str, str]
) -> None:
    page = signed_in(visit)
    page.goto(prepare(visit, places)["completed"])
    expect(page.locator("#live")).to_have_attribute("data-live", "live")
    mark(page)
    page.locator("[data-step-slider]").focus()
    page.keyboard.press("Home")
    expect(page.locator("#run-stepper")).to_contain_text("Before the first step")
    expect(page.locator("#run-path")).to_contain_text("No steps yet")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#run-stepper")).to_contain_text("after step 1")
    expect(page.locator("#run-steps .step")).to_have_count(1)
    expect(page.locator("#run-log")).to_contain_text("Collected 6 texts.")
    expect(page).to_have_url(re.compile(r"\?at=1$"))
    page.keyboard.press("End")
    expect(page.locator("#run-stepper")).to_contain_text("Finished")
    expect(page).to_have_url(re.compile(r"/$"))
    assert page.evaluate(UNTOUCHED)


def test_log_lines_are_filtered_during_typing(
    visit: Visit, places: dict[str, str]
) -> None:
    page = signed_in(visit)
    page.goto(prepare(visit, places)["completed"])
    expect(page.locator("#live")).to_have_attribute("data-live", "live")
    page.locator(".log-filter [name=find]").press_sequentially(
        "press is slow", delay=15
    )
    expect(page.locator(".log-line")).to_have_count(1)
    expect(page.locator(".log-filter [name=find]")).to_have_value("press is slow")
    page.select_option(".log-filter [name=level]", "40")
    expect(page.locator("#run-log")).to_contain_text("No matching lines.")


def test_the_run_page_works_without_scripts_by_links_and_forms(
    visit: Visit, places: dict[str, str]
) -> None:
    address = prepare(visit, places)["completed"]
    page = signed_in(visit, java_script_enabled=False)
    page.goto(address)
    page.locator(".node-link").filter(has_text="Judge").click()
    expect(page.locator("#panel-heading")).to_have_text("Judge")
    page.goto(address)
    page.get_by_role("link", name="Previous step").click()
    expect(page.locator("#run-stepper")).to_contain_text("State after step")
    page.get_by_role("link", name="Next step").click()
    expect(page.locator("#run-stepper")).to_contain_text("Finished")
    page.fill(".log-filter [name=find]", "press is slow")
    page.locator(".log-filter button").click()
    expect(page.locator(".log-line")).to_have_count(1)
    page.fill("#note-text", "Written without scripts.")
    page.click("#note-form button")
    expect(page.locator("#run-notes")).to_contain_text("Written without scripts.")


def test_a_large_graph_is_zoomed_by_button_and_key(
    visit: Visit, places: dict[str, str]
) -> None:
    page = signed_in(visit)
    page.goto(prepare(visit, places)["large"])
    drawing = page.locator("#run-graph .graph > svg")
    width = "svg => svg.getBoundingClientRect().width"
    whole = drawing.evaluate(width)
    page.get_by_role("button", name="Zoom in").click()
    assert drawing.evaluate(width) > whole * 1.2
    page.locator("[data-zoom]").focus()
    page.keyboard.press("-")
    page.keyboard.press("-")
    assert drawing.evaluate(width) < whole
    page.keyboard.press("0")
    box = page.locator("[data-zoom]").evaluate("box => box.clientWidth")
    assert drawing.evaluate(width) <= box + 1


# Live ------------------------------------------------------------------------------------


def test_a_hidden_page_pauses_updates_and_catches_up(
    visit: Visit, places: dict[str, str]
) -> None:
    watcher, actor = signed_in(visit), signed_in(visit)
    address = prepare(visit, places)["waiting"]
    watcher.goto(address)
    expect(watcher.locator("#live")).to_have_text("Live")
    mark(watcher)
    hide = """hidden => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    watcher.evaluate(hide, True)
    expect(watcher.locator("#live")).to_have_text("Paused")
    actor.goto(address)
    actor.fill("#note-text", "Written meanwhile.")
    actor.click("#note-form button")
    expect(actor.locator("#run-notes")).to_contain_text("Written meanwhile.")
    assert "Written meanwhile." not in watcher.locator("#run-notes").inner_text()
    watcher.evaluate(hide, False)
    expect(watcher.locator("#run-notes")).to_contain_text("Written meanwhile.")
    expect(watcher.locator("#live")).to_have_text("Live")
    assert watcher.evaluate(UNTOUCHED)


def test_changes_are_announced_to_screen_readers(
    visit: Visit, places: dict[str, str]
) -> None:
    page = signed_in(visit)
    prepare(visit, places)
    page.goto(places["pending"])
    expect(page.locator("#live")).to_have_text("Live")
    announcement = page.locator("#run-announcement")
    expect(announcement).to_have_attribute("aria-live", "polite")
    do(page, "cancel", "Nobody needs it any more.")
    expect(announcement).to_contain_text("Run status: Cancelled.")


def test_a_printed_run_is_complete(visit: Visit, places: dict[str, str]) -> None:
    page = signed_in(visit)
    page.goto(prepare(visit, places)["completed"])
    page.emulate_media(media="print")
    expect(page.locator(".topbar")).to_be_hidden()
    expect(page.locator("#run-graph")).to_be_visible()
    expect(page.locator("#run-lanes .tl-bar").first).to_be_visible()
    expect(page.locator("#run-steps .step").last).to_be_visible()
    assert page.locator("#run-log-box").evaluate(
        "box => box.scrollHeight <= box.clientHeight"
    )
