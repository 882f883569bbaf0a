"""`python -m bench.statements`: what the writer's statement costs without its wait.

For a batch of one record and one of 500: the CPU of this process and of the server's, in
microseconds per call, with psycopg's cursor and as `execution/sql/binary.py` sends it. One
JSON line per batch. `PERF_PG_URL` is a server on this machine; otherwise one is started.
"""

from __future__ import annotations

import json
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.__main__ import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflows.execution.record_rows import Rows

ROUNDS = 12
BATCHES = {1: 200, 500: 4}  # records, and calls per round
CLOCK_TICKS = 100  # per second, in /proc


def main() -> None:
    """Print the costs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        prepare(Path(home), "pg")
        for records, calls in BATCHES.items():
            print(json.dumps(measure(records, calls)))  # noqa: T201 - its output


def measure(records: int, calls: int) -> dict[str, Any]:
    """Return the costs of one batch, the two ways taking turns."""
    from django.db import connection  # noqa: PLC0415 - after `prepare`

    from workflows.execution.sql.postgresql import BY_KEY  # noqa: PLC0415

    rows = _batches(records)
    ways: dict[str, Callable[[str, Sequence[Any]], object]] = {
        "psycopg": _by_cursor,
        "libpq": lambda text, values: _by_libpq(text, values, BY_KEY),
    }
    client = dict.fromkeys(ways, 0.0)
    server = dict.fromkeys(ways, 0.0)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            statements = [_statement(next(rows)) for _ in range(calls)]
            connection.ensure_connection()
            begin = time.thread_time(), _server_seconds()
            for text, values in statements:
                way(text, values)
            client[name] += time.thread_time() - begin[0]
            server[name] += _server_seconds() - begin[1]
    microseconds = 1_000_000 / (ROUNDS * calls)
    return {
        "records": records,
        **{f"{name}_us": round(client[name] * microseconds, 1) for name in ways},
        **{f"{name}_server_us": round(server[name] * microseconds) for name in ways},
        "ratio": round(client["psycopg"] / client["libpq"], 2),
    }


def _batches(records: int) -> Any:
    """Yield the rows of a step of each of so many runs, again and again."""
    from tests.support.sealed_runs import (  # noqa: PLC0415
        WORKER,
        Step,
        launch,
        record_of,
    )
    from workflows.execution import queue  # noqa: PLC0415
    from workflows.execution.record_rows import rows_of  # noqa: PLC0415

    for _ in range(records):
        launch()
    runs = queue.claim(WORKER, records).runs
    for sequence in count(1):
        yield rows_of(record_of(run, sequence, Step()) for run in runs)


def _statement(rows: Rows) -> tuple[str, Sequence[Any]]:
    """Return the statement that the driver would execute, with its values."""
    from django.db import connection  # noqa: PLC0415

    from workflows.execution.sql.postgresql import PostgreSQLDriver  # noqa: PLC0415

    found: list[tuple[str, Sequence[Any]]] = []

    class Driver(PostgreSQLDriver):
        def _execute(
            self, statement: str, values: Sequence[Any], *_: Any, **__: Any
        ) -> list[tuple[Any, ...]]:
            found.append((statement, values))
            return []

    Driver(connection).write_records(rows)
    return found[0]


def _by_cursor(text: str, values: Sequence[Any]) -> object:
    import psycopg  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from psycopg.types.array import ListBinaryDumper  # noqa: PLC0415
    from psycopg.types.numeric import Int8BinaryDumper  # noqa: PLC0415

    with psycopg.RawCursor(connection.connection) as cursor:
        cursor.adapters.register_dumper(int, Int8BinaryDumper)
        cursor.adapters.register_dumper(list, ListBinaryDumper)
        cursor.execute(text, values, prepare=True)
        return cursor.fetchall()


def _by_libpq(text: str, values: Sequence[Any], disabled: tuple[str, ...]) -> object:
    from django.db import connection  # noqa: PLC0415

    from workflows.execution.sql import binary  # noqa: PLC0415

    return binary.execute(connection, text, values, disabled=disabled)


def _server_seconds() -> float:
    """Return the CPU seconds of the server's process for this connection."""
    from django.db import connection  # noqa: PLC0415

    backend = connection.connection.pgconn.backend_pid
    facts = Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / CLOCK_TICKS


if __name__ == "__main__":
    main()
