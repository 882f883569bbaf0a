"""Pages of many runs: filters, selection, bulk actions, export; with and without scripts."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, launch, sign_in, status_is

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DOUBTFUL, CLEAR = "pilot-boat-review.pdf", "tide-gate-report.pdf"


def signed_in(visit: Visit, **options: object) -> Page:
    page = visit(**options)
    page.goto("/")
    sign_in(page)
    return page


def launched(page: Page, document: str, status: str) -> str:
    """Launch a run, wait until it has the status, and return its id."""
    launch(page, document)
    status_is(page, status)
    return page.url.rstrip("/").rsplit("/", 1)[1]


def launched_without_scripts(visit: Visit, document: str, status: str) -> str:
    return launched(signed_in(visit), document, status)


def test_runs_are_filtered_and_the_view_is_saved_and_shared(visit: Visit) -> None:
    page = signed_in(visit)
    done = launched(page, CLEAR, "completed")
    asking = launched(page, DOUBTFUL, "waiting")
    page.goto("/runs/")
    page.select_option("#filter-status", "completed")
    expect(page).to_have_url(re.compile(r"/runs/\?status=completed$"))
    expect(page.locator(f"#row-{done}")).to_be_visible()
    expect(page.locator(f"#row-{asking}")).to_have_count(0)
    page.click("#save-view summary")
    page.fill("#view-name", "Done ones")
    page.check("#save-view [name=shared]")
    page.click("#save-view button[type=submit]")
    expect(page.locator(".view[aria-current]")).to_contain_text("Done ones")
    expect(page.locator(f"#row-{done}")).to_be_visible()
    page.get_by_role("link", name="Manage views").click()
    page.locator(".view-form [name=name]").fill("Finished")
    page.locator(".view-form").get_by_role("button", name="Save").click()
    expect(page.locator(".view-list b")).to_have_text("Finished")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("main")).to_contain_text("No saved views yet.")


def test_columns_are_selected_and_the_list_is_exported(visit: Visit) -> None:
    page = signed_in(visit)
    done = launched(page, CLEAR, "completed")
    page.goto("/runs/?status=completed")
    page.click("#choose-columns summary")
    page.uncheck("#choose-columns [value=by]")
    page.fill("#column-fields", "params.threshold")
    page.click("#choose-columns button")
    head = page.locator(".runs thead")
    expect(head).to_contain_text("params.threshold")
    expect(head).not_to_contain_text("By")
    expect(page.locator("#filter-status")).to_have_value("completed")
    page.click("#export summary")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows[done]["params.threshold"] == "0.8"
    assert {row["status"] for row in rows.values()} == {"completed"}


def test_runs_are_selected_and_labelled_with_the_keyboard_alone(visit: Visit) -> None:
    page = signed_in(visit)
    run = launched(page, CLEAR, "completed")
    page.goto("/runs/?status=completed")
    page.locator(f"#row-{run} input").focus()
    page.keyboard.press("Space")
    page.locator(".bulk-bar [value=label]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Label 1 run?")
    page.locator("#bulk-label").focus()
    page.keyboard.type("Audit 2026")
    page.keyboard.press("Tab")
    page.keyboard.type("asked for by the board")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Label 1 run: “audit 2026”")
    page.get_by_role("link", name="Back to runs").click()
    expect(page.locator(f"#row-{run} .label")).to_have_text("audit 2026")
    page.locator(f"#row-{run} .label").click()
    expect(page.locator(".runs tbody tr")).to_have_count(1)
    expect(page.locator("#filter-label")).to_have_value("audit 2026")


def test_all_runs_can_be_selected_and_a_selection_survives_updates(
    visit: Visit,
) -> None:
    page, other = signed_in(visit), signed_in(visit)
    launched(page, CLEAR, "completed")
    page.goto("/runs/")
    expect(page.locator("#live")).to_have_text("Live")
    page.check("[data-select-all]")
    ticked = page.locator("input[name=run]:checked").count()
    assert ticked == page.locator("input[name=run]").count()
    run = launched(other, CLEAR, "completed")
    expect(page.locator(f"#row-{run} .badge")).to_contain_text("Completed")
    expect(page.locator("input[name=run]:checked")).to_have_count(ticked)
    assert page.locator("[data-select-all]").evaluate("tick => tick.indeterminate")


def test_runs_are_cancelled_in_bulk_without_scripts_and_each_result_is_shown(
    visit: Visit,
) -> None:
    done = launched_without_scripts(visit, CLEAR, "completed")
    asking = launched_without_scripts(visit, DOUBTFUL, "waiting")
    page = signed_in(visit, java_script_enabled=False)
    page.goto("/runs/")
    for run in (done, asking):
        page.check(f"#row-{run} input")
    page.click(".bulk-bar [value=cancel]")
    expect(page.locator("h1")).to_have_text("Cancel 1 run?")
    page.fill("#bulk-reason", "the batch was wrong")
    page.click(".bulk-confirm button[type=submit]")
    expect(page.locator("h1")).to_contain_text("Cancel 2 runs")
    expect(page.locator("tr[data-ok=false]")).to_contain_text("cannot be cancelled")
    expect(page.locator("tr[data-ok=true]")).to_contain_text("Cancelled")
    page.goto(f"/runs/{asking}/")
    expect(page.locator("main")).to_contain_text("the batch was wrong")


def test_two_runs_are_compared_from_the_list(visit: Visit) -> None:
    page = signed_in(visit)
    runs = [launched(page, CLEAR, "completed"), launched(page, DOUBTFUL, "waiting")]
    page.goto("/runs/")
    for run in runs:
        page.check(f"#row-{run} input")
    page.click(".bulk-bar [value=compare]")
    expect(page.locator("h1")).to_contain_text("Compare two runs of")
    expect(page.locator("#first-difference-heading + p")).to_contain_text("A → Publish")
    expect(page.locator(".compare-decisions .compare-differs").first).to_be_visible()
    expect(page.locator(".node[data-state=only-b]").first).to_be_visible()
    expect(page.locator(".compare-values tbody tr").first).to_be_visible()


def test_decisions_link_to_their_step_and_shares_are_counted(visit: Visit) -> None:
    page = signed_in(visit)
    run = launched(page, CLEAR, "completed")
    page.goto("/decisions/")
    page.select_option("#filter-workflow", "classify-document")
    page.select_option("#filter-outcome", "taken")
    expect(page.locator(".decision-group")).not_to_have_count(0)
    expect(page.locator(".decision-group [data-taken=false]")).to_have_count(0)
    link = page.locator(f".decision-group a[href^='/runs/{run}/?at=']").first
    expect(link).to_be_visible()
    page.goto("/workflows/classify-document/")
    expect(page.locator("#durations-heading")).to_be_visible()


def test_the_list_of_decisions_grows_while_it_is_open(visit: Visit) -> None:
    watcher, actor = signed_in(visit), signed_in(visit)
    watcher.goto("/decisions/?workflow=classify-document&outcome=taken")
    expect(watcher.locator("#live")).to_have_text("Live")
    run = launched(actor, CLEAR, "completed")
    expect(
        watcher.locator(f".decision-group a[href='/runs/{run}/']").first
    ).to_be_visible()
