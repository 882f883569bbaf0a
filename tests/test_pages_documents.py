"""The library: upload, one document with its pages, pictures of pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests.factories import make_document
from tests.test_forms import ONE_PAGE
from workflows.models import Document

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return Alice's browser."""
    return sign_in(alice)


def upload(page: Client, name: str, content: bytes) -> str:
    """Upload a file; return the page that follows."""
    file = SimpleUploadedFile(name, content)
    return page.post("/documents/", {"file": file}, follow=True).content.decode()


def test_an_empty_library_says_what_to_do(page: Client) -> None:
    assert "The library is empty." in page.get("/documents/").content.decode()


def test_an_upload_leads_to_the_documents_page(page: Client, alice: User) -> None:
    text = upload(page, "mine & yours.pdf", ONE_PAGE)
    assert "“mine &amp; yours.pdf” was added." in text
    assert "<h1>mine &amp; yours.pdf</h1>" in text
    document = Document.objects.get()
    assert (document.uploaded_by, document.page_count) == (alice, 1)
    assert f'src="/documents/{document.pk}/pages/1.png"' in text


def test_the_same_content_is_kept_once(page: Client) -> None:
    upload(page, "one.pdf", ONE_PAGE)
    assert "“one.pdf” was here already." in upload(page, "two.pdf", ONE_PAGE)
    assert Document.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty"), (b"just text", "is not a PDF")]
)
def test_a_file_that_cannot_be_used_gets_a_sentence(
    page: Client, content: bytes, said: str
) -> None:
    answer = page.post("/documents/", {"file": SimpleUploadedFile("x.pdf", content)})
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Document.objects.exists()


def test_a_file_that_is_too_large_gets_a_sentence(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.MAX_UPLOAD_BYTES", 10)
    text = upload(page, "x.pdf", ONE_PAGE)
    assert "larger than" in text
    assert not Document.objects.exists()


def test_a_form_without_a_file_asks_for_one(page: Client) -> None:
    answer = page.post("/documents/")
    assert answer.status_code == 422
    assert "This field is required." in answer.content.decode()


def test_a_page_is_a_picture_that_a_browser_may_keep(page: Client) -> None:
    upload(page, "mine.pdf", ONE_PAGE)
    document = Document.objects.get()
    answer = page.get(f"/documents/{document.pk}/pages/1.png")
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize("number", [0, 2, 10**12])
def test_a_page_that_is_not_there_is_not_found(page: Client, number: int) -> None:
    upload(page, "mine.pdf", ONE_PAGE)
    document = Document.objects.get()
    assert page.get(f"/documents/{document.pk}/pages/{number}.png").status_code == 404


def test_a_page_that_cannot_be_drawn_says_why(page: Client) -> None:
    document = make_document(content=b"%PDF-1.7 broken")
    answer = page.get(f"/documents/{document.pk}/pages/1.png")
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.content


def test_a_document_whose_file_is_gone_is_not_found(page: Client) -> None:
    document = make_document()
    document.file.delete(save=False)
    assert page.get(f"/documents/{document.pk}/file").status_code == 404


def test_the_library_goes_by_pages(page: Client) -> None:
    for number in range(52):
        make_document(f"document {number}.pdf")
    first = page.get("/documents/")
    assert first.content.decode().count('class="row-link"') == 50
    rest = page.get("/documents/", {"before": first.context["next"]})
    assert rest.content.decode().count('class="row-link"') == 2
    assert page.get("/documents/", {"before": "x"}).status_code == 404
