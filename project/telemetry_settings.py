"""Settings of logs and traces."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings


class Telemetry(BaseSettings):
    """How log lines are written, and where traces go."""

    log_format: Literal["line", "json"] = Field(
        "line", description="`json`: a JSON object per log line."
    )
    otlp_endpoint: str = Field(
        "",
        max_length=500,
        description="OpenTelemetry collector for traces by OTLP over HTTP, such as "
        "`http://localhost:4318`; needs `requirements-otlp.txt`. If empty, tracing is off.",
    )
    otlp_headers: SecretStr | None = Field(
        None,
        description="Headers of requests to the collector: `name=value`, separated by "
        "commas.",
    )
    otlp_seconds: float = Field(
        5, gt=0, le=600, description="Seconds between two requests to the collector."
    )
    trace_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of traces that are recorded; requests with a `traceparent` "
        "follow the decision of their sender.",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        """Return the address without a slash at its end; raise ValueError for others."""
        parts = urlsplit(value)
        if value and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("must have the form http://collector:4318")
        return value.rstrip("/")
