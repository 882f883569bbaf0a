"""Documents: list, upload, download, page images, deletion."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from ninja import Query, Router, Schema
from ninja import Status as Reply
from pydantic import Field

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.representations_operations import document
from workflows.api.requests import ApiRequest, binary, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_operations import DocumentOut, DocumentPage
from workflows.documents.service import (
    FilesNotDeleted,
    can_delete_document,
    delete_document,
    find_document,
    store_document,
)
from workflows.errors import DocumentNotFound, InvalidParams, PageNotFound
from workflows.models import Document
from workflows.pages.documents.downloads import PDF, download, page_image_response
from workflows.pages.documents.viewer import SHARPNESS
from workflows.pages.lists.documents import matching_documents
from workflows.pages.lists.pagination import keyset_page
from workflows.pages.query_string import clean_text
from workflows.pages.rate_limits import count
from workflows.runtime.errors import NotFound
from workflows.runtime.renderings import SCREEN

router = Router(tags=["documents"])
FORM = "multipart/form-data"
OFFERED = ", ".join(map(str, sorted(SHARPNESS.values())))
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            PDF: {"schema": {"type": "string", "format": "binary"}},
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
        },
    }
}


class DocumentQuery(Schema):
    """Filters of documents."""

    name: str = Field("", max_length=150, description="Text in the name.")
    uploaded_by: str = Field("", max_length=150, description="User name.")


@router.get("", response={200: DocumentPage, **errors(400)})
def list_documents(
    request: ApiRequest,
    response: HttpResponse,
    query: Query[DocumentQuery],
    paging: Query[Paging],
) -> Any:
    """List the documents that you may see, newest first."""
    name, who = clean_text(query.name), clean_text(query.uploaded_by)
    rows = matching_documents(request.user, name, who)
    page = keyset_page(rows, before=paging.after_id, size=paging.limit)
    return {
        "items": [document(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


class UploadQuery(Schema):
    """The name of an upload."""

    name: str = Field(
        "", max_length=200, description="File name, unless a form has the file."
    )


@router.post(
    "",
    response={200: DocumentOut, 201: DocumentOut, **errors(403, 413)},
    openapi_extra=UPLOAD_BODY,
)
def upload_document(
    request: ApiRequest, response: HttpResponse, query: Query[UploadQuery]
) -> Any:
    """Upload a PDF file, as the body or as the field `file` of a form.

    The same file uploaded again is answered with 200 and the same document.
    """
    permissions.require(permissions.can_upload(request.user), "upload documents")
    count("upload", f"person {request.user.pk}")
    stored = _stored(request, query.name)
    response["Location"] = reverse("api:get_document", args=[stored.pk])
    return Reply(200 if stored.already_stored else 201, document(stored))


def _stored(request: ApiRequest, name: str) -> Document:
    """Store the file of a request, which is read in pieces."""
    kind = (request.content_type or "").lower()
    if kind == FORM:
        files = request.FILES.getlist("file")
        if len(files) != 1:
            raise InvalidParams({"file": ["Send one file."]})
        return store_document(name or files[0].name or "", files[0], by=request.user)
    if kind != PDF:
        raise InvalidParams(
            {"Content-Type": [f"Send {PDF}, or {FORM} with the field “file”."]}
        )
    return store_document(name, request, by=request.user)


@router.get("/{uuid:document_id}", response={200: DocumentOut, **errors(404)})
def get_document(request: ApiRequest, document_id: UUID) -> Any:
    """Get a document."""
    return document(find_document(document_id, by=request.user))


@router.get(
    "/{uuid:document_id}/file",
    response=errors(404),
    openapi_extra=binary(PDF, "application/octet-stream", partial=True),
)
def download_document(request: ApiRequest, document_id: UUID) -> HttpResponseBase:
    """Download the file, whole or a range of its bytes (`Range`)."""
    found = find_document(document_id, by=request.user)
    try:
        return download(request, found)
    except NotFound as error:
        raise DocumentNotFound from error


class ImageQuery(Schema):
    """The sharpness of an image."""

    dpi: int = Field(
        SCREEN.dpi,
        ge=1,
        le=1_000,
        description=f"One of {OFFERED}.",
    )


@router.get(
    "/{uuid:document_id}/pages/{int:number}",
    response=errors(404),
    openapi_extra=binary("image/png", "image/jpeg"),
)
def get_page_image(
    request: ApiRequest, document_id: UUID, number: int, query: Query[ImageQuery]
) -> HttpResponse:
    """Get a page as an image; the first page is 1."""
    found = find_document(document_id, by=request.user)
    pages = found.page_count or 0
    if not 1 <= number <= pages:
        raise PageNotFound(number, pages)
    if query.dpi not in SHARPNESS.values():
        raise InvalidParams({"dpi": [f"Choose one of {OFFERED}."]})
    return page_image_response(found, number, query.dpi)


@router.delete("/{uuid:document_id}", response={204: None, **errors(403, 404, 409)})
def remove_document(
    request: ApiRequest, document_id: UUID, query: Query[Reason]
) -> Any:
    """Delete a document with its file; 409 while an unfinished run needs it."""
    found = find_document(document_id, by=request.user)
    permissions.require(
        can_delete_document(found, by=request.user), "delete this document"
    )
    with suppress(FilesNotDeleted):  # logged; `prune_media` removes them
        delete_document(found, by=request.user, reason=query.reason)
    return Reply(204, None)
