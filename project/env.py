"""Settings: type, default and description of each, read from the environment.

A start with invalid settings ends immediately and reports all errors together. A test
compares the table in docs/operating.md with the descriptions.
"""

from __future__ import annotations

import json
import os
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from project.comma_separated import Keys, Names
from project.history_settings import MIN_KEY_LENGTH, RetentionSettings
from project.limit_settings import Limits
from project.network import Network
from project.saml_settings import Saml
from project.settings_errors import SettingsError
from project.sign_in_settings import SignIn
from project.telemetry_settings import Telemetry

ROOT = Path(__file__).resolve().parent.parent  # the directory manage.py is in
DATABASE_SCHEMES = ("postgres://", "postgresql://", "sqlite:///")
REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def _upper(value: object) -> object:
    """Return text in upper case, other values unchanged."""
    return value.upper() if isinstance(value, str) else value


class Installation(BaseSettings):
    """Settings of an installation; empty variables count as not set."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, validate_default=True
    )

    # PRODUCTION comes first: validators of later settings read it.
    production: bool = Field(
        False,
        description="Serve a team: requires SECRET_KEY and ALLOWED_HOSTS, and sends "
        "cookies and pages over HTTPS only. Off: serve one laptop.",
    )
    debug: bool = Field(
        False,
        description="Show tracebacks in the browser and reload templates. "
        "Never together with PRODUCTION.",
    )
    host: str = Field("127.0.0.1", description="Address on which the server listens.")
    port: int = Field(
        8000, ge=0, le=65535, description="Port on which the server listens; 0: any."
    )
    data_dir: Path = Field(
        Path("var"),
        description="Directory of the database, uploads, rendered pages and the "
        "secret key; relative to the project.",
    )
    admin_password: SecretStr | None = Field(
        None,
        description="Password of the `admin` account that the first start creates; "
        "if empty, one is generated and printed once.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Signs sessions and forms, at least 50 characters. Required in "
        "production; a laptop generates one and stores it in DATA_DIR/secret-key.",
    )
    secret_key_fallbacks: Keys = Field(
        (),
        description="Former secret keys, separated by commas, with which signatures and "
        "encrypted values are still read.",
    )
    database_url: SecretStr | None = Field(
        None,
        description="`postgres://user:password@host/name`; if empty, SQLite in "
        "DATA_DIR.",
    )
    database_pool_size: int = Field(
        20,
        ge=0,
        le=1000,
        description="Maximum PostgreSQL connections of a process, plus half as many for "
        "nodes that use the ORM. 0: one connection per request, for an external "
        "connection pooler.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0`: server and workers become separate "
        "processes. If empty, the server embeds a worker.",
    )
    allowed_hosts: Names = Field(
        (),
        description="Host names of the server, separated by commas; required in "
        "production. A laptop accepts its own names.",
    )
    csrf_trusted_origins: Names = Field(
        (),
        description="Origins, such as `https://runs.example.org`, whose forms are "
        "accepted in addition to the server's own.",
    )
    behind_proxy: bool | None = Field(
        None,
        description="Trust X-Forwarded-For and X-Forwarded-Proto; only safe behind a "
        "proxy that always sets them. Default: the value of PRODUCTION.",
    )
    https: bool | None = Field(
        None,
        description="Redirect plain HTTP to HTTPS and mark cookies secure; needs "
        "BEHIND_PROXY, because TLS ends there. Default: the value of PRODUCTION.",
    )
    hsts_seconds: int = Field(
        31_536_000,
        ge=0,
        description="Seconds for which browsers require HTTPS; 0 omits the header. "
        "Only with HTTPS.",
    )
    workflow_apps: Names = Field(
        (),
        description="Python packages with your `workflows.py`, separated by commas; "
        "they become Django apps.",
    )
    default_access: Literal["open", "closed"] = Field(
        "open",
        description="Permissions on workflows without permission rows: `open` allows "
        "everything to every signed-in user, `closed` what their roles allow.",
    )
    time_zone: str = Field(
        "UTC",
        description="Time zone of pages and of admin until the browser has reported the "
        "reader's, and of the days of budgets; the database and exports use UTC.",
    )
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)
    ] = Field("INFO", description="Minimum level that is logged.")
    worker_concurrency: int = Field(
        8, ge=1, le=10_000, description="Runs that a worker executes at once."
    )
    lease_seconds: float = Field(
        30,
        gt=0,
        le=86_400,
        description="Seconds without a heartbeat after which another worker takes over "
        "the runs of a worker.",
    )
    heartbeat_seconds: float = Field(
        5,
        gt=0,
        le=3600,
        description="Seconds between the heartbeats of a worker; at most half of "
        "LEASE_SECONDS.",
    )
    poll_interval_seconds: float = Field(
        2,
        gt=0,
        le=3600,
        description="Seconds between the polls of a worker for work that no message "
        "announced.",
    )
    blocked_loop_seconds: float = Field(
        60,
        ge=1,
        le=86_400,
        description="Seconds for which an async node may block the event loop of its "
        "worker without an `await`; then its run fails and the worker continues on a new "
        "loop.",
    )
    max_recoveries: int = Field(
        5,
        ge=0,
        le=1000,
        description="Processes in succession that a run may end, without a step being "
        "completed; then it fails.",
    )
    suspect_processes: int = Field(
        4,
        ge=1,
        le=256,
        description="Child processes of a worker that execute the runs of a lost worker "
        "at once, so that a run that ends its process ends no other run.",
    )
    suspect_memory_mb: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Memory of such a child process in MB, so that a run that ended its "
        "worker by exhausting memory fails by itself; at least 300. 0 sets no limit. "
        "Effective on Linux.",
    )
    max_subworkflow_depth: int = Field(
        50,
        ge=1,
        le=500,
        description="Maximum depth of sub-workflows below a launched run; the node that "
        "would exceed it fails.",
    )
    drain_seconds: float = Field(
        20,
        ge=0,
        le=3600,
        description="Seconds in which nodes can finish after SIGTERM; then their "
        "runs are released at the last checkpoint.",
    )
    pdf_processes: int = Field(
        2,
        ge=1,
        le=64,
        description="Child processes of a server or worker that open PDFs at once; "
        "each uses up to 1.5 GB of memory for a page made to exhaust it.",
    )
    ocr_processes: int = Field(
        1,
        ge=1,
        le=64,
        description="Child processes of a server or worker that read scans at once; "
        "each uses about 1 GB of memory while it works.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token with which Prometheus reads `/metrics`. Users who can "
        "view the workers and all runs can read it too; others get 404.",
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port, on HOST, on which a `manage.py worker` serves its metrics; "
        "if empty, it serves none.",
    )
    media_storage: str | None = Field(
        None,
        description="Python path of the Django storage of documents, such as "
        "`project.s3.S3Storage`; if empty, `media/` in DATA_DIR.",
    )
    media_storage_options: str | None = Field(
        None,
        description="Options of MEDIA_STORAGE as a JSON object, such as "
        '`{"bucket_name": "harbour-documents"}`.',
    )
    currency: str = Field(
        "USD",
        min_length=1,
        max_length=8,
        description="Currency of the prices of models and of budgets; a label only.",
    )

    @field_validator("debug")
    @classmethod
    def _not_in_production(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("production"):
            raise ValueError("must not be on together with PRODUCTION")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        """Return the absolute path; raise ValueError unless it is writable."""
        whole = (ROOT / value.expanduser()).resolve()
        there = next(place for place in (whole, *whole.parents) if place.exists())
        if not there.is_dir():
            raise ValueError(f"lies below {there}, which is no directory")
        if not os.access(there, os.W_OK | os.X_OK):
            raise ValueError(f"cannot be used: {there} is not writable")
        return whole

    @field_validator("media_storage")
    @classmethod
    def _storage_is_there(cls, value: str | None) -> str | None:
        try:
            if value:
                import_string(value)
        except (ImportError, ImproperlyConfigured) as error:
            raise ValueError(f"cannot be used: {error}") from error
        return value

    @field_validator("media_storage_options")
    @classmethod
    def _options_are_an_object(
        cls, value: str | None, info: ValidationInfo
    ) -> str | None:
        try:
            options = dict(json.loads(value or "{}"))
        except (TypeError, ValueError) as error:
            raise ValueError(
                'must be a JSON object such as {"bucket_name": "…"}'
            ) from error
        if options and not info.data.get("media_storage"):
            raise ValueError("needs MEDIA_STORAGE: they are its options")
        return value

    @field_validator("secret_key")
    @classmethod
    def _key_long_enough(
        cls, value: SecretStr | None, info: ValidationInfo
    ) -> SecretStr | None:
        if value is None and info.data.get("production"):
            raise ValueError("must be set in production")
        if value is not None and len(value.get_secret_value()) < MIN_KEY_LENGTH:
            raise ValueError(f"must have at least {MIN_KEY_LENGTH} characters")
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _hosts_are_known(
        cls, value: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if not value and info.data.get("production"):
            raise ValueError("must name the server's host names in production")
        for name in value:
            if "/" in name:
                raise ValueError(f"must hold host names, not addresses like {name!r}")
        return value

    @field_validator("csrf_trusted_origins")
    @classmethod
    def _origins_have_schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not origin.startswith(("http://", "https://")):
                raise ValueError(f"must begin with https:// or http://, not {origin!r}")
        return value

    @field_validator("database_url")
    @classmethod
    def _database_is_ours(cls, value: SecretStr | None) -> SecretStr | None:
        _refuse_other_schemes(value, DATABASE_SCHEMES)
        try:
            name = value and dj_database_url.parse(value.get_secret_value())["NAME"]
        except ValueError:
            name = ""
        if value is not None and name in {"", ":memory:"}:
            raise ValueError(
                "must have the form postgres://user:password@host:5432/name, with special "
                "characters of the password written as %xx"
            )
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        _refuse_other_schemes(value, REDIS_SCHEMES)
        return value

    @field_validator("https")
    @classmethod
    def _https_has_its_proxy(
        cls, value: bool | None, info: ValidationInfo
    ) -> bool | None:
        production = info.data.get("production", False)
        proxy = info.data.get("behind_proxy")
        has_proxy = production if proxy is None else proxy
        if (production if value is None else value) and not has_proxy:
            raise ValueError(
                "needs BEHIND_PROXY: this server speaks plain HTTP, so a proxy has to "
                "speak HTTPS for it"
            )
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            raise ValueError("must be a time zone such as Europe/Berlin or UTC")
        return value

    @field_validator("heartbeat_seconds")
    @classmethod
    def _beats_within_lease(cls, value: float, info: ValidationInfo) -> float:
        lease = info.data.get("lease_seconds")
        if lease is not None and value > lease / 2:
            raise ValueError(f"must be at most half of LEASE_SECONDS ({lease:g})")
        return value

    @property
    def storage(self) -> dict[str, Any]:
        """Storage of documents as an entry of Django's STORAGES."""
        if not self.media_storage:
            return {"BACKEND": "django.core.files.storage.FileSystemStorage"}
        options = json.loads(self.media_storage_options or "{}")
        return {"BACKEND": self.media_storage, "OPTIONS": options}

    @property
    def uses_https(self) -> bool:
        """Whether the server requires HTTPS."""
        return self.production if self.https is None else self.https

    @property
    def trusts_proxy(self) -> bool:
        """Whether the X-Forwarded headers are trusted."""
        return self.production if self.behind_proxy is None else self.behind_proxy


