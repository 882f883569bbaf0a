"""Forms of budgets and prices."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group

from workflows.models import Agent, Budget, Price, Scope
from workflows.pages.catalog import title_of
from workflows.pages.forms.agents import TAKEN
from workflows.system import system

SCOPES = {
    Scope.RUN: "Each run by itself",
    Scope.WORKFLOW: "All runs of a workflow together, for good",
    Scope.DAY: "All runs of a day together",
}


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """What agents may take before a person is asked."""

    workflow_name = forms.ChoiceField(label="Workflow", required=False)
    tokens = forms.IntegerField(
        min_value=1,
        required=False,
        help_text="Asked and answered together. Empty: any number.",
    )
    groups = forms.MultipleChoiceField(
        label="Who may allow more",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Whoever may answer questions of the run, unless groups are ticked.",
    )

    class Meta:
        """The fields, in their order on the page."""

        model = Budget
        fields: ClassVar = [
            "name",
            "scope",
            "workflow_name",
            "tokens",
            "cost",
            "groups",
            "is_enabled",
        ]
        widgets: ClassVar = {"scope": forms.RadioSelect}
        labels: ClassVar = {
            "scope": "What it counts",
            "is_enabled": "It is kept to",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the groups there are and the workflows `by` sees, and those chosen."""
        by = kwargs.pop("by")
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        fields: dict[str, Any] = dict(self.fields)
        fields["scope"].choices = list(SCOPES.items())
        fields["cost"].label = f"Money, in {settings.CURRENCY}"
        fields["cost"].help_text = "Of models that have a price. Empty: any sum."
        known = {one.name for one in system.list_workflows(by=by)}
        names = sorted(known | ({self.instance.workflow_name} - {""}), key=title_of)
        fields["workflow_name"].choices = [
            ("", "Every workflow"),
            *((name, title_of(name)) for name in names),
        ]
        there = Group.objects.order_by("name").values_list("name", flat=True)
        groups = [*there, *(g for g in self.instance.groups if g not in there)]
        fields["groups"].choices = [(name, name) for name in groups]
        if not groups:
            fields["groups"].widget = forms.MultipleHiddenInput()


class PriceForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """What a million tokens of a model cost."""

    class Meta:
        """The fields, in their order on the page."""

        model = Price
        fields: ClassVar = ["model", "per_million_in", "per_million_out"]
        help_texts: ClassVar = {
            "model": "As agents name it. Calls keep the cost they had when they were made.",
        }
        error_messages: ClassVar = {
            "model": {"unique": "There is a price of this model already."}
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say in which currency."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name, told in (("in", "asked"), ("out", "answered")):
            label = f"A million tokens {told}, in {settings.CURRENCY}"
            self.fields[f"per_million_{name}"].label = label
        models = Agent.objects.order_by("model").values_list("model", flat=True)
        self.known_models = list(models.distinct())
        self.fields["model"].widget.attrs |= {"list": "models", "autocomplete": "off"}
