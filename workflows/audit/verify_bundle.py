"""`python -m workflows.audit.verify_bundle bundle.json --key KEY`: verify a signed bundle.

Requires only Python and the package cryptography.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflows.audit.bundle_format import InvalidBundle, not_as_signed, read

GOOD, NOT_AS_SIGNED, INVALID_BUNDLE = 0, 1, 2  # exit codes


def main() -> int:
    """Print the deviations, or that there are none; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workflows.audit.verify_bundle", description=__doc__
    )
    parser.add_argument("bundle", type=Path, help="file of manage.py export_history")
    parser.add_argument(
        "--key",
        required=True,
        help="public key, as printed by manage.py history_key",
    )
    options = parser.parse_args()
    try:
        bundle = read(options.bundle.read_text("utf-8"))
    except (InvalidBundle, OSError, UnicodeDecodeError) as error:
        sys.stderr.write(f"{options.bundle}: {error}\n")
        return INVALID_BUNDLE
    deviations = list(not_as_signed(bundle, options.key.strip().lower()))
    for sentence in deviations:
        sys.stdout.write(f"{sentence}\n")
    if deviations:
        return NOT_AS_SIGNED
    sys.stdout.write(
        f"Run {bundle['run']['id']}: {bundle['rows']} rows verified, as signed at"
        f" {bundle['exported_at']}.\n"
    )
    for sentence in bundle["findings"]:
        sys.stdout.write(f"Deviation found at export: {sentence}\n")
    return GOOD if bundle["as_recorded"] else NOT_AS_SIGNED


if __name__ == "__main__":
    sys.exit(main())
