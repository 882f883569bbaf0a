"""Documents: list, uploads, pages, download and deletion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.documents.service import (
    ACTIVE_STATUSES,
    FilesNotDeleted,
    TooLarge,
    can_delete_document,
    delete_document,
    find_document,
    runs_with,
    store_document,
)
from workflows.errors import InUse, RunNotFound
from workflows.models import Document, Run
from workflows.pages.access import members_only
from workflows.pages.documents.downloads import download, page_image_response
from workflows.pages.documents.viewer import SHARPNESS, PageView
from workflows.pages.forms.fields import UploadInput
from workflows.pages.lists.documents import matching_documents
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.lists.pagination import keyset_page
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import text_in, uuid_in
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of
from workflows.runtime.errors import NotFound, ProviderError, StorageFailed
from workflows.runtime.renderings import SCREEN
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.core.files.uploadedfile import UploadedFile
    from django.http.response import HttpResponseBase

    from workflows.pages.requests import HtmxRequest

MAX_SEARCH_LENGTH = 150  # characters
CREATED, TOO_LARGE, INVALID, CONFLICT = 201, 413, 422, 409
MAX_THUMBNAILS = 40  # on a document's page
MAX_OFFERED_USERS = 200
JSON = "application/json"


class UploadForm(forms.Form):
    """Files to upload."""

    file = forms.FileField(label="Files", widget=UploadInput(several=True))


@dataclass(slots=True)
class Uploaded:
    """The results of one upload: stored documents, and errors by file name."""

    documents: list[Document] = field(default_factory=list)
    errors: list[tuple[str, ProviderError]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Return the HTTP status of the response."""
        if not self.errors:
            new = any(not one.already_stored for one in self.documents)
            return CREATED if new else 200
        if any(isinstance(error, StorageFailed) for _, error in self.errors):
            return StorageFailed.status
        too_large = all(isinstance(error, TooLarge) for _, error in self.errors)
        return TOO_LARGE if too_large else INVALID

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the JSON response."""
        return {
            "documents": [
                {
                    "id": str(one.pk),
                    "name": one.name,
                    "pages": one.page_count,
                    "size": one.size,
                    "sha256": one.sha256,
                    "already_stored": one.already_stored,
                    "url": reverse("document", args=[one.pk]),
                }
                for one in self.documents
            ],
            "errors": [
                {"name": name, "code": error.code, "message": str(error)}
                for name, error in self.errors
            ],
        }


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("upload")
def list_documents(request: HtmxRequest) -> HttpResponse:
    """Show the documents and accept uploads; respond with JSON if the client accepts it."""
    form, status = UploadForm(), 200
    if request.method == "POST":
        permissions.require(permissions.can_upload(request.user), "upload documents")
        uploaded = store_files(request)
        if JSON in request.headers.get("Accept", ""):
            return JsonResponse(uploaded.to_dict(), status=uploaded.status)
        add_messages(request, uploaded)
        if uploaded.documents and not uploaded.errors:
            return after_upload(uploaded.documents)
        form, status = invalid_form(request, uploaded)
    context = {"form": form, **documents_context(request.GET, request.user)}
    context["can_upload"] = permissions.can_upload(request.user)
    return render(request, "documents/list.html", context, status=status)


def store_files(request: HtmxRequest) -> Uploaded:
    """Store the files of an upload; an invalid file does not prevent the others."""
    uploaded = Uploaded()
    files: list[UploadedFile[Any]] = request.FILES.getlist("file")
    for index, file in enumerate(files):
        try:
            document = store_document(file.name or "", file, by=request.user)
        except StorageFailed as error:  # each other file would wait for a timeout too
            uploaded.errors += [(one.name or "", error) for one in files[index:]]
            break
        except ProviderError as error:
            uploaded.errors.append((file.name or "", error))
        else:
            uploaded.documents.append(document)
    return uploaded


def add_messages(request: HtmxRequest, uploaded: Uploaded) -> None:
    """Add a message for each stored document."""
    for one in uploaded.documents:
        result = "was already stored" if one.already_stored else "uploaded"
        messages.success(request, f"“{one.name}” {result}.")


def after_upload(documents: Sequence[Document]) -> HttpResponse:
    """Redirect to the document, or to the list after several."""
    if len(documents) > 1:
        return redirect("documents")
    return redirect("document", document_id=documents[0].pk)


def invalid_form(request: HtmxRequest, uploaded: Uploaded) -> tuple[UploadForm, int]:
    """Return the form with the errors of an upload, and the HTTP status."""
    form = UploadForm(request.POST, request.FILES)
    form.is_valid()  # adds the errors of a missing or an empty file
    if not uploaded.errors:
        return form, INVALID
    form.errors.pop("file", None)
    several = len(uploaded.errors) + len(uploaded.documents) > 1
    for name, error in uploaded.errors:
        form.add_error("file", f"“{name}”: {error}" if several else str(error))
    return form, uploaded.status


def documents_context(query: Mapping[str, str], me: User) -> dict[str, object]:
    """Return a page of the matching documents, newest first, as template context."""
    search = text_in(query, "q", MAX_SEARCH_LENGTH)
    who = text_in(query, "who", MAX_SEARCH_LENGTH)
    visible = permissions.visible_documents(me)
    rows = matching_documents(me, search, who)
    uploaders = visible.order_by().values("uploaded_by")
    others = User.objects.filter(pk__in=uploaders).exclude(pk=me.pk)
    before = query.get("before", "")
    key = uuid_in(before)
    if before and key is None:
        raise Http404
    page = keyset_page(rows, before=key)
    return {
        "documents": page.rows,
        "next": page.after,
        "before": before,
        "search": search,
        "who": who,
        "me": me,
        "people": others[:MAX_OFFERED_USERS],
    }


@require_safe
@members_only
@answers_request_errors
def document(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Show a document with its pages and runs."""
    return detail(request, find_document(document_id, by=request.user))


