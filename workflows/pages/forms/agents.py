"""Forms of providers and agents. API keys are write-only."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.core.validators import MinValueValidator
from django.db import models, transaction

from workflows.agents import keys
from workflows.agents.provider_api.clients import guard
from workflows.agents.provider_api.messages import request_body
from workflows.infra.addresses import DEFAULT_PORTS, AddressRefused, origin_of
from workflows.models import Agent, Capability, Kind, Provider
from workflows.pages.forms.fields import JsonField
from workflows.runtime.errors import Invalid

ADDRESSES = {
    Kind.OPENAI: "https://api.openai.com/v1",
    Kind.OLLAMA: "http://localhost:11434/v1",
    Kind.AZURE: "https://your-resource.openai.azure.com",
}
TAKEN = "This name is already in use."
KEY_DROPPED = (
    "The stored API key was deleted, because it was entered for another address."
    " Enter the key for the new one."
)


def is_usable(address: str) -> bool:
    """Return whether a client can send requests to an address."""
    import httpx  # noqa: PLC0415 - the import takes a moment

    try:
        httpx.URL(address)
    except httpx.InvalidURL:
        return False
    return bool(origin_of(address))


def problem_of(options: object) -> str:
    """Return why these are invalid options of a call, "" if they are valid."""
    if options is None:
        return ""
    if not isinstance(options, dict):
        return 'Enter a JSON object, such as {"temperature": 0.2}.'
    try:
        request_body(options)
    except Invalid as error:
        return str(error)
    return ""


def with_minimum(column: models.Field[Any, Any], **options: Any) -> forms.Field | None:
    """Return the form field of a column with the minimum of its validators.

    Django's own has the minimum of the column's type: 0 where the validators require 1.
    """
    limits = [
        validator.limit_value
        for validator in column.validators
        if isinstance(validator, MinValueValidator)
    ]
    if limits:
        options.setdefault("min_value", max(limits))
    return column.formfield(**options)


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """The settings of a model provider."""

    secret = forms.CharField(
        label="API key",
        required=False,
        max_length=2_000,
        widget=forms.PasswordInput(
            attrs={"autocomplete": "new-password", "spellcheck": "false"}
        ),
    )
    forget = forms.BooleanField(label="Delete the stored key", required=False)

    class Meta:
        """Fields in display order."""

        model = Provider
        formfield_callback = with_minimum
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
            "base_url": "Base URL",
            "api_version": "API version",
            "timeout_seconds": "Timeout (seconds)",
            "tries": "Max attempts",
            "is_enabled": "Enabled",
        }
        help_texts: ClassVar = {
            "kind": "OpenAI-compatible: OpenAI, vLLM, LM Studio, llama.cpp and others.",
            "base_url": "Without “/chat/completions”, such as "
            + " or ".join(ADDRESSES.values())
            + ".",
            "api_version": "Azure only, such as 2024-10-21. Leave empty for a URL that "
            "ends in /openai/v1.",
            "timeout_seconds": "Per attempt, and for the next chunk of a stream.",
            "tries": "Including the first. Requests are retried after a network error and "
            "after status 429, 502, 503 or 504.",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Set the help text of the key, by whether one is stored."""
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        help_text = (
            "A key is stored, encrypted and never shown. Leave empty to keep it; a new"
            " scheme, host or port in the base URL deletes it."
        )
        if not self.instance.has_key:
            help_text = "Stored encrypted and never shown again. Not needed for Ollama."
            self.fields["forget"].widget = forms.HiddenInput()
        self.fields["secret"].help_text = help_text
        self._stored_origin = self.instance.origin if self.instance.has_key else ""
        if "kind" in self.fields:
            self.fields["kind"].choices = Kind.choices  # type: ignore[attr-defined]

    def clean_base_url(self) -> str:
        """Return the base URL. Raises ValidationError, also for one with credentials."""
        address = str(self.cleaned_data["base_url"]).rstrip("/")
        parts = urlsplit(address if is_usable(address) else "")
        if parts.scheme not in DEFAULT_PORTS:
            raise forms.ValidationError(
                "Enter a full URL, such as https://api.openai.com/v1."
            )
        if parts.username or parts.password or parts.query:
            raise forms.ValidationError(
                "Don’t put credentials or a query into the URL; use the API key field."
            )
        return address.removesuffix("/chat/completions")

    def clean_secret(self) -> str:
        """Return the new key. Raises ValidationError for one that cannot be sent."""
        key = str(self.cleaned_data["secret"]).strip()
        if not keys.is_valid(key):
            raise forms.ValidationError(keys.INVALID_KEY)
        return key

    def clean(self) -> dict[str, Any]:
        """Reject an address that the guard refuses, and contradictions about the key.

        A disabled provider may keep its address: nothing connects to it.
        """
        values = super().clean() or {}
        if values.get("forget") and values.get("secret"):
            self.add_error("forget", "Either delete the stored key or enter a new one.")
        is_enabled = values.get("is_enabled", self.instance.is_enabled)
        if is_enabled and (address := values.get("base_url")):
            parts = urlsplit(address)
            port = parts.port or DEFAULT_PORTS[parts.scheme]
            try:
                guard().check_host(parts.hostname or "", port)
            except AddressRefused as error:
                self.add_error("base_url", str(error))
        return values

    @property
    def drops_key(self) -> bool:
        """Whether saving deletes the stored key because the address has another origin."""
        values = self.cleaned_data
        if not self._stored_origin or values.get("secret") or values.get("forget"):
            return False
        return origin_of(values["base_url"]) != self._stored_origin

    def save(self, commit: bool = True) -> Provider:
        """Save, and encrypt a new key or delete the stored one."""
        if self.cleaned_data.get("secret"):
            self.instance.store_key(self.cleaned_data["secret"])
        elif self.cleaned_data.get("forget"):
            self.instance.store_key("")
        saved: Provider = super().save(commit)
        return saved


