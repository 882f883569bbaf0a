"""Pictures of pages: made once, anyone who asks, and found again by every option."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support import crafted_pdfs as crafted
from tests.support.crafted_pdfs import BODY, one_page
from tests.support.factories import make_document
from workflows.documents import pdf, reader_pools
from workflows.documents.file_kinds import Picture
from workflows.documents.page_images import StoredImages, page_image
from workflows.documents.pdf import PageOutOfRange
from workflows.infra.database_threads import run_in_db
from workflows.models import Document, PageImage
from workflows.runtime import Invalid, NotFound, RenderOptions, Unsupported
from workflows.runtime.page_ranges import InvalidPageRange

pytestmark = pytest.mark.django_db(transaction=True)
SMALL = RenderOptions(dpi=72)


@pytest.fixture
def memo() -> Document:
    """Return a document of three pages."""
    return make_document("memo.pdf", crafted.many_pages(3), page_count=3)


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of each page when it is drawn."""
    drawn: list[int] = []
    draw = reader_pools.render_page

    def noted(path: str, number: int, *rest: Any) -> Picture:
        drawn.append(number)
        return draw(path, number, *rest)

    monkeypatch.setattr(reader_pools, "render_page", noted)
    return drawn


async def test_requested_pages_are_returned_in_order_with_their_type(
    memo: Document,
) -> None:
    one, three = await StoredImages().render(memo.pk, RenderOptions("3,1", dpi=72))
    assert (one.page, three.page) == (1, 3)
    assert (one.width, one.height, one.mime) == (612, 792, "image/png")
    assert Image.open(io.BytesIO(one.data)).size == (612, 792)


async def test_an_image_is_rendered_once_and_reused(
    memo: Document, drawings: list[int]
) -> None:
    images = StoredImages()
    first = await images.render(memo.pk, SMALL)
    again = await images.render(memo.pk, SMALL)
    assert [image.id for image in again] == [image.id for image in first]
    assert drawings == [1, 2, 3]


async def test_concurrent_requests_render_an_image_once(
    memo: Document, drawings: list[int]
) -> None:
    page = RenderOptions("2", dpi=72)
    found = await asyncio.gather(
        *(StoredImages().render(memo.pk, page) for _ in range(8))
    )
    assert len({image.id for (image,) in found}) == 1
    assert drawings == [2]
    assert await run_in_db(PageImage.objects.count) == 1


async def test_every_effective_option_renders_another_image(memo: Document) -> None:
    images = StoredImages()
    styles: list[dict[str, Any]] = [
        {},
        {"format": "jpg"},
        {"rotation": 90},
        {"saturation": 0},
        {"background": "#ffff00"},
    ]
    found = [
        (await images.render(memo.pk, RenderOptions("1", dpi=72, **style)))[0]
        for style in styles
    ]
    assert len({image.data for image in found}) == len({i.id for i in found}) - 1, (
        "without colours grey is the same"
    )
    assert (found[2].width, found[2].height) == (792, 612)
    assert (found[1].mime, found[1].data[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    assert Image.open(io.BytesIO(found[4].data)).getpixel((5, 5)) == (255, 255, 0)


async def test_force_replaces_the_stored_image(
    memo: Document, drawings: list[int]
) -> None:
    images = StoredImages()
    await images.render(memo.pk, RenderOptions("1", dpi=72))
    before = await run_in_db(PageImage.objects.get)
    await images.render(memo.pk, RenderOptions("1", dpi=72, force=True))
    after = await run_in_db(PageImage.objects.get)
    assert drawings == [1, 1]
    assert after.pk == before.pk
    assert after.file.storage.exists(str(after.file.name))
    names = {str(before.file.name), str(after.file.name)}
    assert sum(after.file.storage.exists(name) for name in names) == 1


async def test_an_image_whose_file_is_missing_is_rendered_again(
    memo: Document, drawings: list[int]
) -> None:
    await StoredImages().render(memo.pk, RenderOptions("1", dpi=72))
    image = await run_in_db(PageImage.objects.get)
    image.file.storage.delete(str(image.file.name))
    (found,) = await StoredImages().render(memo.pk, RenderOptions("1", dpi=72))
    assert found.data.startswith(b"\x89PNG")
    assert drawings == [1, 1]


@pytest.mark.parametrize(
    ("pages", "error"), [("4", PageOutOfRange), ("2-1", InvalidPageRange)]
)
async def test_missing_pages_are_refused_before_rendering(
    memo: Document, drawings: list[int], pages: str, error: type[Invalid]
) -> None:
    with pytest.raises(error):
        await StoredImages().render(memo.pk, RenderOptions(pages))
    assert drawings == []


async def test_a_rendering_error_is_raised_each_time(memo: Document) -> None:
    broken = await run_in_db(make_document, "x.pdf", b"%PDF-1.7 broken")
    for _ in range(2):
        with pytest.raises(pdf.DamagedPdf):
            await StoredImages().render(broken.pk, SMALL)
    assert await run_in_db(PageImage.objects.count) == 0


async def test_a_file_without_pages_is_not_rendered() -> None:
    notes = await run_in_db(make_document, "notes.txt", b"notes", page_count=None)
    with pytest.raises(Unsupported, match="has no pages"):
        await StoredImages().render(notes.pk)


async def test_a_document_deleted_during_rendering_leaves_no_image(
    memo: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = reader_pools.render_page

    def then_deleted(*given: Any) -> Picture:
        picture = draw(*given)
        Document.objects.all().delete()
        return picture

    monkeypatch.setattr(reader_pools, "render_page", then_deleted)
    with pytest.raises(NotFound, match="deleted meanwhile"):
        await run_in_db(page_image, memo, 1, SMALL)
    storage = memo.file.storage
    folder = Path("pages") / str(memo.pk)
    assert not storage.exists(str(folder)) or storage.listdir(str(folder))[1] == []


async def test_a_cancelled_rendering_ends_its_child_and_the_next_one_works(
    memo: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, draw = threading.Event(), reader_pools.render_page

    def begin(*given: Any) -> Picture:
        begun.set()
        return draw(*given)

    monkeypatch.setattr(reader_pools, "render_page", begin)
    endless = await run_in_db(
        make_document, "endless.pdf", one_page(b"0 0 600 700 re f " * 300_000)
    )
    task = asyncio.create_task(
        StoredImages().render(endless.pk, RenderOptions("1", dpi=600))
    )
    assert await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    other = await run_in_db(make_document, "y.pdf", one_page(BODY), page_count=1)
    assert len(await StoredImages().render(other.pk, SMALL)) == 1
