"""Settings of the network around the server: proxies in front, providers behind."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class Network(BaseSettings):
    """Which addresses are trusted, as clients and as destinations."""

    allow_private_providers: bool | None = Field(
        None,
        description="Allow providers at loopback, private, link-local and cloud metadata "
        "addresses; needed for a model server in the own network. Default: off in "
        "PRODUCTION, else on.",
    )
