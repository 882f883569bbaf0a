"""Storage that fails or is slow: which callers get errors, wait, or continue."""

from __future__ import annotations

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.support.crafted_pdfs import many_pages
from tests.support.factories import make_document
from tests.support.remote_storage import RemoteStorage
from workflows.documents import local_files
from workflows.documents.local_files import LocalCopyCache, local_path_async
from workflows.documents.page_images import StoredImages
from workflows.infra.database_threads import run_in_db
from workflows.models import Document, PageImage
from workflows.runtime import RenderOptions, StorageFailed

pytestmark = pytest.mark.django_db
TIMEOUT_SECONDS = 20  # a bound for what never comes, not a wait


@pytest.fixture
def remote(settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[RemoteStorage]:
    """Store documents remotely, without local copies."""
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "tests.support.remote_storage.RemoteStorage"},
    }
    monkeypatch.setattr(local_files, "_copies", LocalCopyCache())
    monkeypatch.setattr(RemoteStorage, "kept", {})
    return RemoteStorage


class Door:
    """Holds anyone who opens a file until it is let in."""

    def __init__(self) -> None:
        """Begin closed."""
        self.reached, self.opened = threading.Event(), threading.Event()
        self.asked = 0

    def hold(self, _name: str) -> None:
        """Wait to be let in."""
        self.asked += 1
        self.reached.set()
        assert self.opened.wait(TIMEOUT_SECONDS)


def test_a_full_disk_is_reported_when_a_document_is_stored(
    alice: User, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileSystemStorage, "_save", full)
    file = SimpleUploadedFile("memo.pdf", many_pages(1))
    answer = sign_in(alice).post("/documents/", {"file": file})
    assert answer.status_code == 503
    assert "The storage of documents does not work just now" in answer.content.decode()
    assert not Document.objects.exists()


def test_a_stalled_document_does_not_block_another(
    remote: type[RemoteStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = make_document(content=b"%PDF slow"), make_document(content=b"%PDF b")
    door, copies = Door(), LocalCopyCache()

    def hold_one(name: str) -> None:
        if name == slow.file.name:
            door.hold(name)

    monkeypatch.setattr(remote, "before_opening", [hold_one])

    def read(row: Document) -> bytes:
        with copies.of(row) as path:
            return Path(path).read_bytes()

    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(read, slow) for _ in range(2)]
        assert door.reached.wait(TIMEOUT_SECONDS)
        assert read(other) == b"%PDF b"
        door.opened.set()
        assert [one.result() for one in waiting] == [b"%PDF slow"] * 2
    assert door.asked == 1, "the second waited for the first one's copy"


def test_a_failed_copy_is_reported_to_all_waiters_and_retried_by_the_next_caller(
    remote: type[RemoteStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = make_document(content=b"%PDF 1")
    copies = LocalCopyCache()

    def broken(name: str) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(remote, "before_opening", [broken])
    with pytest.raises(StorageFailed), copies.of(document):
        pass
    monkeypatch.setattr(remote, "before_opening", [])
    with copies.of(document) as path:
        assert Path(path).read_bytes() == b"%PDF 1"


@pytest.mark.django_db(transaction=True)
async def test_a_cancelled_wait_for_a_copy_releases_its_copy(
    remote: type[RemoteStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await run_in_db(make_document, "memo.pdf", b"%PDF 1")
    door, copies = Door(), LocalCopyCache(max_bytes=0)
    monkeypatch.setattr(local_files, "_copies", copies)
    monkeypatch.setattr(remote, "before_opening", [door.hold])
    given_back = threading.Event()
    make_room = copies._evict  # noqa: SLF001 - the moment in which it is let go

    def then_report() -> None:
        make_room()
        given_back.set()

    monkeypatch.setattr(copies, "_evict", then_report)

    async def read() -> None:
        async with local_path_async(document):
            raise AssertionError("it was called off")

    reading = asyncio.create_task(read())
    assert await asyncio.to_thread(door.reached.wait, TIMEOUT_SECONDS)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    door.opened.set()
    assert await asyncio.to_thread(given_back.wait, TIMEOUT_SECONDS)
    assert copies._copies == {}  # noqa: SLF001 - no one reads it, so there is no room


@pytest.mark.django_db(transaction=True)
async def test_images_delayed_by_storage_do_not_block_database_access(
    remote: type[RemoteStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = await run_in_db(make_document, "memo.pdf", many_pages(3))
    style = RenderOptions("1", dpi=72)
    await StoredImages().render(document.pk, style)
    door = Door()
    monkeypatch.setattr(remote, "before_opening", [door.hold])
    asking = [
        asyncio.create_task(StoredImages().render(document.pk, style)) for _ in range(6)
    ]
    assert await asyncio.to_thread(door.reached.wait, TIMEOUT_SECONDS)
    assert await run_in_db(PageImage.objects.count) == 1
    door.opened.set()
    assert len({found.id for (found,) in await asyncio.gather(*asking)}) == 1


def test_a_download_is_complete_although_its_copy_is_evicted(
    remote: type[RemoteStorage], alice: User, sign_in: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(local_files, "_copies", LocalCopyCache(max_bytes=0))
    large = many_pages(1) + bytes(700_000)
    document = make_document(content=large)
    client: Client = sign_in(alice)
    answer = client.get(f"/documents/{document.pk}/file")
    assert list(local_files._copies._copies) == []  # noqa: SLF001 - there is no room for it
    assert b"".join(answer.streaming_content) == large  # type: ignore[attr-defined]


def test_a_failed_image_response_is_not_cached_by_the_browser(
    alice: User, sign_in: Any
) -> None:
    document = make_document(content=b"%PDF-1.7 broken")
    answer = sign_in(alice).get(f"/documents/{document.pk}/pages/1.png")
    assert answer.status_code == 422
    assert "max-age" not in answer.headers.get("Cache-Control", "")
