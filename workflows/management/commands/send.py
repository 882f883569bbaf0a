"""`manage.py send NAME [KEY] [VALUE]`: move the runs that wait for an event."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from workflows.engine.errors import RequestError
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

BAD_INPUT = 2


class Command(BaseCommand):
    """Send a message; exit 2 if it is refused."""

    help = (
        "Send a message to the runs that wait for an event with this name and key. One that"
        " no run waits for is kept. Exits 2 if the message is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the message and the options."""
        parser.add_argument("name", help="name of the event")
        parser.add_argument("key", nargs="?", default="", help="key of the event")
        parser.add_argument(
            "value", nargs="?", default="{}", help="its fields, as a JSON object"
        )
        parser.add_argument(
            "--by", metavar="USER", help="who sends it; else the system"
        )
        parser.add_argument("--workflow", default="", help="the only one to send it to")
        parser.add_argument("--idempotency-key", help="sends a repeated message once")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Send the message."""
        user = None
        if options["by"]:
            user = User.objects.filter(username=options["by"], is_active=True).first()
            if user is None:
                self._fail(f"There is no active user “{options['by']}”.")
        try:
            sent = system.send(
                options["name"],
                options["key"],
                self._value(options["value"]),
                by=user,
                workflow=options["workflow"],
                idempotency_key=options["idempotency_key"],
            )
        except RequestError as error:
            self._fail(str(error))
        for one in sent:
            moved = ", ".join(map(str, one.runs)) or "no run"
            kept = "; the message is kept" if one.is_kept else ""
            self.stdout.write(f"{one.message.workflow_name}: moved {moved}{kept}.")

    def _value(self, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._fail(f"The value is not valid JSON: {error}.")
        if not isinstance(value, dict):
            self._fail("The value must be a JSON object.")
        return value

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(BAD_INPUT)
