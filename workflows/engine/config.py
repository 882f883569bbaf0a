"""Layered configuration: in `base.merge(source)` the settings that the source was given win.

A setting that the source was not given keeps the value of the base, whatever its default. Given
strings override unless empty, integers if above 0, `preserve` only from False to True, and
three-valued settings unless None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from .errors import ConfigurationError

THREE_VALUED = frozenset({"fail_fast", "capture_intermediate_states"})


@dataclass(frozen=True)
class Config:
    """Immutable settings; `merge` returns new ones."""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Record which settings were given: a default must not override a given value."""
        self = super().__new__(cls)
        names = cls.__match_args__
        object.__setattr__(self, "_given", frozenset([*names[: len(values)], *named]))
        return self

    @property
    def given(self) -> frozenset[str]:
        """The names of the settings that were given and are not defaults."""
        given: frozenset[str] = self.__dict__["_given"]
        return given

    def merge(self, source: Self) -> Self:
        """Return these settings, overridden by those that the source was given."""
        settings = {name: getattr(self, name) for name in self.given}
        for name in source.given:
            ours, theirs = getattr(self, name), getattr(source, name)
            if isinstance(theirs, Config):
                settings[name] = ours.merge(theirs)
            elif _overrides(name, theirs):
                settings[name] = theirs
        return type(self)(**settings)


def _overrides(name: str, value: Any) -> bool:
    if name in THREE_VALUED:
        return value is not None
    return value > 0 if isinstance(value, int) else bool(value)


@dataclass(frozen=True)
class CheckpointConfig(Config):
    """When a state is stored."""

    store: str = "memory"  # by name, unless the graph is given one
    interval: int = 0  # steps between checkpoints; 0 disables them
    preserve: bool = False  # keep the checkpoint after the run completed


@dataclass(frozen=True)
class GraphConfig(Config):
    """Settings of the runs of a graph."""

    name: str = ""
    observer: str = "log"  # by name, unless the graph is given one
    max_iterations: int = 1000  # steps in one attempt
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def check(self) -> None:
        """Raise ConfigurationError if a limit or an interval is negative."""
        for name, value, code in (
            ("max_iterations", self.max_iterations, "config.max_iterations"),
            ("checkpoint.interval", self.checkpoint.interval, "config.interval"),
        ):
            if value < 0:
                raise ConfigurationError(
                    f"{name} is {value} in the configuration of “{self.name}”: use 0 or more.",
                    code=code,
                )


@dataclass(frozen=True)
class ChainConfig(Config):
    """Settings of a chain."""

    capture_intermediate_states: bool | None = None  # unset: no
    observer: str = "log"


@dataclass(frozen=True)
class ParallelConfig(Config):
    """Concurrency and failure handling of a parallel node."""

    max_workers: int = 0  # 0: min(2 × CPUs, worker_cap, items)
    worker_cap: int = 16
    fail_fast: bool | None = None  # unset: yes
    observer: str = "log"

    @property
    def fails_fast(self) -> bool:
        """Whether the first failure stops the remaining items."""
        return self.fail_fast is not False


@dataclass(frozen=True)
class ConditionalConfig(Config):
    """Settings of a conditional node."""

    observer: str = "log"
