"""`manage.py history_key`: the public key by which exported bundles are verified."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from workflows.audit.exporter import public_key


class Command(BaseCommand):
    """Print the public key; it may be told to anybody."""

    help = "Print the public key by which exported bundles are verified."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print it."""
        self.stdout.write(public_key())
