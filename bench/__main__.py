"""`python -m bench [W1 W2 …] [--db sqlite|pg] [--rounds N]`: one JSON line a workload.

`--beside DIR` measures them beside the systems whose harnesses are in DIR, in interleaved rounds
on one server, and prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from bench.servers import postgresql

DATABASE = "signalbox_bench"


def main() -> None:
    """Run the chosen workloads, each on an empty database."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=["W1", "W2", "W3", "W4", "W5"])
    parser.add_argument("--db", choices=["sqlite", "pg"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--beside", type=Path, metavar="DIR", help="with other systems' harnesses"
    )
    parser.add_argument(
        "--venvs",
        type=Path,
        metavar="DIR",
        help="with a virtual environment per system; default: .venv-NAME beside the harness",
    )
    for name, what in (("growth", "cost per step"), ("team", "a team's installation")):
        parser.add_argument(
            f"--{name}", action="store_true", help=f"with --beside: also {what}"
        )
    given = parser.parse_args()
    if given.beside is not None:
        from bench.comparison.rounds import compare  # noqa: PLC0415 - imports this module

        compare(
            given.beside,
            given.venvs,
            given.rounds,
            given.workloads,
            growth=given.growth,
            team=given.team,
        )
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        prepare(Path(home), given.db)
        for name in given.workloads:
            for _ in range(given.rounds):
                figures = measure(Path(home), name, given.db)
                print(json.dumps(figures))  # noqa: T201 - its output
                sys.stdout.flush()


def prepare(home: Path, kind: str, **settings: str) -> None:
    """Set up Django on a new database; settings are environment variables."""
    os.environ |= {
        "DATA_DIR": str(home),
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "LOG_LEVEL": "WARNING",
    }
    os.environ.pop("REDIS_URL", None)
    os.environ.pop("DATABASE_URL", None)
    if kind == "pg":
        os.environ["DATABASE_URL"] = empty_database(postgresql(home))
    os.environ |= settings
    import django  # noqa: PLC0415 - after the environment is set

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    from project.garbage_collector import freeze_loaded_objects  # noqa: PLC0415

    freeze_loaded_objects()  # as a worker's process does


def empty_database(server: str) -> str:
    """Return the address of an empty database on a server that may hold an older one."""
    import psycopg  # noqa: PLC0415 - only there when PostgreSQL is

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {DATABASE}")
    return urlunsplit(urlsplit(server)._replace(path=f"/{DATABASE}"))


def measure(home: Path, name: str, kind: str) -> dict[str, Any]:
    """Return what one workload measured, on empty tables."""
    from bench.gauges import loop_ms, syncs_per_second  # noqa: PLC0415
    from bench.workloads import WORKLOADS, Bench  # noqa: PLC0415
    from workflows.models import Decision, Run, Stage  # noqa: PLC0415

    for model in (Stage, Decision, Run):
        model.objects.all().delete()
    figures = asyncio.run(Bench(WORKLOADS[name]).run())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return {
        "workload": name,
        "db": kind,
        **figures,
        "peak_rss_mb": round(peak, 1),
        "gauges": {"syncs_per_s": syncs_per_second(home), "loop_ms": loop_ms()},
    }


if __name__ == "__main__":
    main()
