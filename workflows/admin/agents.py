"""Providers, agents, prices and budgets; calls and profiles, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import JSONField
from django.utils.safestring import SafeString

from workflows.admin.audited import AuditedAdmin
from workflows.admin.read_only import ReadOnlyAdmin, run_link
from workflows.models import (
    Agent,
    AgentCall,
    Budget,
    BudgetRaise,
    Price,
    Profile,
    Provider,
)
from workflows.pages.forms.agents import KEY_DROPPED, AgentForm, ProviderForm
from workflows.pages.forms.fields import JsonField

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


class SetUpAdmin(AuditedAdmin):
    """A model with its own form, which people without change permission do not get."""

    def get_form(
        self,
        request: HttpRequest,
        obj: Model | None = None,
        change: bool = False,
        **options: Any,
    ) -> Any:
        """Return the form; the plain row without change permission."""
        if obj is not None and not self.has_change_permission(request, obj):
            options["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **options)


@admin.register(Provider)
class ProviderAdmin(SetUpAdmin):
    """Providers; API keys are write-only."""

    form = ProviderForm
    list_display = ("name", "kind", "base_url", "stored_key", "is_enabled")
    search_fields = ("name", "base_url")

    def save_model(
        self, request: HttpRequest, obj: Model, form: Any, change: bool
    ) -> None:
        """Save the row; say if that deletes the stored key."""
        super().save_model(request, obj, form, change)
        if form.drops_key:
            self.message_user(request, KEY_DROPPED, messages.WARNING)

    @admin.display(boolean=True, description="API key")
    def stored_key(self, provider: Provider) -> bool:
        """Return whether a key is stored."""
        return provider.has_key


@admin.register(Agent)
class AgentAdmin(SetUpAdmin):
    """Agents."""

    form = AgentForm
    list_display = ("name", "model", "provider", "is_default", "is_enabled")
    list_select_related = ("provider",)
    search_fields = ("name", "model")


@admin.register(Price)
class PriceAdmin(AuditedAdmin):
    """Prices per million tokens; a change does not affect past calls."""

    list_display = ("model", "per_million_in", "per_million_out")
    list_editable = ("per_million_in", "per_million_out")
    search_fields = ("model",)


@admin.register(Profile)
class ProfileAdmin(ReadOnlyAdmin):
    """Profiles; edited on the workflow page, which knows the prompts."""

    workflow = "workflow_name"
    list_display = ("name", "workflow_name", "weight", "updated_at")
    list_filter = ("workflow_name",)
    search_fields = ("name", "workflow_name")


@admin.register(Budget)
class BudgetAdmin(AuditedAdmin):
    """Spending limits."""

    list_display = ("name", "scope", "workflow_name", "tokens", "cost", "is_enabled")
    list_filter = ("scope", "is_enabled")
    exclude = ("created_at",)
    formfield_overrides: ClassVar = {JSONField: {"form_class": JsonField}}


@admin.register(BudgetRaise)
class BudgetRaiseAdmin(ReadOnlyAdmin):
    """Increases of budgets."""

    workflow = "workflow_name"
    list_display = ("budget", "by_name", "tokens", "cost", "day", "created_at")
    list_select_related = ("budget",)
    ordering = ("-id",)


@admin.register(AgentCall)
class AgentCallAdmin(ReadOnlyAdmin):
    """Calls of agents, without their content."""

    workflow = "workflow_name"
    list_display = (
        "agent_name",
        "kind",
        "page",
        "workflow_name",
        "tokens_in",
        "tokens_out",
        "cost",
        "tries",
        "status",
        "created_at",
    )
    list_filter = ("status", "kind", "created_at")
    list_select_related = ("run",)
    search_fields = ("=run__id", "agent_name", "model", "workflow_name")
    ordering = ("-id",)

    @admin.display(description="Run")
    def page(self, call: AgentCall) -> SafeString | str:
        """Return a link to the run."""
        return run_link(call.run)
