"""Base class of read-only admin pages that stay fast with many rows."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.access import permissions
from workflows.pages.lists.pagination import SCAN_LIMIT
from workflows.pages.query_string import uuid_in
from workflows.registry import registry

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

    from workflows.models import Run

MAX_COUNTED_ROWS = 10_000  # rows; longer lists show this number
ROWS = 50  # on one page
BY_ID = {"=id", "=run__id"}  # searched by a whole id
NO_ROWS = "Nothing was changed: the selected rows no longer exist."


class ShortPaginator(Paginator):  # type: ignore[type-arg] # generic for type checkers only
    """A paginator that counts up to MAX_COUNTED_ROWS."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, up to a limit."""
        rows: Any = self.object_list
        return len(rows.order_by().values("pk")[:MAX_COUNTED_ROWS])


class WorkflowFilter(admin.SimpleListFilter):
    """Filter by workflow, with the registered names as choices."""

    title = "workflow"
    parameter_name = "workflow_name"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002
        model_admin: Any,  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        """Return the names."""
        return [(one.name, one.name) for one in registry.list()]

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
    ) -> QuerySet[Any]:
        """Return the rows of the chosen workflow."""
        return queryset.filter(workflow_name=self.value()) if self.value() else queryset


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic for type checkers only
    """Read-only rows, for people with the permission to view the model.

    Rows of runs require the permission to read the values of their workflow, since admin
    does not redact. The structure of other runs is on their pages.
    """

    workflow = ""  # lookup of the workflow name; "": rows have no values of runs

    list_per_page = ROWS
    show_facets = admin.ShowFacets.NEVER  # facets count all rows
    paginator = ShortPaginator
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the rows that this person may read."""
        rows: QuerySet[Any] = super().get_queryset(request)
        if not self.workflow:
            return rows
        return permissions.visible(request.user, rows, self.workflow, read=True)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search a full id by its index, any other text among the newest rows."""
        field = next((f for f in self.search_fields if f in BY_ID), "")
        if field and (found := uuid_in(search_term.strip())):
            return queryset.filter(**{field.lstrip("="): found}), False
        if search_term:
            keys = queryset.order_by("-pk").values_list("pk", flat=True)
            if edge := list(keys[SCAN_LIMIT : SCAN_LIMIT + 1]):
                queryset = queryset.filter(pk__gt=edge[0])
                notice = f"Only the newest {SCAN_LIMIT:,} rows were searched."
                self.message_user(request, notice, messages.INFO)
        return super().get_search_results(request, queryset, search_term)

    def has_view_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return whether this person may view the model; auditors may view every model."""
        may = super().has_view_permission(request, obj)
        return may or permissions.can_audit(request.user)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:  # noqa: ARG002  # noqa: ARG002
        """Return False: rows are created by actions of people and workers."""
        return False

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Model | None = None,  # noqa: ARG002
    ) -> bool:
        """Return False: history is not edited."""
        return False

    def has_delete_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Model | None = None,  # noqa: ARG002
    ) -> bool:
        """Return False: runs are deleted through System, with a reason."""
        return False

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *where: Any, **more: Any
    ) -> HttpResponse | None:
        """Run the selected action; treat malformed ids as missing rows."""
        try:
            return super().response_action(request, queryset, *where, **more)
        except (ValidationError, ValueError, OverflowError):
            self.message_user(request, NO_ROWS, messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())


def run_link(run: Run | None) -> SafeString | str:
    """Return a link to the page of a run."""
    if run is None:
        return "—"
    return format_html(
        '<a href="{}">{}</a>', reverse("run", args=[run.pk]), run.short_id
    )


def as_json(value: object) -> SafeString:
    """Return a JSON value, indented."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return format_html("<pre>{}</pre>", text)
