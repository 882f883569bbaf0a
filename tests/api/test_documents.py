"""Documents through the API: uploads as a body or a form, downloads, deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings

from tests.api.conftest import Caller
from tests.support.crafted_pdfs import many_pages
from tests.support.factories import make_document, make_run, make_user
from tests.support.responses import text_of
from workflows.models import Document, Status

if TYPE_CHECKING:
    from django.contrib.auth.models import User

DOCUMENTS = "/api/v1/documents"
PDF = "application/pdf"


def upload(client: Client, content: bytes, name: str = "order.pdf") -> Any:
    return client.post(f"{DOCUMENTS}?name={name}", content, content_type=PDF)


def test_a_body_is_stored_once_and_downloaded_again(
    alice: User, api_client: Caller
) -> None:
    client, content = api_client(alice), many_pages(2)
    created = upload(client, content)
    assert created.status_code == 201, created.content
    assert created.json()["name"] == "order.pdf"
    assert created.json()["pages"] == 2
    again = upload(client, content, "other.pdf")
    assert (again.status_code, again.json()) == (200, created.json())
    address = created["Location"]
    assert client.get(address).json() == created.json()
    response: Any = client.get(f"{address}/file")
    assert b"".join(response.streaming_content) == content
    part: Any = client.get(f"{address}/file", headers={"Range": "bytes=0-3"})
    assert (part.status_code, text_of(part)) == (206, "%PDF")
    beyond = client.get(f"{address}/file", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    assert beyond["Content-Range"] == f"bytes */{len(content)}"
    assert [one["id"] for one in client.get(DOCUMENTS).json()["items"]] == [
        created.json()["id"]
    ]


def test_a_form_is_accepted_too(alice: User, api_client: Caller) -> None:
    file = SimpleUploadedFile("letter.pdf", many_pages(1), content_type=PDF)
    response = api_client(alice).post(DOCUMENTS, {"file": file})
    assert response.status_code == 201, response.content
    assert response.json()["name"] == "letter.pdf"


@pytest.mark.parametrize(
    ("content", "kind", "refusal"),
    [
        (b"no PDF", PDF, (422, "unsupported")),
        (b"", PDF, (422, "pdf.empty")),
        (b"%PDF-1.7 x", PDF, (422, "pdf.damaged")),
        (b"{}", "application/json", (422, "invalid_params")),
        (b"", "multipart/form-data; boundary=x", (422, "invalid_params")),
        (many_pages(1) + b" " * 2_000, PDF, (413, "too_large")),
    ],
)
def test_an_unusable_file_is_refused_with_its_reason(
    api_client: Caller, content: bytes, kind: str, refusal: tuple[int, str]
) -> None:
    with override_settings(MAX_UPLOAD_BYTES=2_000):
        client = api_client(make_user("alice"))
        response = client.post(DOCUMENTS, content, kind, CONTENT_TYPE=kind)
    assert (response.status_code, response.json()["code"]) == refusal
    assert not Document.objects.exists()


def test_a_document_that_a_run_needs_is_not_deleted(
    alice: User, api_client: Caller
) -> None:
    client, document = api_client(alice), make_document()
    run = make_run(status=Status.PENDING, params={"document": str(document.pk)})
    address = f"{DOCUMENTS}/{document.pk}?reason=Obsolete."
    refused = client.delete(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    run.delete()
    assert client.delete(f"{DOCUMENTS}/{document.pk}").status_code == 422
    assert client.delete(address).status_code == 204
    assert client.get(f"{DOCUMENTS}/{document.pk}").json()["code"] == (
        "document_not_found"
    )
