"""Presets of the provider wizard: addresses and hints of common providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workflows.models import Kind


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a provider before it is set up."""

    slug: str
    label: str
    about: str  # one line on the card
    kind: Kind
    base_url: str  # "" if each customer has another
    key_help: str
    url_help: str
    needs_key: bool = False
    is_local: bool = False  # usually on an internal address

    @property
    def name(self) -> str:
        """Return the suggested name of the provider."""
        return "" if self.slug == "other" else self.label


NO_KEY: Final = "Not needed, unless the server was started with one."
PRESETS: Final = (
    Preset(
        "openai",
        "OpenAI",
        "Models of OpenAI. Needs an API key.",
        Kind.OPENAI,
        "https://api.openai.com/v1",
        key_help="From platform.openai.com, under API keys. Stored encrypted and never"
        " shown again.",
        url_help="Change it only for a proxy.",
        needs_key=True,
    ),
    Preset(
        "azure",
        "Azure OpenAI",
        "Deployments in your Azure subscription. Needs an API key.",
        Kind.AZURE,
        "",
        key_help="From the Azure portal: your resource, Keys and Endpoint. Stored"
        " encrypted and never shown again.",
        url_help="The endpoint with /openai/v1, such as"
        " https://your-resource.openai.azure.com/openai/v1.",
        needs_key=True,
    ),
    Preset(
        "ollama",
        "Ollama",
        "Open models on your machine or network. No key.",
        Kind.OLLAMA,
        "http://localhost:11434/v1",
        key_help=NO_KEY,
        url_help="Start it with “ollama serve”, and get a model with “ollama pull”.",
        is_local=True,
    ),
    Preset(
        "lm-studio",
        "LM Studio",
        "Open models in a desktop application. No key.",
        Kind.OPENAI,
        "http://localhost:1234/v1",
        key_help=NO_KEY,
        url_help="Load a model in LM Studio and start its server under Developer.",
        is_local=True,
    ),
    Preset(
        "vllm",
        "vLLM",
        "Open models on your own GPUs.",
        Kind.OPENAI,
        "http://localhost:8001/v1",
        key_help=NO_KEY,
        url_help="Start it with “vllm serve MODEL --port 8001”: Signalbox itself uses port"
        " 8000.",
        is_local=True,
    ),
    Preset(
        "other",
        "Other",
        "Any server with the API of OpenAI.",
        Kind.OPENAI,
        "",
        key_help="If the server requires one. Stored encrypted and never shown again.",
        url_help="Without “/chat/completions”, such as https://models.example.org/v1.",
    ),
)


def preset_named(slug: str) -> Preset | None:
    """Return the preset of this name, None if there is none."""
    return next((one for one in PRESETS if one.slug == slug), None)


def preset_of(base_url: str) -> Preset | None:
    """Return the preset with this address, None if there is none."""
    return next((one for one in PRESETS if base_url and one.base_url == base_url), None)
