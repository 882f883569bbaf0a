"""`python -m workflows.audit.verify bundle.json --key KEY`: is a bundle what was signed?

Needs Python and the package cryptography; no settings, no Django, no database.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflows.audit.bundles import NoBundle, not_as_signed, read

GOOD, NOT_AS_SIGNED, NO_BUNDLE = 0, 1, 2  # exit codes


def main() -> int:
    """Say what does not fit, or that all does."""
    parser = argparse.ArgumentParser(
        prog="python -m workflows.audit.verify", description=__doc__
    )
    parser.add_argument("bundle", type=Path, help="file of manage.py export_history")
    parser.add_argument(
        "--key",
        required=True,
        help="what manage.py history_key says, told by the owner",
    )
    given = parser.parse_args()
    try:
        told = read(given.bundle.read_text("utf-8"))
    except (NoBundle, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{given.bundle}: {error}\n")
        return NO_BUNDLE
    wrong = list(not_as_signed(told, given.key.strip().lower()))
    for sentence in wrong:
        sys.stdout.write(f"{sentence}\n")
    if wrong:
        return NOT_AS_SIGNED
    sys.stdout.write(
        f"Run {told['run']['id']}: {told['rows']} rows are what was signed at"
        f" {told['exported_at']}.\n"
    )
    for sentence in told["findings"]:
        sys.stdout.write(f"Not as recorded when it was exported: {sentence}\n")
    return GOOD if told["as_recorded"] else NOT_AS_SIGNED


if __name__ == "__main__":
    sys.exit(main())
