"""Documents: the library, an upload, one document with its pages, its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_http_methods, require_safe

from workflows.models import Document
from workflows.pages import access
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.runtime.errors import ProviderError
from workflows.runtime.images import page_image as drawn_page
from workflows.runtime.library import store_document
from workflows.runtime.renderings import SCREEN

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest

PAGE = 50  # documents on one page
INVALID = 422
THUMBNAILS = 40  # pages shown on a document's page


class UploadForm(forms.Form):
    """One file for the library."""

    file = forms.FileField(
        label="File",
        widget=forms.FileInput(attrs={"accept": "application/pdf,.pdf"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def list_documents(request: HtmxRequest) -> HttpResponse:
    """Show the library, and take an upload."""
    access.require(access.may_use_documents(request.user), "use documents")
    form = UploadForm()
    if request.method == "POST":
        form = UploadForm(request.POST, request.FILES)
        document = stored(request, form)
        if document is not None:
            return redirect("document", document_id=document.pk)
    context = {"form": form, **page_of_documents(request.GET.get("before", ""))}
    status = INVALID if request.method == "POST" else 200
    return render(request, "documents/list.html", context, status=status)


def stored(request: HtmxRequest, form: UploadForm) -> Document | None:
    """Return the document of an upload; None, with the reason in the form, if refused."""
    if not form.is_valid():
        return None
    given: UploadedFile[Any] = form.cleaned_data["file"]
    try:
        document = store_document(given.name or "", given, by=request.user)
    except ProviderError as refused:
        form.add_error("file", str(refused))
        return None
    known = getattr(document, "already_stored", False)
    said = "was here already" if known else "was added"
    messages.success(request, f"“{document.name}” {said}.")
    return document


def page_of_documents(before: str) -> dict[str, object]:
    """Return one page of the library, newest first."""
    rows = Document.objects.select_related("uploaded_by")
    try:
        rows = rows.filter(pk__lt=UUID(before)) if before else rows
    except ValueError:
        raise Http404 from None
    found = list(rows[: PAGE + 1])
    more = found[PAGE - 1].pk if len(found) > PAGE else None
    return {"documents": found[:PAGE], "next": more}


@require_safe
@members_only
@answers_request_errors
def document(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Show a document's pages."""
    found = guarded(request, document_id)
    count = found.page_count or 0
    context = {
        "document": found,
        "pages": range(1, min(count, THUMBNAILS) + 1),
        "hidden": max(count - THUMBNAILS, 0),
    }
    return render(request, "documents/detail.html", context)


@require_safe
@members_only
@answers_request_errors
def file(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Give the file for download: never opened by the browser as what it claims to be."""
    found = guarded(request, document_id)
    try:
        with found.file.open("rb") as content:
            response = HttpResponse(content.read(), content_type=found.content_type)
    except FileNotFoundError as error:
        raise Http404 from error
    disposition = content_disposition_header(as_attachment=True, filename=found.name)
    response["Content-Disposition"] = disposition or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response


@require_safe
@members_only
@cache_control(private=True, max_age=86_400, immutable=True)
@answers_request_errors
def page_image(request: HtmxRequest, document_id: UUID, number: int) -> HttpResponse:
    """Give one page as a picture, drawn when it is first asked for."""
    found = guarded(request, document_id)
    if not 1 <= number <= (found.page_count or 0):
        raise Http404
    try:
        image = drawn_page(found, number, SCREEN)
        with image.file.open("rb") as content:
            response = HttpResponse(content.read(), content_type=image.mime)
    except ProviderError as error:
        return HttpResponse(str(error), content_type="text/plain", status=INVALID)
    response["X-Content-Type-Options"] = "nosniff"
    return response


def guarded(request: HtmxRequest, document_id: UUID) -> Document:
    """Return a document this person may see. Raises Http404, NotAllowed."""
    access.require(access.may_use_documents(request.user), "use documents")
    return get_object_or_404(
        Document.objects.select_related("uploaded_by"), pk=document_id
    )
