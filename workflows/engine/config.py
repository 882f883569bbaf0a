"""Configuration in layers: `base.merge(source)` lets what the source was given win.

A setting the source was not given keeps the base's, whatever its default. Of those it was given,
texts override when not empty, integers when above 0, `preserve` only from false to true, and the
three-valued ones unless None: unset keeps the base, true and false both override.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from .errors import ConfigurationError

THREE_VALUED = frozenset({"fail_fast", "capture_intermediate_states"})


@dataclass(frozen=True)
class Config:
    """Settings that never change; `merge` makes new ones."""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Note which settings were given: a default must not override another's choice."""
        self = super().__new__(cls)
        names = cls.__match_args__
        object.__setattr__(self, "_given", frozenset([*names[: len(values)], *named]))
        return self

    @property
    def given(self) -> frozenset[str]:
        """The names of the settings that were given, as opposed to defaults."""
        given: frozenset[str] = self.__dict__["_given"]
        return given

    def merge(self, source: Self) -> Self:
        """Return these settings with what the source was given laid over them."""
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
    """When a state is kept."""

    store: str = "memory"  # by name, unless the graph is given one
    interval: int = 0  # every so many steps; 0 keeps none
    preserve: bool = False  # keep the checkpoint after the run completed


@dataclass(frozen=True)
class GraphConfig(Config):
    """How a graph is walked."""

    name: str = ""
    observer: str = "log"  # by name, unless the graph is given one
    max_iterations: int = 1000  # steps in one attempt
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def check(self) -> None:
        """Raise ConfigurationError for a limit or an interval below 0."""
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
    """How a chain is folded."""

    capture_intermediate_states: bool | None = None  # unset: no
    observer: str = "log"


@dataclass(frozen=True)
class ParallelConfig(Config):
    """How many items at once, and what a failure means."""

    max_workers: int = 0  # 0: min(2 × CPUs, worker_cap, items)
    worker_cap: int = 16
    fail_fast: bool | None = None  # unset: yes
    observer: str = "log"

    @property
    def fails_fast(self) -> bool:
        """Tell whether the first failure stops the rest."""
        return self.fail_fast is not False


@dataclass(frozen=True)
class ConditionalConfig(Config):
    """How a route is told."""

    observer: str = "log"
