"""Mail to a person: one message about an event, or one about the events of a day.

The text is made when it is sent, from what the person may see then. The Message-ID is that
of the message, so that a mail that is sent twice can be recognised.
"""

from __future__ import annotations

import asyncio
import json
import time
from smtplib import SMTPException
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from workflows.deliveries import notification_texts, recipients
from workflows.deliveries.webhook_requests import Result
from workflows.infra.database_threads import run_in_db
from workflows.infra.text import clean

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.models import Delivery, Destination


def is_configured() -> bool:
    """Return whether mail can be sent."""
    return bool(settings.EMAIL_HOST)


def body_of(notification_ids: list[int]) -> str:
    """Return the stored body of a message to a person: the notifications it is about."""
    return json.dumps({"notifications": notification_ids})


class MailSender:
    """Sends mail to the owner of a destination."""

    async def close(self) -> None:
        """Do nothing: each mail has a connection of its own."""

    async def send(self, destination: Destination, delivery: Delivery) -> Result:
        """Send a mail; whatever fails is a result."""
        started = time.monotonic()
        mail = await run_in_db(_mail, destination, delivery)
        if mail is None:
            return Result("")  # nothing is left that the person may see
        error = ""
        if not is_configured():
            error = "Mail is not configured: set EMAIL_HOST on the server."
        elif not mail.to[0]:
            error = "The account has no mail address."
        else:
            error = await asyncio.to_thread(_send, mail)
        return Result(error, duration_ms=int((time.monotonic() - started) * 1000))


def _send(mail: EmailMessage) -> str:
    """Send a mail in this thread; return the error as a sentence, "" if it was accepted."""
    try:
        mail.connection = get_connection(timeout=settings.WEBHOOK_SECONDS)
        mail.send()
    except (SMTPException, OSError, ValueError) as error:
        text = clean(str(error)).strip().rstrip(".")[:200]
        return f"The mail server refused the message: {text or type(error).__name__}."
    return ""


def _mail(destination: Destination, delivery: Delivery) -> EmailMessage | None:
    """Return the mail, about those of its notifications that the person may see now."""
    owner: User | None = destination.owner
    if owner is None or not owner.is_active:
        return None
    ids = json.loads(delivery.body)["notifications"]
    events = recipients.still_visible(owner, ids)
    if not events:
        return None
    is_digest = delivery.kind == "digest"
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    return EmailMessage(
        subject=(
            notification_texts.digest_title(len(events))
            if is_digest
            else notification_texts.title_of(events[0])
        ),
        body=notification_texts.digest_about(events)
        if is_digest
        else notification_texts.mail_about(events[0]),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[owner.email],
        headers={
            "Message-ID": f"<{delivery.webhook_id}@{host}>",
            "Auto-Submitted": "auto-generated",
        },
    )
