"""The files that a run made: list and download."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router

from workflows.api.paging import Paging, link_next
from workflows.api.representations_operations import run_file
from workflows.api.requests import ApiRequest, binary, errors, readable_run
from workflows.api.schemas_operations import RunFilePage
from workflows.documents.run_files import files_of
from workflows.errors import DocumentNotFound
from workflows.pages.documents.downloads import PDF, download
from workflows.pages.lists.pagination import forward_page
from workflows.pages.run.run_files import find_file
from workflows.runtime.errors import NotFound

router = Router(tags=["history"])


@router.get(
    "/{uuid:run_id}/files", response={200: RunFilePage, **errors(400, 403, 404)}
)
def list_files(
    request: ApiRequest, response: HttpResponse, run_id: UUID, paging: Query[Paging]
) -> Any:
    """List the files that a run made, oldest first."""
    run = readable_run(request, run_id)
    page = forward_page(files_of(run), after=paging.after_id, size=paging.limit)
    return {
        "items": [run_file(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.get(
    "/{uuid:run_id}/files/{uuid:file_id}",
    response=errors(403, 404),
    openapi_extra=binary(PDF, "application/octet-stream", partial=True),
)
def download_file(request: ApiRequest, run_id: UUID, file_id: UUID) -> HttpResponseBase:
    """Download a file that a run made, whole or a range of its bytes (`Range`)."""
    found = find_file(readable_run(request, run_id), file_id)
    try:
        return download(request, found)
    except NotFound as error:
        raise DocumentNotFound from error
