"""`python -m tests.chaos [--seed N] [--seconds S]`: one run of the suite; 1 on a finding."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from random import SystemRandom

from tests.chaos.run import run
from tests.chaos.schedule import FAULTS, Settings

MAX_SEED = 999_999
NUMBERS = [one for one in fields(Settings) if one.name != "faults"]


def settings_of(arguments: Sequence[str]) -> tuple[Settings, Path | None]:
    """Return the settings and the directory that a command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only these")
    parser.add_argument("--directory", type=Path, help="for schedule, logs and report")
    for one in NUMBERS:
        name, default = one.name.replace("_", "-"), one.default
        is_whole = one.type == "int"
        parser.add_argument(
            f"--{name}",
            type=int if is_whole else float,
            default=SystemRandom().randint(1, MAX_SEED)
            if default is MISSING
            else default,
            help="one at random" if default is MISSING else f"default: {default}",
        )
    given = parser.parse_args(arguments)
    settings = Settings(
        **{one.name: getattr(given, one.name) for one in NUMBERS},
        faults=tuple(given.fault or FAULTS),
    )
    return settings, given.directory


def main() -> int:
    """Run the suite, print its report."""
    settings, named = settings_of(sys.argv[1:])
    directory = named or Path(tempfile.mkdtemp(prefix="chaos-"))
    directory.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"{settings.command}\nFiles: {directory}\n")
    sys.stdout.flush()
    outcome = run(settings, directory)
    sys.stdout.write(f"{outcome}\n")
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    sys.exit(main())
