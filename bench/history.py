"""`python -m bench.history --runs N --decisions M`: fill an empty database with runs.

Uses the database of the settings. `bench.pages` measures pages with this data.
"""

from __future__ import annotations

import argparse
import os


def main() -> None:
    """Parse the options and write the history."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.history", description=__doc__
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=100, help="days covered")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django  # noqa: PLC0415 - after the environment is set

    django.setup()
    from bench import history_rows  # noqa: PLC0415 - models need the setup

    try:
        history_rows.fill(**vars(options))
    except ValueError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
