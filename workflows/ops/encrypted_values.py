"""The columns that are encrypted with keys derived from SECRET_KEY."""

from __future__ import annotations

from typing import Any, Final

from cryptography.fernet import InvalidToken

from workflows.infra.encryption import decrypt, renewed
from workflows.models import Destination, Provider, Variable, WebhookEndpoint

COLUMNS: Final[tuple[tuple[type[Any], str, str], ...]] = (
    (Provider, "key", "provider"),
    (Destination, "secrets", "destination"),
    (Variable, "secret", "variable"),
    (WebhookEndpoint, "secrets", "webhook"),
)
"""Model, column, and what a row is called in messages."""


def renew_all() -> None:
    """Encrypt all values again with the newest secret key."""
    for model, column, _ in COLUMNS:
        for row in model.objects.exclude(**{column: None}):
            again = renewed(getattr(row, column))
            model.objects.filter(pk=row.pk).update(**{column: again})


def undecryptable() -> list[str]:
    """Return the rows whose value no configured key decrypts, as `provider “name”`."""
    found = []
    for model, column, name in COLUMNS:
        for row in model.objects.exclude(**{column: None}):
            try:
                decrypt(getattr(row, column))
            except InvalidToken:
                found.append(f"{name} “{row}”")
    return found
