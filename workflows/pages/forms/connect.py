"""Forms of the provider wizard: the provider of a preset, then its first agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from workflows.agents.connection import Connection
from workflows.models import Agent, Kind, Provider
from workflows.pages.forms.agents import AgentForm, ProviderForm

if TYPE_CHECKING:
    from workflows.agents.presets import Preset

FIRST_AGENT = "default"  # the suggested name of the first agent


class ConnectForm(ProviderForm):
    """The settings of a new provider that a preset leaves open."""

    class Meta(ProviderForm.Meta):
        """Fields in display order."""

        fields: ClassVar = ["name", "base_url", "api_version", "secret"]

    def __init__(self, preset: Preset, *args: Any, **kwargs: Any) -> None:
        """Fill in what the preset knows."""
        provider = Provider(
            name=preset.name, kind=preset.kind, base_url=preset.base_url
        )
        super().__init__(*args, **{"instance": provider, **kwargs})
        del self.fields["forget"]
        if preset.kind != Kind.AZURE:
            del self.fields["api_version"]
        self.fields["base_url"].help_text = preset.url_help
        self.fields["secret"].help_text = preset.key_help
        self.fields["secret"].required = preset.needs_key

    def connected(self) -> Provider:
        """Return the provider of a valid form with its key, unsaved."""
        provider: Provider = self.instance
        provider.store_key(self.cleaned_data["secret"])
        return provider


class FirstAgentForm(AgentForm):
    """The name and model of an agent of a provider that was tested."""

    options = None  # type: ignore[assignment] # on the page of the agent

    class Meta(AgentForm.Meta):
        """Fields in display order."""

        fields: ClassVar = ["model", "name", "capabilities", "is_default"]

    def __init__(
        self, provider: Provider, connection: Connection, *args: Any, **kwargs: Any
    ) -> None:
        """Offer the listed models; deployments of Azure have names that are not listed."""
        is_first = not Agent.objects.exists()
        agent = Agent(
            provider=provider,
            name=FIRST_AGENT if is_first else "",
            is_default=not Agent.objects.filter(is_default=True).exists(),
        )
        super().__init__(*args, **{"instance": agent, **kwargs})
        self.fields[
            "is_default"
        ].help_text = "Workflows that name no agent call this one."
        if provider.kind == Kind.AZURE or not connection.models:
            return
        models = [(name, name) for name in connection.models]
        if len(models) > 1:
            models.insert(0, ("", "Choose a model"))
        self.fields["model"].widget = forms.Select(choices=models)
        self.fields["model"].help_text = "As the provider lists them."
