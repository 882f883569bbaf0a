"""Settings of the network around the server: proxies in front, providers behind."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
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
    mcp: bool = Field(
        False,
        description="Serve the Model Context Protocol at `/mcp`, for language models with an"
        " API token; needs `requirements-mcp.txt`.",
    )
    dask_scheduler: str = Field(
        "",
        max_length=200,
        description="Scheduler of a Dask cluster that runs the items of"
        ' `parallel(…, on="dask")`, such as `tcp://10.0.0.5:8786` or `tls://…`; needs'
        " `requirements-dask.txt`. If empty, workers run these items.",
    )
    allow_private_providers: bool | None = Field(
        None,
        description="Allow providers at loopback, private, link-local and cloud metadata "
        "addresses; needed for a model server in the own network. Default: off in "
        "PRODUCTION, else on.",
    )
    public_url: str = Field(
        "",
        max_length=200,
        description="Address of the server in messages, such as "
        "`https://runs.example.org`. Default: the first of ALLOWED_HOSTS, or HOST and "
        "PORT.",
    )
    allow_private_webhooks: bool | None = Field(
        None,
        description="Allow webhook destinations with plain HTTP and at loopback, private, "
        "link-local and cloud metadata addresses. Default: off in PRODUCTION, else on.",
    )
    webhook_seconds: float = Field(
        15,
        gt=0,
        le=120,
        description="Seconds in which the receiver of a webhook has to respond.",
    )
    delivery_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Days for which delivered messages and their events are kept.",
    )

    email_host: str = Field(
        "",
        max_length=200,
        description="Host of the SMTP server for notifications; if empty, no mail is sent.",
    )
    email_port: int = Field(25, ge=1, le=65535, description="Port of the SMTP server.")
    email_security: Literal["none", "starttls", "tls"] = Field(
        "none", description="Encryption of the connection to the SMTP server."
    )
    email_user: str = Field(
        "", max_length=200, description="User name at the SMTP server."
    )
    email_password: SecretStr | None = Field(
        None, description="Password at the SMTP server."
    )
    email_from: str = Field(
        "signalbox@localhost",
        max_length=200,
        description="Sender of mail, such as `Signalbox <runs@example.org>`.",
    )

    @field_validator("mcp")
    @classmethod
    def _mcp_is_installed(cls, value: bool) -> bool:
        if value and find_spec("mcp") is None:
            raise ValueError(
                "needs the packages of the protocol: run .venv/bin/python -m pip install"
                " --require-hashes -r requirements-mcp.txt"
            )
        return value

    @field_validator("dask_scheduler")
    @classmethod
    def _is_a_scheduler(cls, value: str) -> str:
        """Return the address; raise ValueError for others, and without the packages."""
        parts = urlsplit(value)
        if value and (parts.scheme not in {"tcp", "tls"} or not parts.netloc):
            raise ValueError("must have the form tcp://host:8786 or tls://host:8786")
        if value and find_spec("distributed") is None:
            raise ValueError(
                "needs the packages of Dask: run .venv/bin/python -m pip install"
                " --require-hashes -r requirements-dask.txt"
            )
        return value

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        """Return the address without a slash at its end; raise ValueError for others."""
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("must have the form https://runs.example.org")
        return value.rstrip("/")
