"""The form of a profile: name, weight, and overrides for each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms

from workflows.models import Agent, Profile
from workflows.pages.forms.agents import TAKEN, problem_of
from workflows.pages.forms.fields import ExactTextField, JsonField
from workflows.pages.forms.schema_form import Group, Row
from workflows.pages.render.text import readable_name

if TYPE_CHECKING:
    from workflows.registry import AnyWorkflow


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A profile of a workflow; empty fields use the workflow's defaults."""

    class Meta:
        """Fields in addition to those of the prompts."""

        model = Profile
        fields = ("name", "description", "weight")
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}  # noqa: RUF012 - Django's
        help_texts = {  # noqa: RUF012
            "weight": "Share of the runs that are launched without a profile: weights of 1 "
            "and 3 give a quarter and three quarters. 0: none.",
        }

    def __init__(self, workflow: AnyWorkflow, *args: Any, **kwargs: Any) -> None:
        """Add three fields for each prompt of the workflow."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.workflow = workflow
        self.instance.workflow_name = workflow.name
        self.fields["description"].required = False
        for name in workflow.prompts:
            self._add_prompt(name)

    def _add_prompt(self, name: str) -> None:
        given = self.instance.stages.get(name, {})
        default = self.workflow.prompts[name]
        otherwise = "none" if default.is_optional else "the default"
        own = default.agent or f"Chosen at launch, or {otherwise}"
        agents = [
            (one.name, f"{one.name} · {one.model}")
            for one in Agent.objects.all()
            if default.needs in one.capabilities or one.name == given.get("agent")
        ]
        self.fields[f"{name}.agent"] = forms.ChoiceField(
            label="Agent",
            required=False,
            choices=[("", own), *agents],
            initial=given.get("agent") or "",
        )
        self.fields[f"{name}.prompt"] = ExactTextField(
            label="Prompt",
            required=False,
            initial=given.get("prompt") or "",
            help_text=f"Default: “{default.prompt}”" if default.prompt else "",
            widget=forms.Textarea(attrs={"rows": 4}),
        )
        self.fields[f"{name}.options"] = JsonField(
            label="Options",
            required=False,
            initial=given.get("options") or None,
            help_text='JSON, such as {"temperature": 0.9}.',
        )

    @property
    def groups(self) -> Group:
        """Return the fields as rendered, in one group for each prompt."""
        own = [Row(self[name]) for name in ("name", "description", "weight")]
        prompts = [
            Group(
                title=f"Prompt “{readable_name(name)}”",
                parts=[
                    Row(self[f"{name}.{field}"])
                    for field in ("agent", "prompt", "options")
                ],
            )
            for name in self.workflow.prompts
        ]
        return Group(parts=[*own, *prompts])

    def clean_name(self) -> str:
        """Return the name. Raises ValidationError if the workflow has one like it."""
        name = str(self.cleaned_data["name"])
        others = Profile.objects.filter(workflow_name=self.workflow.name, name=name)
        if others.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(TAKEN)
        return name

    def clean(self) -> dict[str, Any]:
        """Check the options of each prompt."""
        values = super().clean() or {}
        for name in self.workflow.prompts:
            options = values.get(f"{name}.options")
            if problem := problem_of(options):
                self.add_error(f"{name}.options", problem)
        return values

    def save(self, commit: bool = True) -> Profile:
        """Save the overrides that are filled in."""
        overrides = dict(self.instance.stages)
        for name in self.workflow.prompts:
            fields = {
                field: self.cleaned_data.get(f"{name}.{field}")
                for field in ("agent", "prompt", "options")
            }
            overrides[name] = {field: value for field, value in fields.items() if value}
        self.instance.stages = {name: one for name, one in overrides.items() if one}
        saved: Profile = super().save(commit)
        return saved
