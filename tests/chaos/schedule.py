"""The schedule of a run of the suite, drawn from its seed.

The same seed and settings give the same schedule. Its effects depend on the timing of
processes, so that a failing seed may have to be repeated; `python -m tests.chaos` prints the
command.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Final

WORKFLOWS: Final = {  # name → how often, compared with the others
    "sequence": 6,
    "items": 4,
    "parent": 4,
    "approval": 5,
    "timer": 3,
    "retries": 3,
    "failing": 3,
    "thread": 3,
    "fatal": 1,
    "blocking": 1,
    "branches": 3,
    "limited": 2,
    "undo": 2,
}
REQUESTS: Final = {  # action of a client → how often
    "launch": 12,
    "respond": 4,
    "cancel": 3,
    "resume": 3,
    "bulk": 1,
    "watch": 3,
    "flood": 1,
}
FAULTS: Final = {  # fault → how often
    "kill": 6,
    "pause": 3,
    "cut": 4,
    "refuse": 2,
    "silence": 3,
    "silence replies": 2,
    "delay": 2,
    "throttle": 2,
    "swallow": 6,
    "flush": 2,
    "restart redis": 1,
    "restart postgres": 1,
    "read only": 1,
    "fill disk": 1,
    "roll back": 1,
    "step clock": 2,
}
OWN_SERVER: Final = frozenset(
    {"restart postgres", "read only", "fill disk", "roll back"}
)
QUIET_SECONDS: Final = 0.5  # at the beginning, without faults
LEASES: Final = (0.3, 2.0)  # a fault lasts so many leases
CLOCK_STEPS: Final = (-300.0, 20.0)  # seconds


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters of a run that determine its schedule."""

    seed: int
    seconds: float = 60.0
    workers: int = 3
    webs: int = 2
    clients: int = 4
    requests_per_second: float = 1.5  # of all clients together
    faults_per_second: float = 0.3
    lease_seconds: float = 3.0
    pace: float = 0.05  # seconds that a node takes
    faults: tuple[str, ...] = tuple(FAULTS)

    @property
    def processes(self) -> list[str]:
        """The names of the processes."""
        workers = [f"worker{number}" for number in range(self.workers)]
        return [*workers, *(f"web{number}" for number in range(self.webs))]

    @property
    def command(self) -> str:
        """The command that repeats this run."""
        options = [
            f"--{one.name.replace('_', '-')} {_exact(getattr(self, one.name))}"
            for one in fields(self)
            if one.name != "faults" and getattr(self, one.name) != one.default
        ]
        chosen = [f'--fault "{name}"' for name in self.faults]
        if self.faults == tuple(FAULTS):
            chosen = []
        return " ".join(["python -m tests.chaos", *options, *chosen])


def _exact(value: float) -> str:
    """Return a number that reads back the same: a seed has more digits than “g” keeps."""
    return str(int(value)) if value == int(value) else repr(value)


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a client."""

    at: float  # seconds after the start
    client: int
    action: str
    workflow: str = ""
    choice: float = 0.0  # 0 to 1: selects one of the existing runs
    outcome: str = ""  # of a response


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault with its duration."""

    at: float  # seconds after the start
    what: str
    process: str = ""
    service: str = ""  # postgres or redis, behind the proxy
    seconds: float = 0.0
    amount: float = 0.0  # seconds of delay or of a clock step, bytes in a second


@dataclass(frozen=True, slots=True)
class Schedule:
    """All requests and faults, in order of time."""

    settings: Settings
    requests: list[Request]
    faults: list[Fault]

    def write(self, path: Path) -> None:
        """Write the schedule as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1))


def draw(settings: Settings) -> Schedule:
    """Return the schedule of these settings."""
    random = Random(settings.seed)  # noqa: S311 - to be repeated
    requests = [
        _request(random, at, settings)
        for at in _times(random, settings.requests_per_second, 0.0, settings.seconds)
    ]
    begin, end = QUIET_SECONDS, settings.seconds
    faults = [
        _fault(random, at, settings)
        for at in _times(random, settings.faults_per_second, begin, end)
    ]
    return Schedule(settings, requests, faults)


def _times(random: Random, rate: float, begin: float, end: float) -> Iterator[float]:
    """Yield random times with an average rate per second."""
    at = begin + random.expovariate(rate)
    while at < end:
        yield round(at, 3)
        at += random.expovariate(rate)


def _pick(random: Random, weights: dict[str, int]) -> str:
    return random.choices([*weights], [*weights.values()])[0]


def _request(random: Random, at: float, settings: Settings) -> Request:
    return Request(
        at,
        random.randrange(settings.clients),
        _pick(random, REQUESTS),
        _pick(random, WORKFLOWS),
        random.random(),
        random.choice(["publish", "reject"]),
    )


def _fault(random: Random, at: float, settings: Settings) -> Fault:
    what = _pick(random, {name: FAULTS[name] for name in settings.faults})
    process = random.choice(settings.processes)
    service = random.choice(["postgres", "postgres", "redis"])
    seconds = round(random.uniform(*LEASES) * settings.lease_seconds, 2)
    amounts: dict[str, Callable[[], float]] = {
        "delay": lambda: random.uniform(0.02, 0.3),
        "throttle": lambda: random.uniform(2_000, 50_000),
        "step clock": lambda: random.uniform(*CLOCK_STEPS),
        "swallow": lambda: float(random.randint(1, 3)),
    }
    amount = round(amounts[what](), 3) if what in amounts else 0.0
    return Fault(at, what, process, service, seconds, amount)
