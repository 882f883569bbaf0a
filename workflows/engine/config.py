"""Configuration in layers: `base.merge(source)` lets what the source was given win.

A field the source was not given keeps the base. Of those it was given, texts override when not
empty, integers when above 0, `preserve` only from false to true; of the three-valued ones None
keeps the base, so that true and false both override.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ConfigurationError


class Config(BaseModel):
    """Settings that never change; `merge` makes new ones."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code_of: ClassVar[dict[str, str]] = {}  # error code of each number that may not be below 0

    if not TYPE_CHECKING:  # type checkers take the signature from the fields

        def __init__(self, **given: Any) -> None:
            """Take settings by name. Raises ConfigurationError."""
            try:
                super().__init__(**given)
            except ValidationError as error:
                raise ConfigurationError(_told(type(self), error), code="config.invalid") from error

    def model_post_init(self, _context: Any, /) -> None:
        """Refuse numbers below 0. Raises ConfigurationError."""
        for name, code in self.code_of.items():
            value = getattr(self, name)
            if value < 0:
                raise ConfigurationError(
                    f"{type(self).__name__}: {name} is {value}, use 0 or more.", code=code
                )

    def merge(self, source: Self) -> Self:
        """Return these settings with what the source was given laid over them."""
        given = {name: getattr(source, name) for name in source.model_fields_set}
        return self.model_copy(
            update={
                name: value.__class__.merge(getattr(self, name), value)
                if isinstance(value, Config)
                else value
                for name, value in given.items()
                if _overrides(value)
            }
        )


class CheckpointConfig(Config):
    """When a state is kept."""

    store: str = "memory"  # by name, unless the graph is given one
    interval: int = 0  # every so many steps; 0 keeps none
    preserve: bool = False  # keep the checkpoint after the run completed

    code_of: ClassVar[dict[str, str]] = {"interval": "config.interval"}


class GraphConfig(Config):
    """How a graph is walked."""

    name: str = ""
    observer: str = "log"
    max_iterations: int = 1000
    checkpoint: CheckpointConfig = CheckpointConfig()

    code_of: ClassVar[dict[str, str]] = {"max_iterations": "config.max_iterations"}

    def check(self) -> None:
        """Do nothing: numbers below 0 were refused when it was made."""


class ChainConfig(Config):
    """How a chain is folded."""

    capture_intermediate_states: bool | None = None  # unset: no
    observer: str = "log"


class ParallelConfig(Config):
    """How many items at once, and what a failure means."""

    max_workers: int = 0  # 0: min(2 × CPUs, worker_cap, items)
    worker_cap: int = 16
    fail_fast: bool | None = None  # unset: yes
    observer: str = "log"

    code_of: ClassVar[dict[str, str]] = {
        "max_workers": "config.workers",
        "worker_cap": "config.workers",
    }

    @property
    def fails_fast(self) -> bool:
        """Tell whether the first failure stops the rest."""
        return self.fail_fast is not False


class ConditionalConfig(Config):
    """How a route is told."""

    observer: str = "log"


def _overrides(value: Any) -> bool:
    """Tell whether a setting a source was given says anything."""
    return value is False or bool(value)
