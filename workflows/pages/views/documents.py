"""Documents: the library, uploads, one document with its pages, its bytes, its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.documents.images import page_image as drawn_page
from workflows.documents.service import (
    NEEDING,
    FilesLeft,
    StillNeeded,
    TooLarge,
    delete_document,
    runs_with,
    store_document,
)
from workflows.errors import RunNotFound
from workflows.models import Document, Run
from workflows.pages.access import members_only
from workflows.pages.documents.downloads import download
from workflows.pages.documents.viewer import SHARPNESS, PageView
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.fields import UploadInput
from workflows.pages.methods import posts_only
from workflows.pages.rates import limited
from workflows.pages.requests import reason_of
from workflows.runtime.errors import NotFound, ProviderError, StorageFailed
from workflows.runtime.renderings import SCREEN
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.core.files.uploadedfile import UploadedFile
    from django.http.response import HttpResponseBase

    from workflows.pages.requests import HtmxRequest

PAGE = 50  # documents on one page
LONGEST = 150  # characters of a search
CREATED, TOO_LARGE, INVALID, CONFLICT = 201, 413, 422, 409
THUMBNAILS = 40  # pages shown on a document's page
JSON = "application/json"


class UploadForm(forms.Form):
    """Files for the library."""

    file = forms.FileField(label="Files", widget=UploadInput(several=True))


@dataclass(slots=True)
class Uploaded:
    """What became of the files of one upload."""

    documents: list[Document] = field(default_factory=list)
    errors: list[tuple[str, ProviderError]] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Return the status of the answer."""
        if not self.errors:
            new = any(not one.already_stored for one in self.documents)
            return CREATED if new else 200
        if any(isinstance(error, StorageFailed) for _, error in self.errors):
            return StorageFailed.status
        too_large = all(isinstance(error, TooLarge) for _, error in self.errors)
        return TOO_LARGE if too_large else INVALID

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
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
    """Show the library, and take uploads; whoever accepts JSON gets that for an answer."""
    form, status = UploadForm(), 200
    if request.method == "POST":
        permissions.require(permissions.may_upload(request.user), "add documents")
        uploaded = stored(request)
        if JSON in request.headers.get("Accept", ""):
            return JsonResponse(uploaded.told(), status=uploaded.status)
        tell(request, uploaded)
        if uploaded.documents and not uploaded.errors:
            return after_upload(uploaded.documents)
        form, status = refused(request, uploaded)
    context = {"form": form, **library(request.GET, request.user)}
    context["may_upload"] = permissions.may_upload(request.user)
    return render(request, "documents/list.html", context, status=status)


def stored(request: HtmxRequest) -> Uploaded:
    """Store every file of an upload; one that is refused does not hold up others."""
    uploaded = Uploaded()
    given: list[UploadedFile[Any]] = request.FILES.getlist("file")
    for place, file in enumerate(given):
        try:
            document = store_document(file.name or "", file, by=request.user)
        except StorageFailed as error:  # each of the others would wait for it as well
            uploaded.errors += [(one.name or "", error) for one in given[place:]]
            break
        except ProviderError as error:
            uploaded.errors.append((file.name or "", error))
        else:
            uploaded.documents.append(document)
    return uploaded


def tell(request: HtmxRequest, uploaded: Uploaded) -> None:
    """Say what was stored."""
    for one in uploaded.documents:
        said = "was here already" if one.already_stored else "was added"
        messages.success(request, f"“{one.name}” {said}.")


def after_upload(documents: Sequence[Document]) -> HttpResponse:
    """Lead to the document, or to the library where there are several."""
    if len(documents) > 1:
        return redirect("documents")
    return redirect("document", document_id=documents[0].pk)


def refused(request: HtmxRequest, uploaded: Uploaded) -> tuple[UploadForm, int]:
    """Return the form with what was wrong, and the status."""
    form = UploadForm(request.POST, request.FILES)
    form.is_valid()  # says that there is no file, or an empty one
    if not uploaded.errors:
        return form, INVALID
    form.errors.pop("file", None)
    several = len(uploaded.errors) + len(uploaded.documents) > 1
    for name, error in uploaded.errors:
        form.add_error("file", f"“{name}”: {error}" if several else str(error))
    return form, uploaded.status


def library(query: Mapping[str, str], me: User) -> dict[str, object]:
    """Return one page of the documents that match, newest first."""
    search, who = _text(query, "q"), _text(query, "who")
    seen = permissions.visible_documents(me)
    rows = seen.select_related("uploaded_by")
    if search:
        rows = rows.filter(name__icontains=search)
    if who:
        rows = rows.filter(uploaded_by__username=who)
    people = seen.order_by().values("uploaded_by")
    before = query.get("before", "")
    try:
        rows = rows.filter(pk__lt=UUID(before)) if before else rows
    except ValueError:
        raise Http404 from None
    found = list(rows[: PAGE + 1])
    return {
        "documents": found[:PAGE],
        "next": found[PAGE - 1].pk if len(found) > PAGE else None,
        "before": before,
        "search": search,
        "who": who,
        "me": me,
        "people": User.objects.filter(pk__in=people).exclude(pk=me.pk)[:200],
    }


