"""Keys for seals and signatures, derived from the settings.

The first of AUDIT_KEYS seals, or SECRET_KEY if it is empty; all others still verify, so
that keys can be rotated. Keys are derived once per process and never stored.
"""

from __future__ import annotations

import functools

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.utils.encoding import force_bytes

BYTES = 32


@functools.lru_cache(maxsize=32)
def _derived(secret: str | bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), length=BYTES, salt=None, info=purpose).derive(
        force_bytes(secret)
    )


def secrets() -> list[str]:
    """Return the secrets of keys, the one for new seals first."""
    general = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [*settings.AUDIT_KEYS, *general]


def sealing() -> bytes:
    """Return the key of new seals."""
    secret = settings.AUDIT_KEYS[0] if settings.AUDIT_KEYS else settings.SECRET_KEY
    return _derived(secret, b"signalbox history seals")


def verifying() -> list[bytes]:
    """Return every key that may have made a valid seal, the newest first."""
    return [_derived(secret, b"signalbox history seals") for secret in secrets()]


def signing() -> Ed25519PrivateKey:
    """Return the key that signs exported bundles."""
    seed = _derived(secrets()[0], b"signalbox history bundles")
    return Ed25519PrivateKey.from_private_bytes(seed)
