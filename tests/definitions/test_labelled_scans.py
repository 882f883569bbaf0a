"""Labelled lines on scans: read as on a text layer, or asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.definitions.test_labelled_lines import faults
from tests.definitions.test_scans import Scanned
from tests.support.labelled_pages import labelled_page
from tests.support.memos import copied
from workflows.definitions.classify_document import (
    Classification,
    Params,
    classify_document,
)
from workflows.definitions.markings import read_scan, weigh
from workflows.documents.reader import Limits, Pool
from workflows.engine.testing import Outcome, run_in_memory
from workflows.runtime import FakeRuntime
from workflows.samples.writer import Sheet

pytest.importorskip("rapidocr", reason="scans are read with requirements-ocr.txt only")
pytestmark = pytest.mark.timeout(600)

MACHINES = ("copier", "old copier", "fax")


@pytest.fixture(scope="module")
def reader() -> Iterator[Pool]:
    """Give a child that reads scans."""
    pool = Pool("scan", 1, Limits(600, 4_000_000_000, 600))
    yield pool
    pool.close()


def classified(sheet: Sheet, machine: str, reader: Pool) -> Outcome[Classification]:
    """Run classify-document on a sheet as a machine hands it out."""
    documents = Scanned(reader, copied(sheet, machine, seed=1962))
    return run_in_memory(
        classify_document,
        Params(document=documents.id),
        runtime=FakeRuntime(documents=documents),
    )


def test_a_block_of_labels_on_a_scan_is_read_whole_at_the_first_view(
    reader: Pool,
) -> None:
    sheet = Sheet()
    lines = ("CLASSIFICATION: SECRET", "CAVEATS: NOFORN", "TERMS: NONE")
    for row, line in enumerate(lines):
        sheet.text(72, 150 + 20 * row, line, font="typed", size=13)
    documents = Scanned(reader, copied(sheet, "copier", seed=1962))
    pages = asyncio.run(documents.scan(documents.id, 1))
    reading = read_scan(pages)
    assert (weigh([reading]).label, reading.doubts) == ("SECRET//NOFORN", ())


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("machine", MACHINES)
def test_no_scan_of_a_generated_document_is_published_below_its_marking(
    machine: str, reader: Pool
) -> None:
    documents = [labelled_page(seed) for seed in range(5_000, 5_030)]
    outcomes = [classified(one.sheet, machine, reader) for one in documents]
    found = [
        faults(one, outcome) for one, outcome in zip(documents, outcomes, strict=True)
    ]
    assert [fault for of_one in found for fault in of_one] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_most_clear_copies_of_plain_documents_are_published(reader: Pool) -> None:
    documents = [labelled_page(seed, is_plain=True) for seed in range(6_000, 6_030)]
    outcomes = [classified(one.sheet, "copier", reader) for one in documents]
    published = [outcome for outcome in outcomes if outcome.status == "completed"]
    assert len(published) >= len(documents) / 2, "asking about everything helps nobody"
