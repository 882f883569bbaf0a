"""The harnesses of the systems that are compared, and how each is executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.live import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


TIMEOUT_SECONDS = 600  # of one measurement
RESULT = "RESULT "  # begins the line of a harness with its figures
OURS = "Signalbox"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One workload of one system on one database, measured once."""

    system: str
    workload: str
    database: str
    figures: Mapping[str, float] = field(default_factory=dict)
    error: str = ""  # why there are no figures


@dataclass(frozen=True, slots=True)
class Harness:
    """A script in the directory of harnesses, executed by a Python of its own.

    `arguments` are those of a workload for which the defaults of the script are not the best
    that the system can do.
    """

    system: str  # as tables show it
    script: str
    databases: tuple[str, ...]
    workloads: tuple[str, ...] = ("W1", "W2", "W3", "W4", "W5")
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_venv: bool = True  # False: needs nothing that our own environment does not have

    @property
    def name(self) -> str:
        """The end of the name of its virtual environment."""
        return self.script.removeprefix("peer_").removesuffix(".py")

    def python(self, directory: Path, venvs: Path | None) -> Path | None:
        """Return the interpreter; None if it is not installed.

        In `venvs`/NAME, or in `directory`/.venv-NAME.
        """
        if not self.has_venv:
            return Path(sys.executable)
        venv = venvs / self.name if venvs else directory / f".venv-{self.name}"
        found = venv / "bin" / "python"
        return found if found.exists() else None

    def command(self, python: Path, directory: Path, *what: str) -> list[str]:
        """Return the command that measures a workload on a database."""
        workload, database = what
        options = self.arguments.get(workload, ())
        script = str(directory / self.script)
        return [
            *(str(python), script, "--workload", workload, "--db", database),
            *options,
        ]


HARNESSES = (
    Harness(
        "DBOS",
        "peer_dbos.py",
        ("pg", "sqlite"),
        arguments={
            "W2": ("--concurrency", "8"),
            "W3": ("--variant", "delta"),
            "W4": ("--variant", "async"),
        },
    ),
    Harness(
        "LangGraph",
        "peer_langgraph.py",
        ("pg", "sqlite"),
        workloads=("W1", "W2", "W3", "W5"),
    ),
    Harness(
        "Absurd",
        "peer_absurd.py",
        ("pg",),
        arguments={
            "W2": ("--concurrency", "8"),
            "W4": ("--concurrency", "1000", "--variant", "async-conn4"),
        },
    ),
    Harness(
        "Restate",
        "peer_restate.py",
        ("pg",),
        arguments=dict.fromkeys(
            ("W1", "W2", "W3", "W4", "W5"), ("--variant", "granian-part4")
        ),
    ),
    Harness(
        "four commits",
        "peer_naive.py",
        ("pg",),
        workloads=("W1", "W2", "W3"),
        has_venv=False,
    ),
    Harness(
        "floor",
        "floor.py",
        ("pg", "sqlite"),
        workloads=("W1", "W2", "W3", "W5"),
        arguments={"W5": ("--variant", "inproc-full")}
        | dict.fromkeys(("W1", "W2", "W3"), ("--variant", "full")),
        has_venv=False,
    ),
)

# our own measurements: the module, its arguments, the workload as tables name it
OWN = {
    "W1": ("bench", "W1"),
    "W2": ("bench", "W2"),
    "W2 two workers": ("bench.processes", "--workers", "2"),
    "W3": ("bench", "W3"),
    "W4": ("bench", "W4"),
    "W5": ("bench", "W5"),
    "W5 through Redis": ("bench.apart",),
}
ON_SQLITE = ("W1", "W2", "W3", "W5")


def own(workload: str, database: str) -> Measurement:
    """Measure a workload of ours in a process of its own."""
    module, *arguments = OWN[workload]
    if module == "bench":
        arguments += ["--db", database]
    command = [sys.executable, "-m", module, *arguments]
    return _measured(OURS, workload, database, command, dict(os.environ))


def own_lines(module: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the JSON lines that one of our modules prints. Raises CalledProcessError."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    return [*_results(done.stdout)]


def measure(  # noqa: PLR0913, PLR0917 - what, on which database, and where
    harness: Harness,
    python: Path,
    directory: Path,
    workload: str,
    database: str,
    scratch: Path,
) -> Measurement:
    """Measure a workload of another system; `scratch` is for its files."""
    # only what the harnesses read: nothing of Signalbox's settings
    known = ("PATH", "HOME", "LANG", "PERF_PG_URL", "PERF_PGDATA")
    environment = {name: os.environ[name] for name in known if name in os.environ}
    environment["PERF_WORKDIR"] = str(scratch)
    command = harness.command(python, directory, workload, database)
    return _measured(harness.system, workload, database, command, environment)


def _measured(
    system: str,
    workload: str,
    database: str,
    command: list[str],
    environment: dict[str, str],
) -> Measurement:
    def failed(error: str) -> Measurement:
        return Measurement(system, workload, database, error=error)

    try:
        done = subprocess.run(  # noqa: S603 - our own commands
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return failed(f"not finished after {TIMEOUT_SECONDS} s")
    found = next(_results(done.stdout), None)
    if done.returncode or found is None:
        return failed(_last_error(done.stderr) or f"exit code {done.returncode}")
    return Measurement(system, workload, database, values_of(found))


def _last_error(output: str) -> str:
    """Return the exception that a traceback ends with; its message may have more lines."""
    lines = [text for text in output.splitlines() if text[:1].strip()]
    return lines[-1] if lines else ""


def _results(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        text = line.removeprefix(RESULT)
        if text.startswith("{"):
            yield json.loads(text)


def values_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a result by the names of the tables.

    steps_per_s, wall_s, process_ms and server_ms of CPU per step, stored_mb, p50_ms, p95_ms.
    """
    steps = result.get("runs", 0) * result.get("steps", 0)
    found = {name: result.get(name) for name in ("steps_per_s", "wall_s")}
    found["process_ms"] = result.get("process_cpu_ms_per_step")
    found["server_ms"] = result.get("server_cpu_ms_per_step")
    if "cpu_s" in result and steps:
        found["process_ms"] = result["cpu_s"] / steps * 1_000
        found["server_ms"] = result.get("pg_cpu_s", 0.0) / steps * 1_000
    stored = result.get("stored_bytes", result.get("db_bytes"))
    found["stored_mb"] = None if stored is None else stored / 1e6
    for name in ("p50_ms", "p95_ms"):
        found[name] = result.get(name, result.get(f"lat_{name}"))
    return {name: float(value) for name, value in found.items() if value is not None}
