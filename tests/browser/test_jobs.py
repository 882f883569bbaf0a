"""Frequent jobs of six roles need no more actions than docs/jobs.md has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import TIMEOUT_MS, Visit, status_is
from tests.browser.jobs import JOBS, Job
from tests.browser.test_run_page import answer, launch, signed_in
from tests.support.servers import RunningServer, running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
expect.set_options(timeout=TIMEOUT_MS)
WAIT_MS = 8000  # of one action


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Provide a server with workflows for every state."""
    home = tmp_path_factory.mktemp("jobs")
    with running_server(home, WORKFLOW_APPS="tests.browser.shown") as running:
        yield running


def prepared(page: Page) -> dict[str, str]:
    """Return the addresses of runs, by what is done with them."""
    found = {}
    for name in ("done", "answered"):
        found[name] = launch(page, "refine-draft", rounds=1)
        status_is(page, "waiting")
        answer(page, "publish")
        status_is(page, "completed")
    for name in ("waiting", "cancel", "equal", "more"):
        found[name] = launch(page, "refine-draft", rounds=0)
        status_is(page, "waiting")
    launch(page, "long-words")
    status_is(page, "failed")
    return found


def act(page: Page, step: str) -> None:
    """Do one action of a job."""
    verb, _, what = step.partition(" ")
    if verb == "click":
        page.locator(what).click()
    elif verb == "press":
        page.keyboard.press(what)
    elif verb == "type":
        page.keyboard.type(what)
    else:
        place, _, value = what.partition(" ")
        page.select_option(place, value)


def is_done(page: Page, job: Job, addresses: dict[str, str]) -> str:
    """Do a job; return what went wrong, or an empty text."""
    page.goto(job.start.format(**addresses))
    page.wait_for_load_state()
    try:
        for step in job.steps:
            if step == "press Enter" and "Control+k" in job.steps[0]:
                page.locator("dialog.palette[open] [aria-selected=true]").wait_for()
            act(page, step)
        expect(page.locator(job.shows).first).to_be_visible(timeout=WAIT_MS)
    except (AssertionError, Error) as error:
        return f"{job.role}: {job.name}: {str(error)[:300]}"
    return ""


def test_frequent_jobs_need_the_actions_of_the_table(visit: Visit) -> None:
    page = signed_in(visit)
    addresses = prepared(page)
    page.set_default_timeout(WAIT_MS)
    failed = [trouble for job in JOBS if (trouble := is_done(page, job, addresses))]
    assert not failed, "|".join(one[:160] for one in failed)
