"""Translate errors of the `openai` package into ProviderErrors."""

from __future__ import annotations

import datetime as dt
import email.utils

import httpx
import openai

from workflows.infra.addresses import AddressRefused
from workflows.runtime.errors import (
    AuthenticationFailed,
    Invalid,
    InvalidResponse,
    NotFound,
    ProviderError,
    TimedOut,
    Unavailable,
    UpstreamFailed,
)

FAILURES = (openai.OpenAIError, httpx.HTTPError, ValueError, TypeError, OSError)
RETRIABLE_STATUSES = frozenset({429, 502, 503, 504})
MAX_WAIT_SECONDS = 60.0  # longest accepted Retry-After
MAX_MESSAGE_CHARS = 500  # of a server's error message

UNAUTHORIZED = (401, 403)
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
MIN_ERROR_STATUS = 500  # lower statuses are errors in the request


def retry_delay(error: Exception) -> float | bool:  # noqa: PLR0911 - a case each
    """Return whether to retry, or the delay in seconds: a hook for stamina."""
    if isinstance(error, openai.APITimeoutError):
        return isinstance(error.__cause__, httpx.ConnectTimeout | httpx.PoolTimeout)
    if isinstance(error.__cause__, AddressRefused):
        return False
    if isinstance(error, openai.APIConnectionError | httpx.TransportError):
        return not isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout)
    if not isinstance(error, openai.APIStatusError):
        return False
    if (
        error.status_code not in RETRIABLE_STATUSES
        or error.code == "insufficient_quota"
    ):
        return False
    seconds = retry_after(error.response.headers)
    if seconds is None:
        return True
    return max(seconds, 0.001) if seconds <= MAX_WAIT_SECONDS else False


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the Retry-After value in seconds, None if absent."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after", "")
    try:
        if milliseconds:
            return max(float(milliseconds) / 1_000, 0.0)
        return max(float(value), 0.0) if value else None
    except ValueError:
        pass
    moment = email.utils.parsedate_tz(value)
    if moment is None:
        return None
    return max(email.utils.mktime_tz(moment) - dt.datetime.now(dt.UTC).timestamp(), 0.0)


def translate_error(  # noqa: PLR0911 - a kind of error each
    error: Exception, *, agent: str, provider: str, tries: int, secrets: tuple[str, ...]
) -> ProviderError:
    """Return the matching ProviderError, with all secrets redacted."""
    who = f"“{provider}” (agent “{agent}”)"
    if isinstance(error, ProviderError):
        return error
    if isinstance(error.__cause__, AddressRefused):
        return Unavailable(f"{who} was not called: {error.__cause__}")
    if isinstance(error, openai.APIStatusError):
        message = redact(_server_message(error), secrets)
        return _from_status(error, who, message, _attempts_text(tries))
    if isinstance(
        error, openai.APITimeoutError | TimeoutError | httpx.TimeoutException
    ):
        return TimedOut(
            f"{who} timed out{_attempts_text(tries)}. A longer timeout can be set"
            " on the provider's page."
        )
    if isinstance(error, httpx.TransportError):
        why = redact(str(error), secrets)
        return UpstreamFailed(f"{who} broke off while it answered: {_shorten(why)}")
    if isinstance(error, openai.APIConnectionError):
        why = redact(str(error.__cause__ or error) or type(error).__name__, secrets)
        return UpstreamFailed(
            f"{who} could not be reached{_attempts_text(tries)}: {_shorten(why)}"
        )
    if isinstance(error, openai.APIError):
        return UpstreamFailed(
            f"{who} failed while it answered: {_shorten(redact(str(error), secrets))}"
        )
    return InvalidResponse(
        f"{who} answered what is not the JSON it should be{_attempts_text(tries)}:"
        f" {_shorten(redact(str(error), secrets))}"
    )


def _from_status(  # noqa: PLR0911 - a kind of status each
    error: openai.APIStatusError, who: str, message: str, times: str
) -> ProviderError:
    status = error.status_code
    if error.response.is_redirect:
        return Invalid(
            f"{who} redirects to another address ({status}). Redirects are not followed:"
            " enter the final address on the provider's page."
        )
    if status in UNAUTHORIZED:
        return AuthenticationFailed(
            f"{who} did not accept the key ({status}): {message} Check the key of the"
            " provider, or the token given at launch."
        )
    if status == NOT_FOUND:
        return NotFound(
            f"{who} knows no such model or address ({status}): {message} Check the model"
            " of the agent and the address of the provider."
        )
    if status == TOO_MANY_REQUESTS:
        seconds = retry_after(error.response.headers)
        wait = f" It asks to wait {seconds:,.0f} s." if seconds else ""
        return UpstreamFailed(f"{who} gets too many requests{times}: {message}{wait}")
    if status < MIN_ERROR_STATUS:
        return Invalid(f"{who} refused the request ({status}): {message}")
    return UpstreamFailed(f"{who} failed ({status}){times}: {message}")


def _server_message(error: openai.APIStatusError) -> str:
    """Return the server's error message as a sentence."""
    body = error.body
    server_text = body.get("message") if isinstance(body, dict) else None
    text = _shorten(
        str(server_text or error.response.reason_phrase or "no reason given")
    )
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _attempts_text(tries: int) -> str:
    return f" in {tries} attempts" if tries > 1 else ""


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Replace every secret in a text."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "•••")
    return text
