"""Documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows.access import permissions
from workflows.admin.read_only import ReadOnlyAdmin
from workflows.models import Document

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    """Documents; the file is served by the document page only."""

    list_display = (
        "name",
        "page",
        "content_type",
        "size",
        "page_count",
        "uploaded_by",
        "created_at",
    )
    list_select_related = ("uploaded_by",)
    search_fields = ("name", "=sha256")
    ordering = ("-id",)
    exclude = ("file",)
    readonly_fields = ("page",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        """Return the documents that this person may see."""
        visible = permissions.visible_documents(request.user).values("pk")
        rows: QuerySet[Document] = super().get_queryset(request)
        return rows.filter(pk__in=visible)

    @admin.display(description="Page")
    def page(self, document: Document) -> SafeString:
        """Return a link to the document."""
        return format_html(
            '<a href="{}">Open</a>', reverse("document", args=[document.pk])
        )