def _text(query: Mapping[str, str], name: str) -> str:
    """Return a text from a query; PostgreSQL's text cannot hold NUL."""
    return query.get(name, "").replace("\x00", "").strip()[:LONGEST]


@require_safe
@members_only
@answers_request_errors
def document(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Show a document's pages."""
    return detail(request, guarded(request, document_id))


def detail(request: HtmxRequest, found: Document, status: int = 200) -> HttpResponse:
    """Return a document's page."""
    count = found.page_count or 0
    runs = permissions.visible(request.user, runs_with(found))
    context = {
        "document": found,
        "may_delete": may_delete(request, found),
        "pages": range(1, min(count, THUMBNAILS) + 1),
        "hidden": max(count - THUMBNAILS, 0),
        "beyond": THUMBNAILS + 1,
        "runs": runs.order_by("-id").defer("params", "result", "graph")[:5],
        "run_count": runs.count(),
        "is_needed": runs.filter(status__in=NEEDING).exists(),
    }
    return render(request, "documents/detail.html", context, status=status)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, document_id: UUID) -> HttpResponse:
    """Remove a document for good, with the reason, unless a run still needs it."""
    found = guarded(request, document_id)
    permissions.require(may_delete(request, found), "delete this document")
    try:
        delete_document(found, by=request.user, reason=reason_of(request))
    except StillNeeded as refusal:
        messages.error(request, str(refusal))
        return detail(request, found, CONFLICT)
    except FilesLeft as left:
        messages.warning(request, str(left))
    else:
        messages.success(request, f"“{found.name}” was deleted.")
    return redirect("documents")


def may_delete(request: HtmxRequest, found: Document) -> bool:
    """Tell whether this person may remove a document.

    Their own, or as one who operates whatever used it; in no case one that was given to
    runs they may not see: a refusal that named no other reason would tell of those.
    """
    sight = permissions.permissions_for(request.user)
    used = list(found.uses.values_list("workflow_name", flat=True))
    if not all(name in sight.see for name in used):
        return False
    operates = sight.operate.is_any and all(name in sight.operate for name in used)
    return operates or found.uploaded_by_id == request.user.pk


@require_safe
@members_only
@answers_request_errors
def viewer(request: HtmxRequest, document_id: UUID, number: int) -> HttpResponse:
    """Show one page large, with the places marked that the address names."""
    found = guarded(request, document_id)
    if not 1 <= number <= (found.page_count or 0):
        raise Http404
    view = PageView.read(found, number, request.GET, run_of(request))
    return render(request, "documents/viewer.html", {"view": view, "document": found})


def run_of(request: HtmxRequest) -> Run | None:
    """Return the run whose markings are asked for, if this person may read them."""
    try:
        run = system.find_run(UUID(request.GET.get("run", "")), by=request.user)
    except (ValueError, RunNotFound):
        return None
    return run if permissions.may_read(request.user, run.workflow_name) else None


@require_safe
@members_only
@answers_request_errors
def file(request: HtmxRequest, document_id: UUID) -> HttpResponseBase:
    """Give the file for download, a piece at a time."""
    found = guarded(request, document_id)
    try:
        return download(request, found)
    except NotFound as error:
        raise Http404 from error


@require_safe
@members_only
@answers_request_errors
def page_image(request: HtmxRequest, document_id: UUID, number: int) -> HttpResponse:
    """Give one page as a picture, drawn when it is first asked for."""
    found = guarded(request, document_id)
    if not 1 <= number <= (found.page_count or 0):
        raise Http404
    asked = request.GET.get("dpi", "")
    dpi = next((dpi for dpi in SHARPNESS.values() if str(dpi) == asked), SCREEN.dpi)
    try:
        image, data = drawn_page(found, number, replace(SCREEN, dpi=dpi))
    except ProviderError as error:
        status = getattr(error, "status", INVALID)
        return HttpResponse(str(error), content_type="text/plain", status=status)
    response = HttpResponse(data, content_type=image.mime)
    response["X-Content-Type-Options"] = "nosniff"
    patch_cache_control(response, private=True, max_age=86_400, immutable=True)
    return response


def guarded(request: HtmxRequest, document_id: UUID) -> Document:
    """Return a document this person may see. Raises Http404."""
    seen = permissions.visible_documents(request.user)
    return get_object_or_404(seen.select_related("uploaded_by"), pk=document_id)
