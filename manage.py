#!/usr/bin/env python
"""Run a management command; `manage.py help` lists them, `version` shows the release."""

import os
import sys

import django
from django.core.management import execute_from_command_line
from django.db import DatabaseError

from project.garbage_collector import collect_rarely_while_loading
from workflows import __version__


def main() -> None:
    """Run the command named on the command line."""
    if sys.argv[1:] in (["version"], ["--version"]):
        sys.stdout.write(f"Signalbox {__version__}, Django {django.__version__}\n")
        return
    collect_rarely_while_loading()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        execute_from_command_line(sys.argv)
    except DatabaseError as error:
        sys.exit(_message(error))


def _message(error: DatabaseError) -> str:
    """Return the message for an unreachable database. Raises any other error."""
    from workflows.infra import outages  # noqa: PLC0415 - needs the settings

    if not outages.is_unavailable(error):
        raise error
    cause = str(error).strip().splitlines()[0]
    return f"The database cannot be reached: {cause}. Start it, or set DATABASE_URL."


if __name__ == "__main__":
    main()