class AgentForm(forms.ModelForm):  # type: ignore[type-arg] # generic for type checkers only
    """The settings of an agent: a model under the name that workflows use."""

    capabilities = forms.MultipleChoiceField(
        label="Capabilities",
        choices=Capability.choices,
        initial=[Capability.CHAT.value],
        widget=forms.CheckboxSelectMultiple,
        help_text="Of the model. Calls that need another capability fail.",
    )
    options = JsonField(
        label="Options",
        required=False,
        help_text='JSON that is sent with every call, such as {"temperature": 0.2}.',
    )

    class Meta:
        """Fields in display order."""

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
            "is_default": "Default agent",
            "is_enabled": "Enabled",
        }
        help_texts: ClassVar = {
            "model": "The provider’s model name; the deployment name on Azure.",
            "system_prompt": "Used when a workflow sets no system prompt.",
        }
        error_messages: ClassVar = {"name": {"unique": TAKEN}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        if "system_prompt" in self.fields:
            self.fields["system_prompt"].required = False
        self.initial["options"] = self.instance.options or None

    def clean_options(self) -> dict[str, Any]:
        """Return the options as an object. Raises ValidationError."""
        options: dict[str, Any] = self.cleaned_data["options"] or {}
        if problem := problem_of(options):
            raise forms.ValidationError(problem)
        return options

    def _get_validation_exclusions(self) -> set[str]:
        """Exclude the unique `is_default`: `save` unsets it on the previous default."""
        fields: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return {*fields, "is_default"}

    def save(self, commit: bool = True) -> Agent:
        """Save; a new default agent replaces the previous one."""
        with transaction.atomic():
            if self.instance.is_default:
                others = Agent.objects.exclude(pk=self.instance.pk)
                others.filter(is_default=True).update(is_default=False)
            saved: Agent = super().save(commit)
            return saved


class TryForm(forms.Form):
    """The prompt of a trial call."""

    prompt = forms.CharField(
        label="Prompt",
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Prefix element ids, since the agent's form is on the same page."""
        super().__init__(*args, **{"label_suffix": "", "auto_id": "try-%s", **kwargs})
