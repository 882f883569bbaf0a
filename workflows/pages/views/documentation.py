"""The documentation: list and search, a document, its images; a workflow's source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.documentation import library
from workflows.pages.documentation.markdown import render as render_markdown
from workflows.pages.request_errors import answers_request_errors
from workflows.registry import registry
from workflows.system import system

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest

MAX_QUERY_LENGTH: Final = 200  # characters
MAX_SOURCE_CHARS: Final = 200_000


@require_safe
@members_only
def index(request: HtmxRequest) -> HttpResponse:
    """Show the documents by group, or what a search finds in them."""
    query = request.GET.get("q", "").replace("\x00", "")[:MAX_QUERY_LENGTH].strip()
    context = {
        "groups": library.listing(),
        "query": query,
        "found": library.search(query),
    }
    return render(request, "documentation/index.html", context)


@require_safe
@members_only
def document(request: HtmxRequest, document: str) -> HttpResponse:
    """Show a document with its table of contents."""
    page = library.page(document)
    if page is None:
        raise Http404
    return render(request, "documentation/document.html", {"page": page})


@require_safe
@members_only
def image(request: HtmxRequest, image: str) -> HttpResponse:  # noqa: ARG001 - a view
    """Return an image of the documents."""
    path = library.image(f"{image}.png")
    if path is None:
        raise Http404
    return HttpResponse(path.read_bytes(), content_type="image/png")


@require_safe
@members_only
@answers_request_errors
def source(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the docstring and the source of the module of a workflow."""
    found = system.find_workflow(name, by=request.user)
    permissions.require(
        permissions.can_view_source(request.user), "view the source of workflows"
    )
    module = sys.modules.get(registry.module_of(name))
    text = _source_of(getattr(module, "__file__", None))
    about = render_markdown(getattr(module, "__doc__", None) or "")
    context = {
        "workflow": entry(found),
        "module": getattr(module, "__name__", ""),
        "about": about,
        "source": text[:MAX_SOURCE_CHARS],
        "is_cut": len(text) > MAX_SOURCE_CHARS,
    }
    return render(request, "workflows/source.html", context)


def _source_of(path: str | None) -> str:
    """Return the text of a Python file, "" if it cannot be read."""
    if not path or not path.endswith(".py"):
        return ""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
