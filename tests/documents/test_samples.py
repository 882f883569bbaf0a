"""The sample documents are what they say: a clear one, a contradictory one, a scan."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from workflows.definitions.markings import Verdict, read, weigh
from workflows.documents import pdf
from workflows.samples import Sample, samples
from workflows.samples.scanner import scanned
from workflows.samples.writer import MARGIN, WIDTH, Sheet, width_of, wrapped, write_pdf


def verdict_on(sample: Sample) -> Verdict:
    return weigh([read(page) for page in pdf.read_pages(sample.data)])


def test_each_sample_has_a_few_pages_labelled_sample() -> None:
    for sample in samples():
        assert sample.name.endswith(".pdf")
        assert 2 <= pdf.count_pages(sample.data) <= 4
        assert len(sample.data) < 300_000
    for sample in samples()[:2]:
        for page in pdf.read_pages(sample.data):
            assert "Sample document" in page.text


def test_the_same_bytes_are_drawn_every_time() -> None:
    first = [sample.data for sample in samples()]
    samples.cache_clear()
    assert [sample.data for sample in samples()] == first


def test_the_first_sample_has_equal_markings_on_every_page() -> None:
    verdict = verdict_on(samples()[0])
    assert verdict.label == "CONFIDENTIAL//NOFORN"
    assert verdict.confidence >= 0.9
    assert (verdict.contradictions, verdict.unread) == ((), ())


def test_the_second_contradicts_itself_twice() -> None:
    verdict = verdict_on(samples()[1])
    assert verdict.unread == ()
    assert "The banners disagree" in verdict.contradictions[0]
    assert "higher than every banner" in verdict.contradictions[1]


def test_the_third_sample_is_an_image_without_a_text_layer() -> None:
    data = samples()[2].data
    assert verdict_on(samples()[2]).unread == (1, 2)
    drawn = Image.open(io.BytesIO(pdf.render_page(data, 1, dpi=72).data)).convert("L")
    shades = drawn.histogram()
    assert sum(shades[:110]) > 1_000, "there is writing"
    assert sum(shades[254:]) < 4_000, "on grey, grainy paper"


def test_a_scan_put_in_with_another_seed_is_another_scan() -> None:
    sheet = Sheet()
    sheet.centred(100, "RESTRICTED", font="label-bold", size=20)
    one, same, other = (scanned([sheet], title="Memo", seed=seed) for seed in (1, 1, 2))
    assert one == same != other


def test_written_files_can_be_read() -> None:
    sheet = Sheet()
    sheet.text(MARGIN, 100, r"Brackets (like these) and a \ are “kept”.", size=12)
    sheet.rule(120)
    sheet.box(MARGIN, 200, 50, 10)
    data = write_pdf([sheet, Sheet()], title="Two pages")
    first, second = pdf.read_pages(data)
    assert first.text == r"Brackets (like these) and a \ are “kept”."
    assert second.is_blank


@pytest.mark.parametrize("font", ["text", "label-bold", "typed"])
def test_lines_are_wrapped_within_their_width(font: str) -> None:
    words = "The harbour survey was made in the spring. " * 10
    lines = wrapped(words, 300, font=font, size=11)
    assert " ".join(lines) == words.strip()
    assert all(width_of(line, font, 11) <= 300 for line in lines)


def test_a_centred_line_is_in_the_middle() -> None:
    sheet = Sheet()
    sheet.centred(100, "CONFIDENTIAL", font="label-bold", size=20)
    (line,) = pdf.read_page(write_pdf([sheet], title="One"), 1).lines
    assert (line.box.left + line.box.right) / 2 == pytest.approx(0.5, abs=0.01)
    assert line.box.right - line.box.left < 200 / WIDTH
