"""Tables of measurements: medians of the rounds, and their ratios to the targets."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.comparison.systems import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bench.comparison.systems import Measurement

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Target:
    """A limit of our figure, or of its ratio to another system's figure."""

    limit: float
    of: str = ""  # the other system; "" for the figure itself
    at_most: bool = False  # the limit is an upper one

    def verdict(self, ours: float, theirs: Mapping[str, float]) -> str:
        """Return the target with the figure, in bold unless it is met."""
        sign = "≤" if self.at_most else "≥"
        what = f"{sign} {self.limit:g}" + (f" × {self.of}" if self.of else "")
        if self.of and not theirs.get(self.of):
            return f"{what}: not measured"
        value = ours / theirs[self.of] if self.of else ours
        is_met = value <= self.limit if self.at_most else value >= self.limit
        if self.of:
            return f"{what}: {value:.2f}, met" if is_met else f"{what}: **{value:.2f}**"
        return f"{what}: met" if is_met else f"{what}: **not met**"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: one figure of one workload."""

    title: str
    workload: str
    figure: str
    targets: tuple[Target, ...] = ()


AHEAD = Target(1.0, "Restate"), Target(1.0, "Absurd")
FIRST_NODE = tuple(
    Target(1.0, system, at_most=True)
    for system in ("DBOS", "LangGraph", "Absurd", "Restate")
)
POSTGRESQL = (
    Row(
        "W1: 1 run × 100 steps, steps/s",
        "W1",
        "steps_per_s",
        (Target(3, "DBOS"), Target(1.3, "four commits"), *AHEAD),
    ),
    Row(
        "W2: 500 runs × 10 steps, steps/s",
        "W2",
        "steps_per_s",
        (Target(10, "DBOS"), Target(3, "four commits"), Target(1, "Restate")),
    ),
    Row(
        "W2: CPU of the process per step, ms",
        "W2",
        "process_ms",
        (Target(0.25, at_most=True),),
    ),
    Row(
        "W2: CPU of the server per step, ms",
        "W2",
        "server_ms",
        (Target(0.18, at_most=True),),
    ),
    Row("W2 with two worker processes, steps/s", "W2 two workers", "steps_per_s"),
    Row(
        "W3: 200 steps that append 5 kB, s",
        "W3",
        "wall_s",
        (Target(1.3, "floor", at_most=True),),
    ),
    Row("W3, MB stored", "W3", "stored_mb", (Target(2.3, at_most=True),)),
    Row(
        "W4: 1,000 runs sleeping for 5 s, s",
        "W4",
        "wall_s",
        (Target(5.6, at_most=True),),
    ),
    Row(
        "W5: launch to first node, 50th percentile, ms",
        "W5",
        "p50_ms",
        (Target(4, at_most=True), *FIRST_NODE),
    ),
    Row("W5, 95th percentile, ms", "W5", "p95_ms"),
    Row(
        "W5 through Redis, 50th percentile, ms",
        "W5 through Redis",
        "p50_ms",
        (Target(6, at_most=True),),
    ),
    Row("W5 through Redis, 95th percentile, ms", "W5 through Redis", "p95_ms"),
)
SQLITE = (
    Row("W1, steps/s", "W1", "steps_per_s", (Target(3, "DBOS"),)),
    Row("W2, steps/s", "W2", "steps_per_s", (Target(8, "DBOS"),)),
    Row("W3, s", "W3", "wall_s"),
    Row("W5, 50th percentile, ms", "W5", "p50_ms", (Target(3, at_most=True),)),
    Row("W5, 95th percentile, ms", "W5", "p95_ms"),
)
TWO_WORKERS = 1.4  # × one, at least
FLAT = (
    0.15  # by which the cost of the largest size may differ from that of the smallest
)
DIMENSIONS = {
    "concurrent": "Runs at once",
    "ended": "Ended runs in the tables",
    "pending": "Pending runs",
    "steps": "Step of one run",
    "workers": "Worker processes",
}
TAIL = 2.0  # × the 50th percentile, at most


class Medians:
    """The medians of all rounds, by database, workload, figure and system."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        """Take the measurements of any number of rounds; those that failed are left out."""
        found: dict[tuple[str, str, str], dict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for one in measurements:
            for figure, value in one.figures.items():
                found[one.database, one.workload, figure][one.system].append(value)
        self._medians = {
            place: {name: statistics.median(values) for name, values in systems.items()}
            for place, systems in found.items()
        }

    def of(self, database: str, workload: str, figure: str) -> dict[str, float]:
        """Return the median of each system that has the figure."""
        return self._medians.get((database, workload, figure), {})

    def ours(self, database: str, workload: str, figure: str) -> float | None:
        """Return our median; None if it was not measured."""
        return self.of(database, workload, figure).get(OURS)


def tables(figures: Medians) -> Iterator[str]:
    """Yield the lines of the tables of PostgreSQL and SQLite, of what was measured."""
    yield from _table("PostgreSQL", "pg", POSTGRESQL, figures)
    yield ""
    yield from _table("SQLite", "sqlite", SQLITE, figures)
    yield ""
    yield from _within(figures)


def _table(
    title: str, database: str, rows: tuple[Row, ...], figures: Medians
) -> Iterator[str]:
    by_row = {row: figures.of(database, row.workload, row.figure) for row in rows}
    by_row = {row: medians for row, medians in by_row.items() if medians}
    names = dict.fromkeys([OURS, *(name for one in by_row.values() for name in one)])
    yield line([title, *names, "target"])
    yield line(["---"] * (len(names) + 2))
    for row, medians in by_row.items():
        ours = medians.get(OURS)
        verdicts = (
            MISSING
            if ours is None
            else "; ".join(target.verdict(ours, medians) for target in row.targets)
        )
        cells = [shown(medians.get(name)) for name in names]
        yield line([row.title, *cells, verdicts])


def _within(figures: Medians) -> Iterator[str]:
    """Yield a sentence for each target that compares figures of our own."""
    two = figures.ours("pg", "W2 two workers", "steps_per_s")
    one = figures.ours("pg", "W2", "steps_per_s")
    if one and two:
        yield _sentence(
            "Two worker processes against one", two / one, TWO_WORKERS, at_most=False
        )
    for database, workload in (
        ("pg", "W5"),
        ("pg", "W5 through Redis"),
        ("sqlite", "W5"),
    ):
        middle = figures.ours(database, workload, "p50_ms")
        tail = figures.ours(database, workload, "p95_ms")
        if middle and tail:
            what = f"{workload}, {database}: 95th percentile against the 50th"
            yield _sentence(what, tail / middle, TAIL, at_most=True)


def _sentence(what: str, value: float, limit: float, *, at_most: bool) -> str:
    verdict = Target(limit, at_most=at_most).verdict(value, {})
    return f"- {what}: {value:.2f} × ({verdict})"


def line(cells: Iterable[str]) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def shown(value: float | None) -> str:
    """Return a figure with three significant digits, thousands in full."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - digits


