"""Check the requirements for known vulnerabilities with pip-audit; part of `make check`.

Without access to the vulnerability service the check is skipped with a message.
A result is cached for a day, unless a requirement changes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-ocr.txt", "requirements-s3.txt")
CACHE = Path(sys.prefix) / ".vulnerable"  # digest of the requirements
FRESH_SECONDS = 86_400
TIMEOUT_SECONDS = 60  # for all of it
COMMAND = (
    *(sys.executable, "-m", "pip_audit", "--disable-pip", "--format", "json"),
    *("--progress-spinner", "off", "--timeout", "5"),
)


def main() -> int:
    """Print known vulnerabilities. Returns the exit code: 1 for a vulnerability."""
    locks = [ROOT / name for name in LOCKS]
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    if _is_cached(digest):
        return _say("Vulnerabilities: none was known when this was checked today.")
    found = _query(locks)
    if isinstance(found, str):
        return _say(f"Vulnerabilities: skipped, {found}")
    return _report(found, digest)


def _report(found: list[dict[str, Any]], digest: str) -> int:
    """Print and cache the result of pip-audit. Returns the exit code."""
    looked_up = [one for one in found if "vulns" in one]
    known = [
        f"  {one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}"
        for one in looked_up
        if one["vulns"]
    ]
    if known:
        _say("\n".join(["Vulnerabilities are known of these; upgrade them:", *known]))
        return 1
    if not looked_up:
        return _say(
            "Vulnerabilities: skipped, the list here knows none of our packages."
        )
    CACHE.write_text(json.dumps({"digest": digest, "at": time.time()}))
    counted = f"{len(looked_up)} of {len(found)} packages"
    return _say(f"Vulnerabilities: none is known of {counted}.")


def _query(locks: list[Path]) -> list[dict[str, Any]] | str:
    """Return the report of pip-audit by package, or the reason for a failure."""
    wanted = [part for lock in locks for part in ("--requirement", str(lock))]
    try:
        done = subprocess.run(  # noqa: S603 - our own environment's
            [*COMMAND, *wanted],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"no list of them answered within {TIMEOUT_SECONDS} seconds."
    try:
        told: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return "no list of them can be reached from here."
    return told


def _is_cached(digest: str) -> bool:
    try:
        seen = json.loads(CACHE.read_text())
        return bool(
            seen["digest"] == digest and time.time() - seen["at"] < FRESH_SECONDS
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
