"""Test of the connection to a provider: reach it, use its key, list its models.

Every problem is a sentence that says what to do next. Nothing is stored, and the key is in
no sentence.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken

from workflows.agents.lookup import endpoint_of
from workflows.agents.provider_api.clients import Clients
from workflows.infra.addresses import AddressRefused
from workflows.infra.text import clean
from workflows.models.agents import KeyOfOtherOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    import openai

    from workflows.models import Provider

SECONDS: Final = 10.0  # for the whole test
MAX_MODELS: Final = 500  # in the list
MAX_NAME_LENGTH: Final = 120  # characters of a model, as in its column
MAX_REPLY_BYTES: Final = 4_000_000
MAX_MESSAGE_CHARS: Final = 300  # of what the provider says
UNAUTHORIZED: Final = (401, 403)
NOT_FOUND: Final = 404
TOO_MANY_REQUESTS: Final = 429
MIN_SERVER_ERROR: Final = 500

ENTER_KEY_AGAIN = "The stored API key can’t be read any more. Enter it again."
OTHER_ORIGIN = (
    "The stored API key is for another address and was not sent. Enter it again."
)


@dataclass(frozen=True, slots=True)
class Connection:
    """The outcome of a test: the models, or the problem."""

    models: tuple[str, ...] = ()  # sorted
    problem: str = ""  # a sentence; "" if the provider answered

    @property
    def is_working(self) -> bool:
        """Return whether the provider listed its models."""
        return not self.problem


async def contact(provider: Provider) -> Connection:
    """Return the models of a provider, saved or not, or the problem."""
    try:
        key = provider.open_key()
    except InvalidToken:
        return Connection(problem=ENTER_KEY_AGAIN)
    except KeyOfOtherOrigin:
        return Connection(problem=OTHER_ORIGIN)
    clients = Clients()
    try:
        async with asyncio.timeout(SECONDS):
            return await _listed(provider, clients, key)
    except TimeoutError:
        return Connection(problem=_timed_out(provider))
    finally:
        await clients.close()


async def _listed(  # noqa: PLR0911 - a kind of error each
    provider: Provider, clients: Clients, key: str
) -> Connection:
    import openai  # noqa: PLC0415 - the import takes a second

    endpoint = endpoint_of(provider)
    try:
        client = clients.get(endpoint).with_options(timeout=SECONDS)
        reply = await client.models.with_raw_response.list(
            extra_headers=endpoint.headers(key)
        )
    except openai.APITimeoutError:
        return Connection(problem=_timed_out(provider))
    except openai.APIStatusError as error:
        return Connection(problem=_refused(provider, error, key))
    except openai.APIConnectionError as error:
        return Connection(problem=_unreachable(provider, error))
    except (openai.OpenAIError, ValueError, TypeError) as error:
        return Connection(
            problem=f"The provider can’t be called: {_short(str(error), key)}"
        )
    return _models_of(reply.http_response)


def _models_of(response: httpx.Response) -> Connection:
    """Return the models of a reply, which can be anything."""
    wrong = Connection(
        problem="The address answers, but not with a list of models: it is not an"
        " OpenAI-compatible API. Check the path of the base URL, often /v1."
    )
    if len(response.content) > MAX_REPLY_BYTES:
        return wrong
    try:
        names = sorted(set(_names(response.json())))
    except (ValueError, TypeError, RecursionError):
        return wrong
    return Connection(models=tuple(names[:MAX_MODELS]))


def _names(reply: Any) -> Iterator[str]:
    """Yield the names in a reply. Raises TypeError for another shape."""
    rows = reply.get("data") if isinstance(reply, dict) else None
    if rows is None and isinstance(reply, dict) and reply.get("object") == "list":
        rows = []  # Ollama without models
    if not isinstance(rows, list):
        raise TypeError
    for row in rows:
        name = row.get("id") if isinstance(row, dict) else None
        if isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH:
            yield clean(name)


# Sentences ------------------------------------------------------------------------------


def _refused(  # noqa: PLR0911 - a kind of status each
    provider: Provider, error: openai.APIStatusError, key: str
) -> str:
    """Return what an error status means for the form."""
    status, said = error.status_code, _said(error, key)
    if error.response.is_redirect:
        return (
            f"{provider.base_url} redirects to another address ({status}). Redirects are"
            " not followed: enter the final address as base URL."
        )
    if status in UNAUTHORIZED:
        return _unauthorized(status, said, has_key=bool(key))
    if status == NOT_FOUND:
        return (
            f"{provider.base_url} answers, but there is no list of models (404). Check the"
            " path of the base URL, often /v1."
        )
    if status == TOO_MANY_REQUESTS:
        return (
            f"The provider accepts no more requests (429){said} Check the credit and the"
            " limits of your account, then test again."
        )
    if status >= MIN_SERVER_ERROR:
        return (
            f"The provider has an error ({status}){said} Test again in a minute, or check"
            " the provider’s status page."
        )
    return f"The provider refuses the request ({status}){said} Check the base URL."


def _unauthorized(status: int, said: str, *, has_key: bool) -> str:
    if has_key:
        return (
            f"The provider does not accept the API key ({status}){said} Copy the key again,"
            " or create a new one at the provider."
        )
    return f"The provider requires an API key ({status}). Enter one."


def _unreachable(provider: Provider, error: openai.APIConnectionError) -> str:
    """Return why there was no connection, and what to do."""
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, AddressRefused):
            return str(cause)
        if isinstance(cause, ssl.SSLError):
            return (
                f"{provider.origin} has no certificate that this server trusts. Check the"
                " host, or enter http:// for a server without one."
            )
    text = " ".join(str(cause) for cause in causes)
    if "could not be resolved" in text:
        return f"The host of {provider.base_url} is unknown. Check its spelling."
    return (
        f"No connection to {provider.origin}. Check host and port, and start the model"
        " server if it runs on this network. “localhost” is the machine of this server."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that led to it."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _timed_out(provider: Provider) -> str:
    return (
        f"{provider.origin} did not answer within {SECONDS:.0f} s. Check host and port,"
        " and that firewalls let this server connect."
    )


def _said(error: openai.APIStatusError, key: str) -> str:
    """Return the message of the provider as the end of a sentence."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    text = _short(str(message), key) if message else ""
    if not text:
        return "."
    return f": {text}" if text.endswith((".", "!", "?", "…")) else f": {text}."


def _short(text: str, key: str) -> str:
    text = clean(" ".join(text.split()))
    if key:
        text = text.replace(key, "•••")
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"
