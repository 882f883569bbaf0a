"""Forms of budgets and prices."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group, User

from workflows.models import Agent, Budget, Price, Scope
from workflows.pages.catalog import title_of
from workflows.pages.forms.agents import TAKEN
from workflows.system import system

SCOPES = {
    Scope.RUN: "Per run",
    Scope.WORKFLOW: "Per workflow (lifetime)",
    Scope.DAY: "Per day",
    Scope.PERSON: "Per person and month",
    Scope.PERSON_DAY: "Per person and day",
}


class BudgetForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A budget: what agents may use before an approval is required."""

    workflow_name = forms.ChoiceField(label="Workflow", required=False)
    person = forms.ModelChoiceField(
        User.objects.filter(is_active=True, service_account=None),
        to_field_name="username",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text="User name, for a budget per person. Empty: each person.",
        error_messages={"invalid_choice": "There is no active user with this name."},
    )
    tokens = forms.IntegerField(
        min_value=1,
        required=False,
        help_text="Input and output tokens. Empty: unlimited.",
    )
    groups = forms.MultipleChoiceField(
        label="Approvers",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Groups that can approve an increase. None: all approvers of the run.",
    )

    class Meta:
        """Fields in display order."""

        model = Budget
        fields: ClassVar = [
            "name",
            "scope",
            "workflow_name",
            "person",
            "tokens",
            "cost",
            "groups",
            "is_enabled",
        ]
        widgets: ClassVar = {"scope": forms.RadioSelect}
        labels: ClassVar = {
            "scope": "Scope",
            "is_enabled": "Enabled",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer all groups and the workflows that `by` may see, and current values."""
        by = kwargs.pop("by")
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        fields: dict[str, Any] = dict(self.fields)
        fields["scope"].choices = list(SCOPES.items())
        if self.instance.person is not None:
            self.initial["person"] = self.instance.person.get_username()
        fields["cost"].label = f"Cost ({settings.CURRENCY})"
        fields["cost"].help_text = "Of models that have a price. Empty: unlimited."
        known = {one.name for one in system.list_workflows(by=by)}
        names = sorted(known | ({self.instance.workflow_name} - {""}), key=title_of)
        fields["workflow_name"].choices = [
            ("", "All workflows"),
            *((name, title_of(name)) for name in names),
        ]
        existing = Group.objects.order_by("name").values_list("name", flat=True)
        groups = [*existing, *(g for g in self.instance.groups if g not in existing)]
        fields["groups"].choices = [(name, name) for name in groups]
        if not groups:
            fields["groups"].widget = forms.MultipleHiddenInput()


class PriceForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """The price of a model."""

    class Meta:
        """Fields in display order."""

        model = Price
        fields: ClassVar = ["model", "per_million_in", "per_million_out"]
        help_texts: ClassVar = {
            "model": "As set on agents. The cost of earlier calls doesn’t change.",
        }
        error_messages: ClassVar = {
            "model": {"unique": "This model already has a price."}
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put the currency into the labels, and suggest the models of agents."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        for name, kind in (("in", "Input"), ("out", "Output")):
            label = f"{kind} price per 1M tokens ({settings.CURRENCY})"
            self.fields[f"per_million_{name}"].label = label
        models = Agent.objects.order_by("model").values_list("model", flat=True)
        self.known_models = list(models.distinct())
        self.fields["model"].widget.attrs |= {"list": "models", "autocomplete": "off"}
