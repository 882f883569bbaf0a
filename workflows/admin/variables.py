"""Variables and secrets that nodes read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin

from workflows.admin.agents import SetUpAdmin
from workflows.execution import variables
from workflows.models import Variable
from workflows.pages.forms.variables import VariableForm

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


@admin.register(Variable)
class VariableAdmin(SetUpAdmin):
    """Variables; secrets are write-only."""

    form = VariableForm
    list_display = ("name", "kind", "description", "readers", "updated_at")
    list_filter = ("is_secret",)
    search_fields = ("name", "description")

    def save_model(
        self, request: HttpRequest, obj: Model, form: Any, change: bool
    ) -> None:
        """Save the row; runs that begin in this process read it."""
        super().save_model(request, obj, form, change)
        variables.forget()

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Delete the row; runs that begin in this process do not find it."""
        super().delete_model(request, obj)
        variables.forget()

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Delete rows."""
        super().delete_queryset(request, queryset)
        variables.forget()

    @admin.display(description="Kind", ordering="is_secret")
    def kind(self, variable: Variable) -> str:
        """Return whether it is a secret."""
        return "Secret" if variable.is_secret else "Variable"

    @admin.display(description="Workflows")
    def readers(self, variable: Variable) -> str:
        """Return the workflows that may read it."""
        return ", ".join(variable.workflows) or "none"