def detail(request: HtmxRequest, found: Document, status: int = 200) -> HttpResponse:
    """Return the page of a document."""
    count = found.page_count or 0
    runs = permissions.visible(request.user, runs_with(found))
    context = {
        "document": found,
        "can_delete": can_delete_document(found, by=request.user),
        "pages": range(1, min(count, MAX_THUMBNAILS) + 1),
        "hidden": max(count - MAX_THUMBNAILS, 0),
        "beyond": MAX_THUMBNAILS + 1,
        "runs": redacted_for(
            request.user, runs.order_by("-id").defer("params", "result", "graph")[:5]
        ),
        "run_count": runs.count(),
        "is_needed": runs.filter(status__in=ACTIVE_STATUSES).exists(),
    }
    return render(request, "documents/detail.html", context, status=status)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Delete a document permanently; 409 while an unfinished run uses it."""
    found = find_document(document_id, by=request.user)
    permissions.require(
        can_delete_document(found, by=request.user), "delete this document"
    )
    try:
        delete_document(found, by=request.user, reason=reason_of(request))
    except InUse as error:
        messages.error(request, str(error))
        return detail(request, found, CONFLICT)
    except FilesNotDeleted as error:
        messages.warning(request, str(error))
    else:
        messages.success(request, f"“{found.name}” deleted.")
    return redirect("documents")


@require_safe
@members_only
@answers_request_errors
def viewer(request: HtmxRequest, document_id: UUID, number: int) -> HttpResponse:
    """Show one page large, with the markings that the query names."""
    found = find_document(document_id, by=request.user)
    if not 1 <= number <= (found.page_count or 0):
        raise Http404
    view = PageView.read(found, number, request.GET, run_of(request))
    return render(request, "documents/viewer.html", {"view": view, "document": found})


def run_of(request: HtmxRequest) -> Run | None:
    """Return the run whose markings are requested, None if the user may not read it."""
    try:
        run = system.find_run(UUID(request.GET.get("run", "")), by=request.user)
    except (ValueError, RunNotFound):
        return None
    return run if permissions.can_read(request.user, run.workflow_name) else None


@require_safe
@members_only
@answers_request_errors
def file(request: HtmxRequest, document_id: UUID) -> HttpResponseBase:
    """Stream the file for download."""
    found = find_document(document_id, by=request.user)
    try:
        return download(request, found)
    except NotFound as error:
        raise Http404 from error


@require_safe
@members_only
@answers_request_errors
def page_image(request: HtmxRequest, document_id: UUID, number: int) -> HttpResponse:
    """Return one page as an image, rendered on the first request."""
    found = find_document(document_id, by=request.user)
    if not 1 <= number <= (found.page_count or 0):
        raise Http404
    requested = request.GET.get("dpi", "")
    known = SHARPNESS.values()
    dpi = next((dpi for dpi in known if str(dpi) == requested), SCREEN.dpi)
    try:
        return page_image_response(found, number, dpi)
    except ProviderError as error:
        status = getattr(error, "status", INVALID)
        return HttpResponse(str(error), content_type="text/plain", status=status)
