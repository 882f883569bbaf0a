"""Retention rules, the preview of deletions, and deleted runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.template.response import TemplateResponse
from django.urls import path

from workflows.access import permissions
from workflows.admin.audited import AuditedAdmin
from workflows.admin.read_only import ReadOnlyAdmin
from workflows.models import RemovedRun, Retention
from workflows.retention.preview import MAX_RUNS, preview
from workflows.retention.rules import jobs_due

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


DAYS = ("payload_days", "run_days", "decision_days")


class RetentionForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A rule; offers the known workflows."""

    workflow_name = forms.ChoiceField(label="Workflow", required=False)

    class Meta:
        model = Retention
        fields = ("workflow_name", "content_days", *DAYS)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Set the choices: workflows that are installed or have ever run."""
        super().__init__(*args, **options)
        names = permissions.names_now()
        if self.instance.pk:
            names |= {self.instance.workflow_name} - {""}
        field: Any = self.fields["workflow_name"]
        field.choices = [
            ("", "All without their own rule"),
            *((name, name) for name in sorted(names)),
        ]


@admin.register(Retention)
class RetentionAdmin(AuditedAdmin):
    """Retention rules."""

    form = RetentionForm
    list_display = ("__str__", "content_days", *DAYS)
    change_list_template = "admin/workflows/retention/change_list.html"

    def get_urls(self) -> list[Any]:
        """Add the preview of deletions."""
        shown = self.admin_site.admin_view(self.preview)
        mine = path("preview/", shown, name="workflows_retention_preview")
        return [mine, *super().get_urls()]

    def preview(self, request: HttpRequest) -> HttpResponse:
        """Show the rows and bytes that each rule would delete now."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Preview deletions",
            "rows": preview(),
            "most": MAX_RUNS,
            "jobs": jobs_due().count(),
            "opts": self.opts,
        }
        return TemplateResponse(
            request, "admin/workflows/retention/preview.html", context
        )


@admin.register(RemovedRun)
class RemovedRunAdmin(ReadOnlyAdmin):
    """Deleted runs, with the person and the reason."""

    list_display = (
        "__str__",
        "status",
        "launched_by_name",
        "completed_at",
        "removed_at",
        "removed_by_name",
        "keeps_history",
    )
    list_filter = ("keeps_history", "removed_at")
    search_fields = ("=id", "workflow_name")
    exclude = (
        "history_chain_head",
        "audit_chain_head",
        "reason",
    )  # the reason is its last audit event's
    ordering = ("-removed_at",)
