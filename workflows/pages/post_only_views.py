"""Views that only accept POST, and the page that such a URL belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.urls import Resolver404, resolve
from django.views.decorators.http import require_POST

if TYPE_CHECKING:
    from workflows.pages.access import View

ONLY_POSTS: Final = "only_posts"  # attribute of a view


def posts_only(view: View) -> View:
    """Decorate a view to respond with 405 to other methods, and mark it for `page_of`."""
    checked = require_POST(view)
    setattr(checked, ONLY_POSTS, True)
    return checked


def page_of(address: str) -> str:
    """Return the page of this site that a path, with or without a query, belongs to.

    A path that accepts GET, or that matches no view, is returned unchanged; for any other
    the nearest path above it, such as the run's page for `/runs/<id>/cancel/`.
    """
    path = address.partition("?")[0]
    opens = _accepts_get(path)
    if opens is not False:
        return address
    while path != "/" and not _accepts_get(path):
        path = path.rstrip("/").rpartition("/")[0] + "/"
    return path


def _accepts_get(path: str) -> bool | None:
    """Return whether a path accepts GET; None if it matches no view."""
    try:
        found = resolve(path)
    except Resolver404:
        return None
    view: Any = found.func
    kind = getattr(view, "view_class", None)  # of Django's own views
    if kind is not None:
        return hasattr(kind, "get") and "get" in kind.http_method_names
    return found.url_name != "logout" and not getattr(view, ONLY_POSTS, False)
