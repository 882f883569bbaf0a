"""Signatures of deliveries, in the styles of Standard Webhooks, GitHub and Stripe.

Comparisons take the same time wherever the texts differ. Styles with a timestamp refuse
one that differs from the clock by more than five minutes, so that a recorded request
cannot be repeated later.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from workflows.errors import SignatureInvalid
from workflows.infra import clock
from workflows.models import VerificationStyle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TOLERANCE_SECONDS: Final = 300
MIN_SECRET_LENGTH: Final = 16  # characters, or bytes of a Standard Webhooks secret
MAX_SECRET_LENGTH: Final = 500
STANDARD_PREFIX: Final = "whsec_"
HEADER_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,60}")
DELIVERY_IDS: Final = {
    VerificationStyle.STANDARD: "webhook-id",
    VerificationStyle.GITHUB: "x-github-delivery",
}
"""Headers with the id of a delivery; Stripe has it in the field `id` of the payload."""
MAX_SIGNATURES: Final = 16  # compared per request
SECRET_PARTS: Final = (
    *("auth", "cookie", "credential", "key", "password", "secret", "session"),
    *("signature", "token"),
)


def is_secret_header(name: str, token_header: str = "") -> bool:
    """Return whether a header may have a secret or a signature: it is not stored."""
    name = name.lower()
    return name == token_header.lower() or any(part in name for part in SECRET_PARTS)


def new_secret(style: str) -> str:
    """Return a random secret of 32 bytes, as senders of the style expect it."""
    if style == VerificationStyle.STANDARD:
        return STANDARD_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32)


def problem_of(secret: str, style: str) -> str:
    """Return why a secret cannot be used, "" if it can."""
    if not (secret.isascii() and secret.isprintable()):
        return "Enter ASCII characters without line breaks."
    if len(secret) > MAX_SECRET_LENGTH:
        return f"Enter up to {MAX_SECRET_LENGTH} characters."
    if style == VerificationStyle.STANDARD:
        hint = f"Enter “{STANDARD_PREFIX}” and at least 16 bytes in Base64."
        return "" if len(_standard_key(secret)) >= MIN_SECRET_LENGTH else hint
    hint = f"Enter at least {MIN_SECRET_LENGTH} characters."
    return "" if len(secret) >= MIN_SECRET_LENGTH else hint


def _standard_key(secret: str) -> bytes:
    """Return the key of a secret, empty if it is malformed."""
    try:
        return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
    except binascii.Error:
        return b""


def verify(
    style: str,
    valid: Sequence[str],
    body: bytes,
    headers: Mapping[str, str],
    *,
    token_header: str = "",
) -> None:
    """Check a request against each valid secret. `headers` has lower-case names.

    Raises SignatureInvalid, whose text names no secret and no expected signature.
    """
    if style == VerificationStyle.TOKEN:
        _verify_token(valid, headers, token_header)
    else:
        _STYLES[style](valid, body, headers)


def _verify_standard(
    valid: Sequence[str], body: bytes, headers: Mapping[str, str]
) -> None:
    text = headers.get("webhook-signature", "")
    if len(text.split(" ")) > MAX_SIGNATURES:
        raise SignatureInvalid("The request has too many signatures.")
    failure = "The header webhook-signature is missing."
    is_valid = False
    for secret in valid:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
            is_valid = True
        except WebhookVerificationError as error:
            failure = f"{error}."
        except ValueError:  # binascii.Error, UnicodeDecodeError, a malformed pair
            failure = "The header webhook-signature is malformed."
    if not is_valid:
        raise SignatureInvalid(failure)


def _verify_github(
    valid: Sequence[str], body: bytes, headers: Mapping[str, str]
) -> None:
    given = headers.get("x-hub-signature-256", "")
    if not given:
        raise SignatureInvalid("The header X-Hub-Signature-256 is missing.")
    _require_match([f"sha256={_digest(secret, body)}" for secret in valid], [given])


def _verify_stripe(
    valid: Sequence[str], body: bytes, headers: Mapping[str, str]
) -> None:
    pairs = [
        part.strip().partition("=")
        for part in headers.get("stripe-signature", "").split(",")
    ]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    given = [value for name, _, value in pairs if name == "v1"][:MAX_SIGNATURES]
    if not (timestamp and given):
        raise SignatureInvalid("The header Stripe-Signature is missing or malformed.")
    if not (timestamp.isascii() and timestamp.isdigit()):
        raise SignatureInvalid("The timestamp of the signature is malformed.")
    age = clock.now().timestamp() - int(timestamp[:20])
    if abs(age) > TOLERANCE_SECONDS:
        raise SignatureInvalid("The timestamp differs by more than five minutes.")
    signed = timestamp.encode() + b"." + body
    _require_match([_digest(secret, signed) for secret in valid], given)


def _verify_token(
    valid: Sequence[str], headers: Mapping[str, str], header: str
) -> None:
    given = headers.get(header.lower(), "")
    if not given:
        raise SignatureInvalid(f"The header {header} is missing.")
    if header.lower() == "authorization":
        given = given.removeprefix("Bearer ")
    # digests have one length, so that the comparison does not reveal the secret's
    expected = [sha256(secret.encode()).hexdigest() for secret in valid]
    _require_match(expected, [sha256(given.encode()).hexdigest()])


def _digest(secret: str, data: bytes) -> str:
    return hmac.new(secret.encode(), data, sha256).hexdigest()


def _require_match(expected: Sequence[str], given: Sequence[str]) -> None:
    """Compare every pair, so that the time does not reveal which one matches."""
    matches = [
        hmac.compare_digest(one.encode(), other.encode())
        for one in expected
        for other in given
    ]
    if not any(matches):
        raise SignatureInvalid("The signature does not match the secret.")


_STYLES: Final[dict[str, Callable[[Sequence[str], bytes, Mapping[str, str]], None]]] = {
    VerificationStyle.STANDARD: _verify_standard,
    VerificationStyle.GITHUB: _verify_github,
    VerificationStyle.STRIPE: _verify_stripe,
}
