"""`python -m tests.chaos [--seed N] [--seconds S]`: one run of the suite; 1 on a finding."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

from tests.chaos.run import run
from tests.chaos.schedule import FAULTS, Settings

MAX_SEED = 999_999


def main() -> int:
    """Run the suite, print its report."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="by default one at random")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the schedule")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--webs", type=int, default=2)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only these")
    parser.add_argument("--directory", type=Path, help="for schedule, logs and report")
    given = parser.parse_args()
    seed = SystemRandom().randint(1, MAX_SEED) if given.seed is None else given.seed
    settings = Settings(
        seed=seed,
        seconds=given.seconds,
        workers=given.workers,
        webs=given.webs,
        clients=given.clients,
        faults=tuple(given.fault or FAULTS),
    )
    directory = given.directory or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"Seed {seed}: {settings.command}\nFiles: {directory}\n")
    sys.stdout.flush()
    outcome = run(settings, directory)
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
