"""The form of a variable or secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from workflows.execution import variables
from workflows.models import Variable
from workflows.registry import registry

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_VALUE_CHARS = 20_000


class VariableForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A variable, or a secret that is stored encrypted and never shown again."""

    value = forms.CharField(
        label="Value",
        required=False,
        strip=False,
        max_length=MAX_VALUE_CHARS,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="For a variable. Everyone who may see variables can read it.",
    )
    new_secret = forms.CharField(
        label="Secret",
        required=False,
        strip=False,
        max_length=MAX_VALUE_CHARS,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password", "spellcheck": "false"}
        ),
    )
    workflows = forms.MultipleChoiceField(
        label="Workflows that may read it",
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    class Meta:
        """Fields in display order."""

        model = Variable
        fields: ClassVar = [
            "name",
            "description",
            "is_secret",
            "value",
            "new_secret",
            "workflows",
        ]
        labels: ClassVar = {"is_secret": "This is a secret"}
        help_texts: ClassVar = {
            "name": "As nodes read it: runtime.variables[“smtp_host”].",
            "is_secret": "A secret cannot be turned into a variable later.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer the registered workflows, and those that the row names."""
        super().__init__(*args, **kwargs)
        stored: Iterable[str] = self.instance.workflows
        names = sorted({*(one.name for one in registry.list()), *stored})
        self.fields["workflows"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        is_stored = bool(self.instance.pk and self.instance.is_secret)
        self.fields["is_secret"].disabled = is_stored
        self.fields["new_secret"].help_text = (
            "A secret is stored, encrypted and never shown. Leave empty to keep it."
            if is_stored
            else "Stored encrypted and never shown again."
        )

    def clean(self) -> dict[str, Any]:
        """Require the value of the kind that was chosen, and no other."""
        values = super().clean() or {}
        is_secret, secret = values.get("is_secret"), values.get("new_secret")
        if is_secret and values.get("value"):
            self.add_error("value", "A secret has no readable value: enter it below.")
        if is_secret and not secret and not self.instance.secret:
            self.add_error("new_secret", "Enter the secret.")
        if not is_secret and secret:
            self.add_error("new_secret", "Check “This is a secret”, or leave it empty.")
        return values

    def save(self, commit: bool = True) -> Any:
        """Store a new secret encrypted."""
        if secret := self.cleaned_data.get("new_secret"):
            self.instance.secret = variables.encrypted(secret)
        return super().save(commit)
