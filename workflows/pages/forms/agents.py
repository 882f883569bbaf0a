"""Forms of providers and agents. A key goes in here and never comes out."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.db import transaction

from workflows.agents.upstream.messages import body_of
from workflows.models import Agent, Capability, Kind, Provider
from workflows.pages.forms.fields import JsonField
from workflows.runtime.errors import Invalid

ADDRESSES = {
    Kind.OPENAI: "https://api.openai.com/v1",
    Kind.OLLAMA: "http://localhost:11434/v1",
    Kind.AZURE: "https://your-resource.openai.azure.com",
}
TAKEN = "There is one of this name already."


def problem_of(options: object) -> str:
    """Return why these are no options of a call, "" if they are."""
    if options is None:
        return ""
    if not isinstance(options, dict):
        return 'Write an object, such as {"temperature": 0.2}.'
    try:
        body_of(options)
    except Invalid as wrong:
        return str(wrong)
    return ""


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A service that runs models."""

    secret = forms.CharField(
        label="Key",
        required=False,
        max_length=2_000,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password", "spellcheck": "false"}
        ),
    )
    forget = forms.BooleanField(label="Forget the stored key", required=False)

    class Meta:
        """The fields, in their order on the page."""

        model = Provider
        fields: ClassVar = [
            "name",
            "kind",
            "base_url",
            "api_version",
            "secret",
            "forget",
            "timeout_seconds",
            "tries",
            "is_enabled",
        ]
        widgets: ClassVar = {"kind": forms.RadioSelect}
        labels: ClassVar = {
            "base_url": "Address",
            "api_version": "API version",
            "timeout_seconds": "Timeout in seconds",
            "is_enabled": "Its agents may be asked",
        }
        help_texts: ClassVar = {
            "kind": "OpenAI style is OpenAI itself and whatever speaks its language, such "
            "as vLLM, LM Studio or llama.cpp.",
            "base_url": "Up to the part before “/chat/completions”, as in "
            + " or ".join(ADDRESSES.values())
            + ".",
            "api_version": "Azure only, as in 2024-10-21; leave it empty for an address "
            "that ends in /openai/v1.",
            "timeout_seconds": "Of one try, and of the wait for the next piece of a "
            "stream.",
            "tries": "How often a request is tried in all when it is answered with 429, "
            "502, 503 or 504, or the network fails.",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Say whether a key is stored; it is not shown."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        told = "A key is stored, encrypted; nobody can see it. Leave this empty to keep it."
        if not self.instance.has_key:
            told = "Stored encrypted and never shown again. Ollama needs none."
            self.fields["forget"].widget = forms.HiddenInput()
        self.fields["secret"].help_text = told
        self.fields["kind"].choices = Kind.choices  # type: ignore[attr-defined]

    def clean_base_url(self) -> str:
        """Return the address without what a client adds, and without a password."""
        address = str(self.cleaned_data["base_url"]).rstrip("/")
        try:
            parts = urlsplit(address)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise forms.ValidationError(
                "Write a whole address, such as https://api.openai.com/v1."
            )
        if parts.username or parts.password or parts.query:
            raise forms.ValidationError(
                "A key does not belong into the address: it has a field of its own."
            )
        return address.removesuffix("/chat/completions")

    def clean(self) -> dict[str, Any]:
        """Refuse a key that is given and to be forgotten at once."""
        values = super().clean() or {}
        if values.get("forget") and values.get("secret"):
            self.add_error("forget", "Either forget the stored key, or give another.")
        return values

    def save(self, commit: bool = True) -> Provider:
        """Keep the key encrypted, if one was given or is to be forgotten."""
        if self.cleaned_data.get("secret"):
            self.instance.keep_key(self.cleaned_data["secret"].strip())
        elif self.cleaned_data.get("forget"):
            self.instance.keep_key("")
        saved: Provider = super().save(commit)
        return saved


class AgentForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """A model under the name that workflows use."""

    capabilities = forms.MultipleChoiceField(
        label="What it can do",
        choices=Capability.choices,
        initial=[Capability.CHAT.value],
        widget=forms.CheckboxSelectMultiple,
        help_text="As its model can; a call for anything else is refused.",
    )
    options = JsonField(
        label="Options",
        required=False,
        help_text='Sent with every call, as JSON: {"temperature": 0.2}.',
    )

    class Meta:
        """The fields, in their order on the page."""

        model = Agent
        fields: ClassVar = [
            "name",
            "provider",
            "model",
            "capabilities",
            "system_prompt",
            "options",
            "is_default",
            "is_enabled",
        ]
        widgets: ClassVar = {"system_prompt": forms.Textarea(attrs={"rows": 4})}
        labels: ClassVar = {
            "is_default": "Ask it where no agent is named",
            "is_enabled": "It may be asked",
        }
        help_texts: ClassVar = {
            "model": "As its provider calls it; on Azure the name of the deployment.",
            "system_prompt": "Said before every conversation that brings none of its own.",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer chat first."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["system_prompt"].required = False
        self.initial["options"] = self.instance.options or None

    def clean_options(self) -> dict[str, Any]:
        """Return the options as an object. Raises ValidationError."""
        options: dict[str, Any] = self.cleaned_data["options"] or {}
        if problem := problem_of(options):
            raise forms.ValidationError(problem)
        return options

    def _get_validation_exclusions(self) -> set[str]:
        """Leave the one default to `save`, which takes it from the agent that had it."""
        fields: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return {*fields, "is_default"}

    def save(self, commit: bool = True) -> Agent:
        """Let no other agent be the default beside this one."""
        with transaction.atomic():
            if self.instance.is_default:
                others = Agent.objects.exclude(pk=self.instance.pk)
                others.filter(is_default=True).update(is_default=False)
            saved: Agent = super().save(commit)
            return saved


class TryForm(forms.Form):
    """A question to try an agent with."""

    prompt = forms.CharField(
        label="Ask it something",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Keep its fields apart from those of the agent on the same page."""
        super().__init__(*args, **{"label_suffix": "", "auto_id": "try-%s", **kwargs})
