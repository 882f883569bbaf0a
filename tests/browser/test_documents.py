"""Documents in a browser: uploads with progress, the viewer by keyboard, a scan."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit, launch, sign_in, store_screenshot
from tests.support.crafted_pdfs import many_pages, one_page, written

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SCANNED = "lighthouse-memo-scan.pdf"  # has no text layer


def stored(place: Path, name: str, content: bytes) -> str:
    """Store a file to be uploaded; return its path."""
    path = place / name
    path.write_bytes(content)
    return str(path)


def test_several_files_are_uploaded_and_a_refused_one_shows_the_reason(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.goto("/documents/")
    sign_in(page)
    good = stored(tmp_path, "harbour plan.pdf", one_page(written("SECRET")))
    bad = stored(tmp_path, "notes.pdf", b"just text")
    page.set_input_files("#id_file", [good, bad])
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator(".uploads li")).to_have_count(2)
    expect(page.locator(".uploads [data-tone=bad]")).to_contain_text("is not a PDF")
    expect(page.locator("#library")).to_contain_text("harbour plan.pdf")
    store_screenshot(page, "documents-refused")


def test_a_single_upload_opens_its_page_and_keys_turn_the_pages_of_the_viewer(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.goto("/documents/")
    sign_in(page)
    page.set_input_files("#id_file", stored(tmp_path, "long.pdf", many_pages(3)))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="long.pdf")).to_be_visible()
    page.locator(".page-image-frame").first.click()
    expect(page.get_by_role("heading", name="Page 1")).to_be_visible()
    for key, heading in (("ArrowRight", "Page 2"), ("j", "Page 3"), ("k", "Page 2")):
        page.wait_for_load_state()  # before that no script handles keys
        page.keyboard.press(key)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("+")
    expect(page.locator(".viewer-zoom")).to_contain_text("150%")
    page.wait_for_load_state()
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="long.pdf")).to_be_visible()


def test_a_document_is_deleted_by_keyboard_with_the_reason(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.goto("/documents/")
    sign_in(page)
    page.set_input_files("#id_file", stored(tmp_path, "stray.pdf", many_pages(2)))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="stray.pdf")).to_be_visible()
    page.locator("#action-delete > summary").focus()
    page.keyboard.press("Enter")
    place = page.locator("#action-delete form").bounding_box()
    assert place
    assert place["x"] >= 0, "it opens within the page"
    store_screenshot(page, "document-delete")
    page.keyboard.press("Tab")
    page.keyboard.type("sent to us by mistake")
    page.keyboard.press("Enter")
    expect(page.locator("#messages")).to_contain_text("“stray.pdf” deleted.")


@pytest.mark.slow
def test_the_form_works_without_scripts(visit: Visit, tmp_path: Path) -> None:
    page = visit(java_script_enabled=False)
    page.goto("/documents/")
    sign_in(page)
    files = [
        stored(tmp_path, f"{number} of two.pdf", many_pages(number + 4))
        for number in (1, 2)
    ]
    page.set_input_files("#id_file", files)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#messages")).to_contain_text("“2 of two.pdf” uploaded.")
    expect(page.locator("#library")).to_contain_text("1 of two.pdf")


DROP = """([selector, name, size]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(size)], name, {type: "application/pdf"}));
  const event = (kind) => new DragEvent(kind, {dataTransfer: transfer, bubbles: true,
    cancelable: true});
  const place = document.querySelector(selector);
  place.dispatchEvent(event("dragover"));
  return place.dispatchEvent(event("drop"));
}"""  # whether the browser would open the file itself


def test_the_later_of_upload_and_selection_counts_and_files_can_be_dropped(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.goto("/workflows/classify-document/")
    sign_in(page)
    choice = page.locator("select[name=document]")
    file = page.locator("input[name='document:file']")
    plan = stored(tmp_path, "later plan.pdf", one_page(written("CONFIDENTIAL")))
    choice.select_option(index=1)
    file.set_input_files(plan)
    expect(choice).to_have_value("")
    choice.select_option(index=1)
    assert file.evaluate("input => input.files.length") == 0
    assert page.evaluate(DROP, ["h1", "beside.pdf", 10]) is False
    assert file.evaluate("input => input.files.length") == 0
    assert page.evaluate(DROP, [".upload label", "dropped.pdf", 10]) is False
    assert file.evaluate("input => input.files[0].name") == "dropped.pdf"
    expect(choice).to_have_value("")
    store_screenshot(page, "launch-dropped")
    page.click("#launch button[type=submit]")
    expect(page.locator("#launch .errors")).to_contain_text("is not a PDF")
    assert page.evaluate(DROP, [".upload", "huge.pdf", 100_000_001]) is False
    expect(page.locator("#launch .errors")).to_have_text(
        "“huge.pdf” is larger than 100 MB."
    )
    store_screenshot(page, "launch-too-large")
    file.set_input_files(plan)
    expect(page.locator("#launch .errors")).to_have_count(0)
    page.click("#launch button[type=submit]")
    expect(page.locator("#run-status")).to_be_visible()
    expect(page.locator("main")).to_contain_text("later plan.pdf")


@pytest.mark.slow
def test_the_result_of_a_scan_links_to_the_place_on_the_page(
    visit: Visit,
) -> None:
    pytest.importorskip("rapidocr", reason="scans need requirements-ocr.txt")
    page = visit()
    page.goto("/")
    sign_in(page)
    launch(page, SCANNED)
    page.wait_for_selector("#run-status[data-status=completed]", timeout=200_000)
    expect(page.locator("#run-result")).to_contain_text("RESTRICTED")
    expect(page.locator("#run-result .page-image-marks rect")).to_have_count(2)
    store_screenshot(page, "run-of-a-scan")
    page.locator("#run-result .marks a").first.click()
    expect(page.locator(".viewer .page-image-marks rect")).to_have_count(1)
    expect(page.locator(".viewer .page-image-marks rect")).to_be_in_viewport()
