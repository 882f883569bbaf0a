"""Constant load on an installation, and limits on what grows: `python -m bench.soak`.

Starts PostgreSQL, Redis, web processes and workers (`--sqlite`: one process), lets people
use them for an hour, measures every few seconds, and compares the growth after the warm-up
with the limits of `bench/soak/limits.py`. Prints a table, and a sentence for each limit
that was exceeded; then it exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import psutil  # noqa: F401 - the first of the development requirements that is needed
except ImportError:
    sys.exit("The soak test needs psutil: install requirements-dev.txt.")

from bench.soak.clients import Books, use
from bench.soak.installation import Installation, installed
from bench.soak.limits import MAX_FAILED_SHARE, Line, judge

if TYPE_CHECKING:
    from bench.soak.gauges import Series

MINUTE = 60.0
WARM_UP_SHARE = 0.2  # of the time, which is not judged
MAX_EVERY = 5.0  # seconds between two samples
SAMPLES = 100  # at least, unless the measurements themselves take longer
HEADS = "process", "metric", "unit", "first quarter", "last", "growth", "limit", ""


def main() -> int:
    """Run the soak test; return its exit code."""
    options = parsed()
    directory = options.directory
    if directory:
        directory.mkdir(parents=True, exist_ok=True)
    with (
        nullcontext(str(directory))
        if directory
        else tempfile.TemporaryDirectory(prefix="soak-")
    ) as home:
        kinds = {"sqlite": options.sqlite, "webs": options.webs}
        with installed(Path(home), **kinds, workers=options.workers) as installation:
            series, books = measure(installation, options)
            ended = installation.ended()
        lines = judge(after(series, options.minutes * MINUTE * WARM_UP_SHARE))
        wrong = findings(lines, books, ended)
        _write(Path(home) / "report.json", series, books, wrong)
    report(lines, books, wrong)
    return 1 if wrong else 0


def parsed() -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--sqlite", action="store_true", help="one process, no Redis")
    parser.add_argument("--webs", type=int, default=2, help="web processes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--people", type=int, default=4, help="who use it at once")
    parser.add_argument("--every", type=float, help="seconds between two samples")
    parser.add_argument(
        "--directory", type=Path, help="an empty one, to keep logs and report.json"
    )
    return parser.parse_args()


def measure(
    installation: Installation, options: argparse.Namespace
) -> tuple[Series, Books]:
    """Put the load on an installation; return the series and the outcome of requests.

    Ends early when a process or the measurements do.
    """
    from bench.soak.gauges import Sampler  # noqa: PLC0415 - Django is set up by now

    seconds = options.minutes * MINUTE
    sampler = Sampler(installation, options.every or min(MAX_EVERY, seconds / SAMPLES))
    books = Books()
    until = time.monotonic() + seconds

    def is_over() -> bool:
        has_ended = sampler.error is not None or installation.ended()
        return bool(has_ended) or time.monotonic() >= until

    sampler.start()
    try:
        asyncio.run(use(installation.urls, options.people, is_over, books))
    finally:
        sampler.stop()
    pages = books.pages
    return {
        **sampler.series,
        ("pages", "page p50"): pages,
        ("pages", "page p95"): pages,
    }, books


def after(series: Series, seconds: float) -> Series:
    """Return the part of each series after the warm-up."""
    return {
        key: [point for point in points if point[0] >= seconds]
        for key, points in series.items()
    }


def findings(lines: list[Line], books: Books, ended: dict[str, int]) -> list[str]:
    """Return a sentence for each limit that was exceeded."""
    wrong = [sentence for line in lines if (sentence := line.sentence())]
    wrong += [
        f"{line.subject}: {line.name} has too few points to be judged: take more minutes."
        for line in lines
        if line.verdict is None
    ]
    wrong += [f"{name} ended with {code}: see its log." for name, code in ended.items()]
    failed = books.failures.total()
    if failed > books.requests * MAX_FAILED_SHARE:
        wrong.append(
            f"{failed} of {books.requests:,} requests failed; the limit is"
            f" {MAX_FAILED_SHARE:.1%}. First: {next(iter(books.failures))}"
        )
    return wrong


def report(lines: list[Line], books: Books, wrong: list[str]) -> None:
    """Print the table, the counts and the sentences."""
    rows = [list(HEADS), ["---"] * len(HEADS), *(line.cells() for line in lines)]
    text = [f"| {' | '.join(row)} |" for row in rows]
    text += ["", f"Requests: {books.requests:,}; statuses: {dict(books.statuses)}."]
    text.append(f"Scenarios: {dict(books.done)}.")
    text += [f"Failed {number}×: {what}" for what, number in books.failures.items()]
    text += ["", *(wrong or ["No limit was exceeded."])]
    sys.stdout.write("\n".join(text) + "\n")


def _write(path: Path, series: Series, books: Books, wrong: list[str]) -> None:
    """Write what was measured, warm-up included, as JSON."""
    found = {
        "wrong": wrong,
        "failures": books.failures,
        "done": books.done,
        "series": [
            {"subject": subject, "metric": metric, "points": points}
            for (subject, metric), points in series.items()
        ],
    }
    path.write_text(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