def growth_tables(points: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table of the cost per step for each dimension of `bench.growth`."""
    by_name: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for point in points:
        by_name[str(point["growth"])].append(point)
    for name, of_one in by_name.items():
        sizes = [f"{point['at']:,}" for point in of_one]
        yield line([DIMENSIONS[name], *sizes, f"last / first, ± {FLAT:.0%}"])
        yield line(["---"] * (len(sizes) + 2))
        for part in ("process", "server"):
            costs = [float(point[f"{part}_ms"]) for point in of_one]
            yield line([f"CPU per step, {part}, ms", *map(shown, costs), ""])
        both = [float(point["process_ms"] + point["server_ms"]) for point in of_one]
        ratio = both[-1] / both[0] if both[0] else 0.0
        verdict = f"{ratio:.2f}, met" if abs(ratio - 1) <= FLAT else f"**{ratio:.2f}**"
        yield line(["CPU per step, both, ms", *map(shown, both), verdict])
        yield ""


def team_table(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of `bench.team`."""
    for one in found:
        yield line([f"{one['webs']} web processes, {one['workers']} workers", "", ""])
        yield line(["---"] * 3)
        yield line(["500 runs × 10 steps, steps/s", shown(one["steps_per_s"]), ""])
        for title, name in (
            ("Launch to first node under load", "launch"),
            ("List of runs under load", "page"),
        ):
            times = [shown(one[name][key]) for key in ("p50_ms", "p95_ms")]
            yield line([f"{title}, 50th and 95th percentile, ms", *times])
