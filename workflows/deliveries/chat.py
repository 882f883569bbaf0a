"""Messages to chats (Slack, Teams and others), in the words of Apprise's addresses.

An address has secrets, so that it is stored encrypted. Requests are made in a child process
(`chat_process.py`). A text has no data of a run, as the bodies of webhooks. Those of a person's
chat are made when they are sent, from what the person may see then, as mail is.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography.fernet import InvalidToken
from django.conf import settings

from workflows.deliveries import notification_texts, recipients
from workflows.deliveries.webhook_requests import Result
from workflows.infra.database_threads import run_in_db
from workflows.infra.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User

    from workflows.models import Delivery, Destination, OutboxEvent

ROOT: Final = Path(__file__).parents[2]  # where the package of the child is found
# Services whose requests are HTTPS; others could execute commands, or use other protocols
SCHEMES: Final = frozenset(
    {
        *("discord", "forms", "gchat", "jsons", "matrixs", "mmosts", "msteams"),
        *("rockets", "slack", "tgram", "webex", "workflow", "workflows", "wxteams"),
        "zulip",
    }
)
PLAIN: Final = frozenset({"form", "json", "matrix", "mmost", "rocket"})  # over HTTP
INHERITED: Final = (
    *("PATH", "PYTHONPATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
)  # variables of the environment: no secret of the server is among them


def is_address(url: str) -> bool:
    """Return whether a URL is the address of a chat, and not of a webhook."""
    scheme = url.partition("://")[0].lower()
    return scheme in SCHEMES or scheme in PLAIN


def check(address: str) -> tuple[str, str]:
    """Return why messages can’t be sent to an address, and the address without secrets."""
    scheme = address.partition("://")[0].lower()
    if scheme in PLAIN and not settings.ALLOW_PRIVATE_WEBHOOKS:
        return f"Use {scheme}s:// instead of {scheme}://: it is encrypted.", ""
    found = _in_child({"address": address})
    return found["error"], found["shown"]


def body_of(event: OutboxEvent) -> str:
    """Return the stored body of a message about an event."""
    return as_text(
        notification_texts.title_of(event), notification_texts.chat_about(event)
    )


def as_text(title: str, text: str) -> str:
    """Return the stored body of a message."""
    return json.dumps({"title": title, "text": text}, ensure_ascii=False)


class ChatSender:
    """Sends messages to a chat."""

    async def close(self) -> None:
        """Do nothing: each message has a process of its own."""

    async def send(self, destination: Destination, delivery: Delivery) -> Result:
        """Send a message; whatever fails is a result."""
        started = time.monotonic()
        try:
            (address,) = destination.open_secrets()
        except InvalidToken:
            return Result(
                "The address can’t be decrypted: SECRET_KEY has changed. Enter it again."
            )
        text = await run_in_db(_text, destination, delivery)
        if text is None:
            return Result("")  # nothing is left that the person may see
        message = {"address": address, **text}
        found = await asyncio.to_thread(_in_child, message)
        duration = int((time.monotonic() - started) * 1000)
        return Result(clean(found["error"]), duration_ms=duration)


def _text(destination: Destination, delivery: Delivery) -> dict[str, str] | None:
    """Return title and body of a message; None if its person may not see it any more."""
    stored = json.loads(delivery.body)
    if "notifications" not in stored:
        return {"title": stored["title"], "body": stored["text"]}
    owner: User | None = destination.owner
    ids = stored["notifications"]
    events = recipients.still_visible(owner, ids) if owner is not None else []
    if not events:
        return None
    return {
        "title": notification_texts.title_of(events[0]),
        "body": notification_texts.chat_about(events[0]),
    }


def _in_child(request: Mapping[str, Any]) -> dict[str, str]:
    """Return what the child process says of a request; an error if it says nothing."""
    given = {**request, "allow_private": settings.ALLOW_PRIVATE_WEBHOOKS}
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "workflows.deliveries.chat_process"],
            input=json.dumps(given).encode(),
            capture_output=True,
            timeout=settings.WEBHOOK_SECONDS,
            cwd=ROOT,
            env=environment,
            check=True,
        )
        found: dict[str, str] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        text = f"The message was not sent within {settings.WEBHOOK_SECONDS:g} s."
        return {"error": text, "shown": ""}
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        text = f"The process that sends messages failed: {type(error).__name__}."
        return {"error": text, "shown": ""}
    return found