def _refuse_other_schemes(value: SecretStr | None, schemes: tuple[str, ...]) -> None:
    """Raise ValueError, without the password, for a URL with another scheme."""
    if value is not None and not value.get_secret_value().startswith(schemes):
        raise ValueError(f"must begin with {' or '.join(schemes)}")


class Environment(
    Telemetry, RetentionSettings, Limits, Network, Saml, SignIn, Installation
):
    """The settings of one process."""

    @property
    def allows_private_providers(self) -> bool:
        """Whether providers may have internal addresses."""
        allowed = self.allow_private_providers
        return not self.production if allowed is None else allowed

    @property
    def allows_private_webhooks(self) -> bool:
        """Whether webhook destinations may have internal addresses."""
        allowed = self.allow_private_webhooks
        return not self.production if allowed is None else allowed

    @property
    def address(self) -> str:
        """Address of the server in messages."""
        if self.public_url:
            return self.public_url
        named = [host for host in self.allowed_hosts if host.strip("*.") == host]
        if named:
            return f"{'https' if self.uses_https else 'http'}://{named[0]}"
        return f"http://{self.host}:{self.port}"


def load() -> Environment:
    """Return the settings.

    Raises SettingsError, which ends the process, with a message for each error.
    """
    try:
        return Environment()
    except ValidationError as error:
        errors = error.errors()
    raise SettingsError(errors)
