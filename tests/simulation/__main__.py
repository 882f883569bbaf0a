"""Execute schedules: `python -m tests.simulation --seed 1 --schedules 500`."""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from tests.support import servers

SETTINGS = {
    "LEASE_SECONDS": "2",
    "HEARTBEAT_SECONDS": "0.6",
    "POLL_INTERVAL_SECONDS": "1",
    "MAX_RECOVERIES": "50",
    "WORKFLOW_APPS": "tests.chaos.app,tests.simulation.simulated_app",
    "DJANGO_SETTINGS_MODULE": "project.settings",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "1",  # the ORM is called on the loop's thread
}


def main() -> int:
    """Execute the schedules; return 1 if one of them violates an invariant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--schedules", type=int, default=1, help="number of seeds")
    parser.add_argument("--log", action="store_true", help="print the product's log")
    parser.add_argument("--digest", action="store_true", help="print what happened")
    parser.add_argument(
        "--until-failure", action="store_true", help="end after a schedule that fails"
    )
    parser.add_argument("--processes", type=int, default=1, help="at the same time")
    parser.add_argument("--plant", default="", help="a fault to plant into the product")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="simulation") as directory:
        os.environ.update(SETTINGS, DATA_DIR=directory, DATABASE_URL="")
        prepare(Path(directory), with_log=given.log)
        from tests.simulation.runner import Runner

        runner = Runner(
            Path(directory),
            plant=given.plant,
            with_digest=given.digest,
            until_failure=given.until_failure,
        )
        seeds = range(given.seed, given.seed + given.schedules)
        return runner.execute(seeds, given.processes)


def prepare(directory: Path, *, with_log: bool) -> None:
    """Set Django up with an empty database in memory."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    migrated = servers.migrated_file(directory)
    database = settings.DATABASES["default"]
    database["NAME"] = ":memory:"
    # a schedule has more different statements than are kept by default
    database["OPTIONS"] = {**database["OPTIONS"], "cached_statements": 1_000}
    django.setup()
    logging.disable(logging.NOTSET if with_log else logging.CRITICAL)
    connection.ensure_connection()
    with closing(sqlite3.connect(migrated)) as source:
        source.backup(connection.connection)
    with connection.cursor() as cursor:
        cursor.execute(servers.FORGET_START_OF_SEALING)
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    sys.exit(main())
