"""Encryption of secrets at rest, with keys derived from SECRET_KEY.

SECRET_KEY encrypts; SECRET_KEY_FALLBACKS still decrypt, so that the key can be rotated.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping


def _fernet(secret: str | bytes) -> Fernet:
    derive = HKDF(SHA256(), length=32, salt=None, info=b"signalbox secrets")
    return Fernet(base64.urlsafe_b64encode(derive.derive(force_bytes(secret))))


def _keys() -> MultiFernet:
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet([_fernet(secret) for secret in secrets])


def encrypt(values: Mapping[str, str]) -> bytes:
    """Return the values as an encrypted token."""
    return _keys().encrypt(json.dumps(dict(values)).encode())


def decrypt(token: bytes | memoryview | None) -> dict[str, str]:
    """Return the values of a token, no values for None.

    Raises cryptography.fernet.InvalidToken when no key fits.
    """
    if token is None:
        return {}
    values: dict[str, str] = json.loads(_keys().decrypt(bytes(token)))
    return values


def renewed(token: bytes | memoryview) -> bytes:
    """Return a token encrypted again with the newest key; unchanged if no key fits."""
    try:
        return _keys().rotate(bytes(token))
    except InvalidToken:
        return bytes(token)
