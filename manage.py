#!/usr/bin/env python
"""Run one of the project's commands; `manage.py help` lists them."""

import os
import sys

from django.core.management import execute_from_command_line
from django.db import DatabaseError


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    try:
        execute_from_command_line(sys.argv)
    except DatabaseError as error:
        sys.exit(_sentence(error))


def _sentence(error: DatabaseError) -> str:
    """Return what to do about a database that is away. Raises any other error."""
    from workflows.infra import outages  # noqa: PLC0415 - needs set-up settings

    if not outages.is_away(error):
        raise error
    said = str(error).strip().splitlines()[0]
    return f"The database cannot be reached: {said}. Start it, or set DATABASE_URL."


if __name__ == "__main__":
    main()
