"""The diagnosis of an installation: each part that it needs, and what to do about it.

The health checks ask whether this process can work now; the diagnosis also uses what only
some runs need: the storage of documents, mail, providers, stored keys. Nothing is changed,
apart from a probe file that is stored and deleted. It contacts the services of the
settings, so that it is for operators, not for a load balancer.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from uuid import uuid4

from asgiref.sync import async_to_sync
from django.conf import settings
from django.core import checks
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.mail import get_connection
from django.db import DatabaseError, connection
from django.utils import timezone

from workflows.agents.lookup import endpoint_of
from workflows.agents.provider_api.clients import Clients
from workflows.audit.verifier import has_key
from workflows.engine.errors import describe
from workflows.infra import clock
from workflows.infra.database import is_postgresql
from workflows.models import Provider
from workflows.ops import encrypted_values, health

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Level = Literal["ok", "warning", "failed", "skipped"]
MAX_CLOCK_SECONDS: Final = 2.0  # difference between the database's clock and this one
PROVIDER_SECONDS: Final = 10.0
WITHOUT_TABLES: Final = ("disk", "messages")
WITH_TABLES: Final = ("database", *WITHOUT_TABLES, "workers")
OUTSIDE_DATABASE: Final = frozenset({"settings", "storage", "mail", "sign-in"})
CERTIFICATE_NOTICE: Final = dt.timedelta(days=30)
UNAUTHORIZED: Final = (401, 403)
NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of one part, with what to do unless it is well."""

    part: str
    level: Level
    message: str


def findings() -> Iterator[Finding]:
    """Yield the findings as they are made; a check that raises is a finding too."""
    migrations = _migrations()
    yield migrations
    has_tables = migrations.level == "ok"
    names = WITH_TABLES if has_tables else WITHOUT_TABLES
    for name, result in async_to_sync(health.check)(names).items():
        yield Finding(name, "ok" if result.ok else "failed", result.message)
    for part, check in CHECKS.items():
        if part not in OUTSIDE_DATABASE and not has_tables:
            yield Finding(part, "skipped", "Not checked without the tables.")
            continue
        try:
            yield from check()
        except Exception as error:
            yield Finding(part, "failed", f"The check failed: {describe(error)}")


def _migrations() -> Finding:
    """Return whether the database can be reached and has its tables."""
    try:
        connection.ensure_connection()
        result = health.migrations()
    except DatabaseError as error:
        message = (
            f"The database cannot be used: {describe(error)}. Check DATABASE_URL, and that"
            " its server is running."
        )
        return Finding("database", "failed", message)
    return Finding("migrations", "ok" if result.ok else "failed", result.message)


def _settings() -> Iterator[Finding]:
    messages = checks.run_checks(include_deployment_checks=settings.PRODUCTION)
    for message in messages:
        if message.level >= checks.WARNING and not message.is_silenced():
            level: Level = "failed" if message.level >= checks.ERROR else "warning"
            text = " ".join(filter(None, (str(message.msg), message.hint)))
            yield Finding("settings", level, f"{text} ({message.id})")
    if not messages:
        mode = (
            "production" if settings.PRODUCTION else "a laptop: PRODUCTION is not set"
        )
        yield Finding("settings", "ok", f"No problems. Settings of {mode}.")


def _storage() -> Iterator[Finding]:
    data = uuid4().bytes
    name = default_storage.save(f"probes/{uuid4()}", ContentFile(data))
    try:
        with default_storage.open(name) as file:
            is_same = file.read() == data
    finally:
        default_storage.delete(name)
    if is_same:
        message = "A file was stored, read and deleted."
        yield Finding("storage", "ok", message)
    else:
        message = "A file was read back changed: check MEDIA_STORAGE."
        yield Finding("storage", "failed", message)


def _mail() -> Iterator[Finding]:
    if not settings.EMAIL_HOST:
        yield Finding("mail", "skipped", "No mail is sent: EMAIL_HOST is not set.")
        return
    address = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
    mail = get_connection()
    try:
        mail.open()
    except OSError as error:  # also of smtplib
        message = (
            f"{address} cannot be used: {describe(error)}. Check the settings EMAIL_*."
        )
        yield Finding("mail", "failed", message)
        return
    mail.close()
    message = f"{address} accepts connections of this server. No message was sent."
    yield Finding("mail", "ok", message)


