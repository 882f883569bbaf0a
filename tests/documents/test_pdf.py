"""PDFs are read safely, whatever people upload, and every refusal is a sentence."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support import crafted_pdfs as crafted
from tests.support.crafted_pdfs import BODY, one_page, written
from workflows.documents import pdf
from workflows.documents.pdf import limits
from workflows.runtime import Box, Invalid
from workflows.samples import samples

# What cannot be opened ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (b"", pdf.EmptyFile, "empty"),
        (b"Dear Sir or Madam", pdf.NotAPdf, "not a PDF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), pdf.NotAPdf, "not a PDF"),
        (one_page(BODY)[:300], pdf.DamagedPdf, "part of the file is missing"),
        (b"%PDF-1.7\nnothing more\n%%EOF", pdf.DamagedPdf, "damaged"),
        (crafted.encrypted(b"tide"), pdf.EncryptedPdf, "password"),
        (crafted.without_pages(), pdf.NoPages, "no pages"),
        (crafted.many_pages(pdf.MAX_PAGES + 1), pdf.TooManyPages, "5,001 pages"),
    ],
    ids=[
        "empty",
        "text",
        "picture",
        "cut short",
        "damaged",
        "encrypted",
        "without pages",
        "too long",
    ],
)
def test_what_cannot_be_opened_is_refused_in_a_sentence(
    data: bytes, error: type[pdf.PdfError], sentence: str
) -> None:
    for read in (pdf.count_pages, pdf.read_pages):
        with pytest.raises(error) as raised:
            read(data)
        assert type(raised.value) is error
        assert sentence in str(raised.value)
        assert str(raised.value).endswith(".")


def test_every_kind_of_refusal_has_a_distinct_code() -> None:
    kinds = pdf.PdfError.__subclasses__()
    assert len({kind.code for kind in kinds}) == len(kinds) > 5
    assert all(issubclass(kind, Invalid) for kind in kinds)


def test_a_pdf_that_only_forbids_printing_opens_without_a_password() -> None:
    assert pdf.count_pages(crafted.encrypted(b"")) == 1


def test_a_file_on_disk_is_read_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "any name at all"
    path.write_bytes(crafted.many_pages(3))
    assert pdf.count_pages(path) == 3
    assert pdf.read_page(path, 3).text == pdf.read_page(path.read_bytes(), 3).text


def test_three_hundred_pages_are_read_one_by_one_in_order() -> None:
    pages = pdf.read_pages(crafted.many_pages(300))
    assert [page.number for page in pages] == list(range(1, 301))


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_page_that_does_not_exist_is_refused(number: int) -> None:
    with pytest.raises(pdf.PageOutOfRange, match=f"no page {number}: the PDF has 1"):
        pdf.read_page(one_page(BODY), number)
    with pytest.raises(pdf.PageOutOfRange):
        pdf.render_page(one_page(BODY), number)


@given(st.binary(max_size=400), st.integers(0, 500))
def test_a_corrupted_file_yields_pages_or_a_refusal(noise: bytes, at: int) -> None:
    whole = one_page(BODY)
    damaged = whole[:at] + noise + whole[at + len(noise) :]
    try:
        pages = len(pdf.read_pages(damaged))
    except pdf.PdfError as refusal:
        pages = 0 if str(refusal) else -1
    assert pages in (0, 1)


# Text --------------------------------------------------------------------------------


def test_words_have_their_positions_on_the_page() -> None:
    page = pdf.read_page(one_page(written("TOP SECRET") + BODY), 1)
    assert [line.text for line in page.lines] == [
        "TOP SECRET",
        "The harbour survey was made in spring.",
    ]
    top, secret = page.lines[0].words
    assert top.box.right < secret.box.left
    assert 0.02 < top.box.top < top.box.bottom < 0.05
    assert page.lines[0].box == Box.around([top.box, secret.box])
    assert (page.width, page.height) == (612, 792)


@pytest.mark.parametrize(
    ("attributes", "sides"),
    [
        (b"/Rotate 90", (0.95, 0.44, 1.0, 0.56)),
        (b"/Rotate 180", (0.44, 0.95, 0.56, 1.0)),
        (b"/Rotate 270", (0.0, 0.44, 0.05, 0.56)),
        (b"/CropBox[50 500 562 780]", (0.42, 0.02, 0.57, 0.08)),
    ],
)
def test_places_follow_the_rotation_and_cropping_of_a_page(
    attributes: bytes, sides: tuple[float, float, float, float]
) -> None:
    page = pdf.read_page(one_page(written("SECRET"), attributes=attributes), 1)
    box = page.lines[0].box
    left, top, right, bottom = sides
    assert left <= box.left < box.right <= right
    assert top <= box.top < box.bottom <= bottom


def test_text_outside_the_visible_page_is_not_read() -> None:
    cropped = one_page(written("SECRET") + BODY, attributes=b"/CropBox[0 0 612 700]")
    assert "SECRET" not in pdf.read_page(cropped, 1).text


def test_a_stamp_laid_over_the_page_is_read_and_a_hidden_one_is_not() -> None:
    drawing = crafted.stream(
        b"BT /F 30 Tf 5 10 Td (TOP SECRET) Tj ET",
        b"/Type/XObject/Subtype/Form/BBox[0 0 220 40]/Resources<</Font<</F 5 0 R>>>>",
    )

    def stamped(flags: int) -> str:
        stamp = (
            b"<</Type/Annot/Subtype/Stamp/Rect[200 700 420 740]/F %d/AP<</N 7 0 R>>>>"
        )
        more = [stamp % flags, drawing]
        return pdf.read_page(
            one_page(BODY, attributes=b"/Annots[6 0 R]", more=more), 1
        ).text

    visible, hidden = 4, 2
    assert "TOP SECRET" in stamped(visible)
    assert "TOP SECRET" not in stamped(hidden)


def test_a_scan_has_no_lines_and_an_empty_page_is_blank() -> None:
    scan = pdf.read_page(samples()[2].data, 1)
    assert scan.lines == ()
    assert not scan.is_blank
    blank = pdf.read_page(one_page(b""), 1)
    assert blank.lines == ()
    assert blank.is_blank


def test_extracted_text_can_be_stored_for_any_font_encoding() -> None:
    mapping = crafted.stream(
        b"begincmap 1 begincodespacerange <00> <ff> endcodespacerange "
        b"5 beginbfchar <41> <0000> <42> <d800> <43> <d83dde00> <44> <200b> <45> <0045> "
        b"endbfchar endcmap"
    )
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>"
    data = crafted.file_of(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>",
        crafted.stream(written("ABCDE")),
        font,
        mapping,
    )
    text = pdf.read_page(data, 1).text
    assert "E" in text
    assert "\0" not in text
    assert text.encode("utf-8").decode() == text


# Pictures ----------------------------------------------------------------------------


def test_a_page_is_rendered_at_the_requested_resolution() -> None:
    picture = pdf.render_page(one_page(BODY), 1, dpi=100)
    assert (picture.width, picture.height, picture.dpi) == (850, 1100, 100)
    drawn = Image.open(io.BytesIO(picture.data))
    assert (drawn.format, drawn.size) == ("PNG", (850, 1100))
    shades = drawn.convert("L").histogram()
    assert sum(shades[:50]) > 100, "there is ink"
    assert shades[255] > 900_000, "on white paper"


@pytest.mark.parametrize("dpi", [-10, 71, 1201, 10**12])
def test_absurd_dots_per_inch_are_refused(dpi: int) -> None:
    with pytest.raises(Invalid, match=f"dpi cannot be {dpi}: use 72 to 1200"):
        pdf.render_page(one_page(BODY), 1, dpi=dpi)


@pytest.mark.parametrize("box", [b"[0 0 200000 200000]", b"[0 0 500000 1]"])
def test_a_huge_page_is_rendered_at_a_lower_resolution(box: bytes) -> None:
    picture = pdf.render_page(one_page(BODY, box=box), 1, dpi=300)
    assert picture.width * picture.height <= 25_100_000
    assert max(picture.width, picture.height) <= 16_000
    assert picture.dpi < 300


@pytest.mark.parametrize(
    "box", [b"[0 0 0 0]", b"[612 792 0 0]", b"[0 0 9999999999 9999999999]"]
)
def test_an_impossible_page_size_does_not_matter(box: bytes) -> None:
    assert pdf.read_page(one_page(BODY, box=box), 1).text.startswith("The harbour")
    assert pdf.render_page(one_page(BODY, box=box), 1).width > 0


def test_an_image_that_would_fill_the_memory_is_refused() -> None:
    bomb = crafted.image(
        b"/Width 30000/Height 30000/ColorSpace/DeviceGray/BitsPerComponent 1",
        bytes(30000 * 30000 // 8),
    )
    data = one_page(b"/I Do", resources=b"/XObject<</I 6 0 R>>", more=[bomb])
    for use in (pdf.read_page, pdf.render_page):
        with pytest.raises(pdf.PageTooComplex, match="image of 30,000 by 30,000"):
            use(data, 1)


def test_drawings_within_drawings_without_end_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_NESTED", 400)

    def drawing(number: int, content: bytes) -> bytes:
        inner = b"/XObject<</X %d 0 R>>/Font<</F 5 0 R>>" % (number + 1)
        facts = b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]/Resources<<%s>>" % inner
        return crafted.stream(content, facts)

    nested = [drawing(number, b"/X Do " * 8) for number in range(6, 9)]
    data = one_page(
        b"/X Do", resources=b"/XObject<</X 6 0 R>>", more=[*nested, drawing(9, BODY)]
    )
    with pytest.raises(pdf.PageTooComplex, match="within other drawings"):
        pdf.read_page(data, 1)


def test_rendering_a_page_times_out() -> None:
    endless = one_page(b"0 0 600 700 re f " * 300_000)
    with pytest.raises(pdf.PageTooComplex, match=r"longer than 0\.1 s"):
        pdf.render_page(endless, 1, seconds=0.1)


def test_a_page_with_more_text_than_any_page_is_refused() -> None:
    data = one_page(b"BT /F 1 Tf 72 700 Td " + b"(harbour) Tj " * 80_000 + b"ET")
    with pytest.raises(pdf.PageTooComplex, match="560,000 characters"):
        pdf.read_page(data, 1)


# Threads -----------------------------------------------------------------------------


def test_many_threads_can_read_and_render_concurrently() -> None:
    data, start = crafted.many_pages(4), threading.Barrier(4)

    def work(number: int) -> tuple[str, int]:
        start.wait()
        return pdf.read_page(data, number).text, pdf.render_page(
            data, number, dpi=72
        ).width

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, [1, 2, 3, 4]))
    assert len(set(done)) == 1
