"""Paused workflows: a row is added to pause one, and deleted to unpause it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin

from workflows.access import permissions
from workflows.admin.read_only import ReadOnlyAdmin
from workflows.audit.audit_events import MAX_REASON_LENGTH
from workflows.errors import ReasonMissing
from workflows.models import WorkflowPause
from workflows.registry import registry
from workflows.system import system

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest


class PauseForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A pause; offers the installed workflows."""

    workflow_name = forms.ChoiceField(label="Workflow")
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=forms.Textarea,
        required=False,
        help_text="Optional where the workflow does not ask for one.",
    )

    class Meta:
        model = WorkflowPause
        fields = ("workflow_name", "reason")

    def __init__(self, *args: Any, **options: Any) -> None:
        """Set the choices."""
        super().__init__(*args, **options)
        field: Any = self.fields["workflow_name"]
        field.choices = [(one.name, one.title) for one in registry.list()]

    def clean(self) -> dict[str, Any]:
        """Require the reason as the workflow does."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        name = given.get("workflow_name", "")
        if not given.get("reason") and registry.asks_reason(name, "pause workflow"):
            self.add_error("reason", str(ReasonMissing()))
        return given


@admin.register(WorkflowPause)
class WorkflowPauseAdmin(ReadOnlyAdmin):
    """Paused workflows; System pauses and unpauses, with an audit event."""

    workflow = "workflow_name"
    list_display = ("workflow_name", "paused_by_name", "reason", "paused_at")
    search_fields = ("workflow_name", "reason")
    ordering = ("workflow_name",)

    def get_form(
        self,
        request: HttpRequest,
        obj: Any | None = None,
        change: bool = False,
        **options: Any,
    ) -> type[forms.ModelForm[Any]]:
        """Return the form of a new pause, and the read-only fields of an existing one."""
        if obj is None:
            options["form"] = PauseForm
        return super().get_form(request, obj, change, **options)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fields that a person enters, or all of an existing pause."""
        if obj is None:
            return ("workflow_name", "reason")
        return super().get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        """Return whether this person may operate the runs of any workflow."""
        return permissions.permissions_for(request.user).operate.is_any

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        """Return whether this person may operate the runs of the workflow."""
        if obj is None:
            return self.has_add_permission(request)
        return permissions.can_pause_workflow(request.user, str(obj.pk))

    def save_model(
        self, request: HttpRequest, obj: Any, form: Any, change: bool
    ) -> None:
        """Pause the workflow."""
        del form, change  # a pause is never changed
        by: Any = request.user
        system.pause_workflow(obj.workflow_name, by=by, reason=obj.reason)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Unpause the workflow."""
        by: Any = request.user
        system.unpause_workflow(obj.workflow_name, by=by)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Unpause the workflows."""
        for row in queryset:
            self.delete_model(request, row)
