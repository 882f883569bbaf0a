"""Providers, agents, prices and budgets, to be edited; calls, to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
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
from workflows.pages.forms.agents import AgentForm, ProviderForm
from workflows.pages.forms.fields import JsonField

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


class SetUpAdmin(AuditedAdmin):
    """What is set up by a form of its own, which those who may only look do not get."""

    def get_form(
        self,
        request: HttpRequest,
        obj: Model | None = None,
        change: bool = False,
        **options: Any,
    ) -> Any:
        """Return the form; for who may not change anything the row as it is."""
        if obj is not None and not self.has_change_permission(request, obj):
            options["form"] = forms.ModelForm
        return super().get_form(request, obj, change, **options)


@admin.register(Provider)
class ProviderAdmin(SetUpAdmin):
    """The services that run models; a key goes in and never comes out."""

    form = ProviderForm
    list_display = ("name", "kind", "base_url", "stored_key", "is_enabled")
    search_fields = ("name", "base_url")

    @admin.display(boolean=True, description="Key")
    def stored_key(self, provider: Provider) -> bool:
        """Tell whether a key is stored."""
        return provider.has_key


@admin.register(Agent)
class AgentAdmin(SetUpAdmin):
    """Models under the names that workflows use."""

    form = AgentForm
    list_display = ("name", "model", "provider", "is_default", "is_enabled")
    list_select_related = ("provider",)
    search_fields = ("name", "model")


@admin.register(Price)
class PriceAdmin(AuditedAdmin):
    """What a million tokens of a model cost; calls made before keep their cost."""

    list_display = ("model", "per_million_in", "per_million_out")
    list_editable = ("per_million_in", "per_million_out")
    search_fields = ("model",)


@admin.register(Profile)
class ProfileAdmin(ReadOnlyAdmin):
    """Profiles; they are edited on their workflow's page, which knows its prompts."""

    workflow = "workflow_name"
    list_display = ("name", "workflow_name", "weight", "updated_at")
    list_filter = ("workflow_name",)
    search_fields = ("name", "workflow_name")


@admin.register(Budget)
class BudgetAdmin(AuditedAdmin):
    """How much may be spent before a person is asked."""

    list_display = ("name", "scope", "workflow_name", "tokens", "cost", "is_enabled")
    list_filter = ("scope", "is_enabled")
    exclude = ("created_at",)
    formfield_overrides: ClassVar = {JSONField: {"form_class": JsonField}}


@admin.register(BudgetRaise)
class BudgetRaiseAdmin(ReadOnlyAdmin):
    """Every time a person allowed more."""

    workflow = "workflow_name"
    list_display = ("budget", "by_name", "tokens", "cost", "day", "created_at")
    list_select_related = ("budget",)
    ordering = ("-id",)


@admin.register(AgentCall)
class AgentCallAdmin(ReadOnlyAdmin):
    """Every call: what it took, not what was said."""

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
        """Lead to the run's page."""
        return run_link(call.run)
