"""Settings of the network around the server: proxies in front, providers behind."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings


class Network(BaseSettings):
    """Which addresses are trusted, as clients and as destinations."""

    trusted_proxies: int = Field(
        1,
        ge=1,
        le=20,
        description="Number of proxies in front of the server, with BEHIND_PROXY. Each "
        "appends the address of its client to X-Forwarded-For; the entry that the "
        "outermost one appended is the client's, counted from the right.",
    )
    allow_private_providers: bool | None = Field(
        None,
        description="Allow providers at loopback, private, link-local and cloud metadata "
        "addresses; needed for a model server in the own network. Default: off in "
        "PRODUCTION, else on.",
    )
