"""Documents whose pages are read on a cluster: `classify-document` on two workers."""

from __future__ import annotations

import re
from collections import Counter
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.support.workers import ended, working
from workflows.documents.service import store_document
from workflows.infra.database_threads import run_in_db
from workflows.models import LogLine, StageItem
from workflows.samples.writer import Sheet, write_pdf
from workflows.system import system

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed", "cluster"),
]


def document_of(pages: int) -> bytes:
    """Return a PDF whose pages are all marked SECRET//NOFORN."""
    sheets = []
    for page in range(1, pages + 1):
        sheet = Sheet()
        sheet.centred(40, "SECRET//NOFORN", font="label-bold", size=14)
        sheet.text(64, 120, f"This is page {page} of the report.", size=11)
        sheet.centred(810, "SECRET//NOFORN", font="label-bold", size=14)
        sheets.append(sheet)
    return write_pdf(sheets, title="Report")


@pytest.mark.parametrize(
    "pages", [12, pytest.param(300, marks=pytest.mark.slow)], ids=["short", "long"]
)
async def test_the_pages_of_a_document_are_read_by_both_workers(
    pages: int, admin: User, settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    document = await run_in_db(
        lambda: store_document("report.pdf", BytesIO(document_of(pages)), by=admin)
    )
    run = await run_in_db(
        lambda: system.execute(
            "classify-document", {"document": str(document.pk)}, by=admin
        )
    )
    async with working():
        run = await ended(run.pk)
    assert run.status == "completed", run.error_message
    assert run.result["result"]["label"] == "SECRET//NOFORN"
    items = await run_in_db(StageItem.objects.filter(run=run).count)
    assert items == pages
    lines = await run_in_db(
        lambda: [*LogLine.objects.filter(run=run).values_list("message", flat=True)]
    )
    found = [re.search(r"item \d+ .* runs on (tcp://\S+)", line) for line in lines]
    workers = Counter(match[1] for match in found if match)
    assert workers.total() == pages
    assert len(workers) == 2, "both workers have read pages"
    assert f"Page {pages}: SECRET//NOFORN" in "\n".join(lines)
