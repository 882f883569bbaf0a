"""Documents: upload, the page of a document, page images."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connections
from django.test import AsyncClient, Client

from tests.pages.test_forms import ONE_PAGE
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import make_document, make_run
from workflows.documents.local_files import LocalCopyCache
from workflows.documents.service import store_document
from workflows.documents.uploads import HashingUploadHandler, Received
from workflows.infra.database_threads import run_in_db
from workflows.models import Document, PageImage
from workflows.runtime import NotFound

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
REASON = {"reason": "sent to us by mistake"}


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def upload(page: Client, name: str, content: bytes) -> str:
    """Upload a file; return the page after the redirect."""
    file = SimpleUploadedFile(name, content)
    return page.post("/documents/", {"file": file}, follow=True).content.decode()


def test_an_empty_document_list_shows_what_to_do(page: Client) -> None:
    assert "No documents yet." in page.get("/documents/").content.decode()


def test_an_upload_redirects_to_the_page_of_the_document(
    page: Client, alice: User
) -> None:
    text = upload(page, "mine & yours.pdf", ONE_PAGE)
    assert "“mine &amp; yours.pdf” uploaded." in text
    assert "<h1>mine &amp; yours.pdf</h1>" in text
    document = Document.objects.get()
    assert (document.uploaded_by, document.page_count) == (alice, 1)
    assert f'src="/documents/{document.pk}/pages/1.png"' in text


def test_equal_content_is_stored_once(page: Client) -> None:
    upload(page, "one.pdf", ONE_PAGE)
    assert "“one.pdf” was already stored." in upload(page, "two.pdf", ONE_PAGE)
    assert Document.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "expected_text"), [(b"", "empty"), (b"just text", "is not a PDF")]
)
def test_an_unusable_file_is_refused_with_a_message(
    page: Client, content: bytes, expected_text: str
) -> None:
    answer = page.post("/documents/", {"file": SimpleUploadedFile("x.pdf", content)})
    assert answer.status_code == 422
    assert expected_text in answer.content.decode()
    assert not Document.objects.exists()


def test_a_file_that_is_too_large_is_refused_with_a_message(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_UPLOAD_BYTES", 10)
    file = SimpleUploadedFile("x.pdf", ONE_PAGE)
    answer = page.post("/documents/", {"file": file})
    assert answer.status_code == 413
    assert "The file is larger than 1e-05 MB" in answer.content.decode()
    assert not Document.objects.exists()


def test_a_form_without_a_file_asks_for_one(page: Client) -> None:
    answer = page.post("/documents/")
    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()


def test_a_page_image_can_be_cached_by_the_browser(page: Client) -> None:
    upload(page, "mine.pdf", ONE_PAGE)
    document = Document.objects.get()
    answer = page.get(f"/documents/{document.pk}/pages/1.png")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("number", [0, 2, 10**12])
def test_a_page_that_does_not_exist_is_not_found(page: Client, number: int) -> None:
    upload(page, "mine.pdf", ONE_PAGE)
    document = Document.objects.get()
    assert page.get(f"/documents/{document.pk}/pages/{number}.png").status_code == 404


def test_a_page_that_cannot_be_rendered_shows_the_reason(page: Client) -> None:
    document = make_document(content=b"%PDF-1.7 broken")
    answer = page.get(f"/documents/{document.pk}/pages/1.png")
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.content


def test_a_document_whose_file_is_missing_is_not_found(page: Client) -> None:
    document = make_document()
    document.file.delete(save=False)
    assert page.get(f"/documents/{document.pk}/file").status_code == 404


def test_the_document_list_is_paginated(page: Client) -> None:
    for number in range(52):
        make_document(f"document {number}.pdf")
    first = page.get("/documents/")
    assert first.content.decode().count('class="row-link"') == 50
    rest = page.get("/documents/", {"before": first.context["next"]})
    assert rest.content.decode().count('class="row-link"') == 2
    assert page.get("/documents/", {"before": "x"}).status_code == 404


# Several files -----------------------------------------------------------------------


def files(*named: tuple[str, bytes]) -> dict[str, list[SimpleUploadedFile]]:
    """Return the data of a form with several files."""
    return {"file": [SimpleUploadedFile(name, content) for name, content in named]}


def test_several_files_are_stored_in_one_request(page: Client) -> None:
    given = files(("one.pdf", ONE_PAGE), ("two.pdf", many_pages(2)))
    answer = page.post("/documents/", given, follow=True)
    assert answer.redirect_chain == [("/documents/", 302)]
    assert {d.name: d.page_count for d in Document.objects.all()} == {
        "one.pdf": 1,
        "two.pdf": 2,
    }


def test_a_refused_file_does_not_block_the_others(page: Client) -> None:
    given = files(("good.pdf", ONE_PAGE), ("bad.pdf", b"text"))
    answer = page.post("/documents/", given)
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "“good.pdf” uploaded." in text
    assert "“bad.pdf” is not a PDF" in text
    assert Document.objects.get().name == "good.pdf"


def test_a_client_that_accepts_json_gets_json(page: Client) -> None:
    def send(name: str, content: bytes) -> tuple[int, dict[str, Any]]:
        answer = page.post(
            "/documents/",
            files((name, content)),
            headers={"accept": "application/json"},
        )
        return answer.status_code, answer.json()

    status, message = send("one.pdf", ONE_PAGE)
    document = Document.objects.get()
    assert (status, message["errors"]) == (201, [])
    assert message["documents"][0]["url"] == f"/documents/{document.pk}/"
    status, message = send("again.pdf", ONE_PAGE)
    assert status == 200
    assert message["documents"][0]["already_stored"]
    status, message = send("x.pdf", b"text")
    assert status == 422
    assert message["errors"][0]["code"] == "unsupported"


def test_an_upload_is_hashed_in_chunks_and_never_held_in_memory(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Received] = []
    complete = HashingUploadHandler.file_complete

    def noted(handler: HashingUploadHandler, size: int) -> Received:
        kept.append(complete(handler, size))
        return kept[-1]

    monkeypatch.setattr(HashingUploadHandler, "file_complete", noted)
    upload(page, "one.pdf", ONE_PAGE)
    document = Document.objects.get()
    assert kept[0].sha256 == document.sha256 == hashlib.sha256(ONE_PAGE).hexdigest()
    with document.file.open() as kept_file:
        assert kept_file.read() == ONE_PAGE


def test_an_oversized_upload_is_discarded_while_it_is_read(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_UPLOAD_BYTES", 100_000)
    sizes: list[int] = []
    complete = HashingUploadHandler.file_complete

    def noted(handler: HashingUploadHandler, size: int) -> Received:
        file = complete(handler, size)
        sizes.append(Path(file.temporary_file_path()).stat().st_size)
        return file

    monkeypatch.setattr(HashingUploadHandler, "file_complete", noted)
    answer = page.post("/documents/", files(("x.pdf", b"%PDF-1.7" + bytes(400_000))))
    assert answer.status_code == 413
    assert sizes == [0]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd.pdf", "passwd.pdf"),
        ("C:\\Users\\me\\plan.pdf", "plan.pdf"),
        ("a\u202egpj.pdf", "agpj.pdf"),
        ("<b>.pdf", "<b>.pdf"),
    ],
)
def test_the_name_of_a_document_is_never_used_as_a_path(given: str, shown: str) -> None:
    document = store_document(given, io.BytesIO(ONE_PAGE))
    assert document.name == shown
    folder = f"documents/{document.sha256[:2]}"
    assert str(document.file.name).startswith(f"{folder}/{document.sha256}")


# Search ------------------------------------------------------------------------------


def test_documents_are_found_by_a_part_of_their_name(page: Client) -> None:
    make_document("Tide gate.pdf")
    make_document("Pilot boat.pdf")
    text = page.get("/documents/", {"q": "tide"}).content.decode()
    assert "Tide gate.pdf" in text
    assert "Pilot boat.pdf" not in text
    assert "No matching documents." in page.get("/documents/?q=%00x").content.decode()


def test_documents_are_found_by_their_uploader(page: Client, alice: User) -> None:
    make_document("mine.pdf", uploaded_by=alice)
    make_document("nobody's.pdf")
    text = page.get("/documents/", {"who": "alice"}).content.decode()
    assert "mine.pdf" in text
    assert "nobody" not in text


# One page ----------------------------------------------------------------------------


def test_a_page_is_enlarged_with_the_marks_of_its_address(
    page: Client,
) -> None:
    document = make_document(content=many_pages(3))
    url = f"/documents/{document.pk}/pages/2/"
    text = page.get(url, {"box": ["0.1,0.2,0.5,0.3", "1,1,0,0", "x"]}).content.decode()
    assert "1 highlighted area" in text
    assert '<rect x="92" y="195"' in text
    assert f'href="/documents/{document.pk}/pages/1/"' in text
    assert f'href="/documents/{document.pk}/pages/3/"' in text
    assert "zoom=1.5" in text


def test_an_enlarged_page_is_sharper_and_retains_its_marks(page: Client) -> None:
    document = make_document(content=many_pages(3))
    url = f"/documents/{document.pk}/pages/1/"
    text = page.get(url, {"zoom": "2", "box": "0.1,0.2,0.5,0.3"}).content.decode()
    assert "pages/1.png?dpi=220" in text
    assert "?box=0.1,0.2,0.5,0.3&amp;zoom=3" in text
    assert "dpi=110" in page.get(url, {"zoom": "99"}).content.decode()


@pytest.mark.parametrize("number", [0, 4, 10**12])
def test_a_page_that_does_not_exist_is_not_shown(page: Client, number: int) -> None:
    document = make_document(content=many_pages(3))
    assert page.get(f"/documents/{document.pk}/pages/{number}/").status_code == 404


def test_a_page_is_rendered_at_offered_resolutions_only(page: Client) -> None:
    document = make_document(content=many_pages(3))
    for dpi in ("220", "1200", "x"):
        page.get(f"/documents/{document.pk}/pages/1.png", {"dpi": dpi})
    kept = PageImage.objects.values_list("options", flat=True)
    assert sorted(kept) == ["format=png;dpi=110", "format=png;dpi=220"]


# Downloading -------------------------------------------------------------------------


def body(answer: Any) -> bytes:
    """Return the content of a streamed response."""
    return b"".join(answer.streaming_content)


def test_a_download_is_an_attachment_with_the_same_bytes(page: Client) -> None:
    document = make_document("mine & yours.pdf", ONE_PAGE)
    answer = page.get(f"/documents/{document.pk}/file")
    assert body(answer) == ONE_PAGE
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(ONE_PAGE))


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=10-", 10, None), ("bytes=-5", -5, None)],
)
def test_a_download_can_be_resumed(
    page: Client, asked: str, first: int, last: int | None
) -> None:
    document = make_document(content=ONE_PAGE)
    answer = page.get(f"/documents/{document.pk}/file", headers={"range": asked})
    assert answer.status_code == 206
    end = None if last is None else last + 1
    assert body(answer) == ONE_PAGE[first:end]
    assert answer.headers["Content-Range"].endswith(f"/{len(ONE_PAGE)}")


def test_a_range_outside_the_file_is_refused_and_a_malformed_one_ignored(
    page: Client,
) -> None:
    document = make_document(content=ONE_PAGE)
    url = f"/documents/{document.pk}/file"
    answer = page.get(url, headers={"range": "bytes=999999-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(ONE_PAGE)}"
    for rubbish in ("bytes=5-1-2", "lines=1-2", "bytes=-"):
        answer = page.get(url, headers={"range": rubbish})
        assert (answer.status_code, body(answer)) == (200, ONE_PAGE)


@pytest.mark.django_db(transaction=True)
async def test_a_download_is_streamed_in_chunks(alice: User) -> None:
    large = ONE_PAGE + bytes(700_000)
    document = await run_in_db(make_document, "large.pdf", large)
    client = AsyncClient()
    await client.aforce_login(alice)
    answer: Any = await client.get(f"/documents/{document.pk}/file")
    pieces = [piece async for piece in answer.streaming_content]
    assert b"".join(pieces) == large
    assert len(pieces) == 3
    await sync_to_async(connections.close_all)()  # of the thread that executes views


# Deleting ----------------------------------------------------------------------------


def test_deleting_a_document_deletes_its_file_and_images(
    page: Client, django_capture_on_commit_callbacks: Any
) -> None:
    document = make_document(content=many_pages(3))
    page.get(f"/documents/{document.pk}/pages/1.png")
    storage = document.file.storage
    names = [name_of(document), name_of(PageImage.objects.get())]
    assert all(storage.exists(name) for name in names)
    with django_capture_on_commit_callbacks(execute=True):
        answer = page.post(f"/documents/{document.pk}/delete/", REASON, follow=True)
    assert "deleted." in answer.content.decode()
    assert not Document.objects.exists()
    assert not PageImage.objects.exists()
    assert not any(storage.exists(name) for name in names)


@pytest.mark.parametrize("status", ["pending", "running", "waiting"])
def test_a_document_of_an_active_run_is_not_deleted(page: Client, status: str) -> None:
    document = make_document()
    run = make_run(status=status, params={"document": str(document.pk)})
    answer = page.post(f"/documents/{document.pk}/delete/", REASON)
    assert answer.status_code == 409
    assert f"is needed by a run that has not ended ({run}" in answer.content.decode()
    assert document.file.storage.exists(name_of(document))
    text = page.get(f"/documents/{document.pk}/").content.decode()
    assert "Can’t be deleted" in text


def test_a_document_of_finished_runs_is_deleted_after_a_warning(page: Client) -> None:
    document = make_document()
    make_run(status="completed", params={"document": str(document.pk)})
    text = page.get(f"/documents/{document.pk}/").content.decode()
    assert "Runs that use it keep their results but can’t be resumed" in text
    assert page.post(f"/documents/{document.pk}/delete/", REASON).status_code == 302


def test_a_document_is_not_deleted_by_a_link(page: Client) -> None:
    document = make_document()
    assert page.get(f"/documents/{document.pk}/delete/").status_code == 405


# Pruning -----------------------------------------------------------------------------


def prune(*options: str) -> str:
    """Return the output of `prune_media`."""
    out = io.StringIO()
    call_command("prune_media", *options, stdout=out, stderr=out)
    return out.getvalue()


def test_old_files_without_a_row_are_deleted(page: Client) -> None:
    document = make_document(content=many_pages(3))
    page.get(f"/documents/{document.pk}/pages/1.png")
    storage = document.file.storage
    orphan = storage.save("documents/zz/orphan.pdf", ContentFile(b"x" * 2000))
    young = storage.save("documents/zz/young.pdf", ContentFile(b"x"))
    hours_ago = time.time() - 7200
    os.utime(storage.path(orphan), (hours_ago, hours_ago))
    os.utime(storage.path(name_of(document)), (hours_ago, hours_ago))
    assert f"{orphan} would be removed" in prune("--dry-run")
    assert storage.exists(orphan)
    assert "1 files (2.0 kB) removed." in prune()
    assert not storage.exists(orphan)
    for name in (young, name_of(document), name_of(PageImage.objects.get())):
        assert storage.exists(name)
    storage.delete(young)


def test_an_image_without_file_is_deleted_and_a_document_reported(
    page: Client,
) -> None:
    document = make_document("lost.pdf", many_pages(3))
    page.get(f"/documents/{document.pk}/pages/1.png")
    PageImage.objects.get().file.delete(save=False)
    document.file.delete(save=False)
    assert "1 page images without a file would be removed" in prune("--dry-run")
    assert PageImage.objects.exists()
    assert "The file of “lost.pdf”" in prune()
    assert not PageImage.objects.exists()
    assert Document.objects.exists()


# Storage without paths ---------------------------------------------------------------


MEMORY = {
    **django_settings.STORAGES,
    "default": {"BACKEND": "tests.support.remote_storage.RemoteStorage"},
}


def test_everything_works_in_storage_without_paths(
    page: Client, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    settings.STORAGES = MEMORY
    upload(page, "memo.pdf", many_pages(3))
    document = Document.objects.get()
    with pytest.raises(NotImplementedError):
        _ = document.file.path
    url = f"/documents/{document.pk}"
    assert page.get(f"{url}/pages/2.png").content.startswith(b"\x89PNG")
    assert body(page.get(f"{url}/file")) == many_pages(3)
    assert "0 files" in prune("--dry-run")
    with django_capture_on_commit_callbacks(execute=True):
        page.post(f"{url}/delete/", REASON)
    assert not document.file.storage.exists(name_of(document))


def test_local_copies_are_created_once_and_removed_over_the_limit(
    settings: Any,
) -> None:
    settings.STORAGES = MEMORY
    document = make_document(content=many_pages(3))
    copies = LocalCopyCache(max_bytes=0)
    with copies.of(document) as path:
        assert Path(path).read_bytes() == many_pages(3)
        document.file.storage.delete(name_of(document))
        with copies.of(document) as same:
            assert same == path
        assert Path(path).exists(), "the file is in use"
    assert not Path(path).exists()
    fresh = Document.objects.get()
    with pytest.raises(NotFound, match="is gone from storage"), copies.of(fresh):
        pass


def name_of(row: Document | PageImage) -> str:
    """Return the name of a row's file in storage."""
    return str(row.file.name)
