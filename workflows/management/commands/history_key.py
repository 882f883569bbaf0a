"""`manage.py history_key`: the public key that verifies exported bundles."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from workflows.audit.bundle_export import public_key


class Command(BaseCommand):
    """Print the public key, which is not secret."""

    help = "Print the public key that verifies exported bundles."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Print it."""
        self.stdout.write(public_key())
