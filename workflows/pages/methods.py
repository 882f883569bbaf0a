"""Which methods an address takes, and the page that an address of a form belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import Resolver404, resolve
from django.views.decorators.http import require_POST

if TYPE_CHECKING:
    from workflows.pages.access import View

ONLY_POSTS: Final = "only_posts"  # attribute of a view


def posts_only(view: View) -> View:
    """Answer 405 to everything but a form that was sent, and say so to `page_of`."""
    checked = require_POST(view)
    setattr(checked, ONLY_POSTS, True)
    return checked


def page_of(address: str) -> str:
    """Return the page of this site that a path, perhaps with a query, belongs to.

    That is the address itself if it can be opened; else the nearest one above it, such
    as the run's page for `/runs/<id>/cancel/`. One that leads nowhere is returned as it
    is: the page that says so is the right answer to it.
    """
    path = address.partition("?")[0]
    opens = _opens(path)
    if opens is not False:
        return address
    while path != "/" and not _opens(path):
        path = path.rstrip("/").rpartition("/")[0] + "/"
    return path


def _opens(path: str) -> bool | None:
    """Tell whether a path can be opened with GET; None if nothing is there."""
    try:
        found = resolve(path)
    except Resolver404:
        return None
    view: Any = found.func
    kind = getattr(view, "view_class", None)  # of Django's own views
    if kind is not None:
        return hasattr(kind, "get") and "get" in kind.http_method_names
    return found.url_name != "logout" and not getattr(view, ONLY_POSTS, False)