def _keys() -> Iterator[Finding]:
    rows = encrypted_values.undecryptable()
    for row in rows:
        message = (
            f"The secret of the {row} was encrypted with another SECRET_KEY: add that key"
            " to SECRET_KEY_FALLBACKS, or enter the secret again."
        )
        yield Finding("keys", "failed", message)
    if not has_key():
        message = (
            "No configured key fits the sealed history: set AUDIT_KEYS, or SECRET_KEY and"
            " its fallbacks, to those of the server that wrote it."
        )
        yield Finding("keys", "failed", message)
    elif not rows:
        yield Finding("keys", "ok", "Stored secrets and the history fit the keys.")


def _clock() -> Iterator[Finding]:
    if not is_postgresql():
        message = "SQLite uses the clock of this machine."
        yield Finding("clock", "skipped", message)
        return
    before = clock.local_now()
    difference = (clock.now() - before).total_seconds()
    if abs(difference) > MAX_CLOCK_SECONDS:
        message = (
            f"The clock of the database differs by {difference:+.1f} s from this machine’s:"
            " synchronise both (NTP). Schedules and times on pages may be off by as much."
        )
        yield Finding("clock", "warning", message)
    else:
        message = "This machine and the database agree on the time."
        yield Finding("clock", "ok", message)


def _providers() -> Iterator[Finding]:
    providers = list(Provider.objects.filter(is_enabled=True))
    if not providers:
        message = "None: workflows that call a model cannot run until one is added."
        yield Finding("providers", "skipped", message)
    yield from async_to_sync(_contact)(providers)


async def _contact(providers: list[Provider]) -> list[Finding]:
    clients = Clients()
    try:
        return [await _provider(provider, clients) for provider in providers]
    finally:
        await clients.close()


async def _provider(provider: Provider, clients: Clients) -> Finding:
    import openai  # noqa: PLC0415 - takes a second, and only this check needs it

    endpoint, named = endpoint_of(provider), f"“{provider.name}”"
    try:
        client = clients.get(endpoint).with_options(timeout=PROVIDER_SECONDS)
        headers = endpoint.headers(provider.open_key())
        await client.models.list(extra_headers=headers)
    except openai.APIStatusError as error:
        return _answered(named, error.status_code)
    except openai.OpenAIError as error:
        cause = error.__cause__ or error
        message = f"{named} cannot be reached: {describe(cause)}. Check its base URL."
        return Finding("providers", "failed", message)
    except Exception as error:
        message = f"{named} cannot be used: {describe(error)}"
        return Finding("providers", "failed", message)
    return Finding("providers", "ok", f"{named} answers and accepts its key.")


def _answered(named: str, status: int) -> Finding:
    if status in UNAUTHORIZED:
        message = f"{named} refuses its key with {status}: enter a valid one."
        return Finding("providers", "failed", message)
    if status == NOT_FOUND:
        message = f"{named} answers, but lists no models: its key was not checked."
        return Finding("providers", "warning", message)
    message = f"{named} answers with {status}: try again, or see its status page."
    return Finding("providers", "failed", message)


def _sign_in() -> Iterator[Finding]:
    """Yield whether the certificate of a SAML identity provider is valid for long enough."""
    expires = settings.SAML_EXPIRES
    if expires is None:
        return
    left, day = expires - timezone.now(), f"{expires:%Y-%m-%d}"
    change = "Ask the identity provider for the new one, and set SAML_CERTIFICATE."
    if left <= dt.timedelta():
        message = f"SAML_CERTIFICATE expired on {day}. {change}"
        yield Finding("sign-in", "failed", message)
    elif left < CERTIFICATE_NOTICE:
        message = f"SAML_CERTIFICATE expires on {day}. {change}"
        yield Finding("sign-in", "warning", message)
    else:
        message = f"SAML_CERTIFICATE is valid until {day}."
        yield Finding("sign-in", "ok", message)


CHECKS: Final[dict[str, Callable[[], Iterator[Finding]]]] = {
    "settings": _settings,
    "storage": _storage,
    "mail": _mail,
    "keys": _keys,
    "clock": _clock,
    "providers": _providers,
    "sign-in": _sign_in,
}
