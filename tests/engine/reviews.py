"""Typed states that several tests use, with types defined after them on purpose."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, Field

from workflows.engine.state import State


class Review(State):
    """State of a review; its types are defined below."""

    params: Params
    verdicts: tuple[Verdict, ...] = ()
    label: str = ""
    confidence: float = Field(default=0.0, ge=0, le=1, description="How sure, 0..1.")
    answer: Verdict | None = None
    LIMIT: ClassVar[int] = 3

    @property
    def is_sure(self) -> bool:
        """Return whether it is sure enough."""
        return self.confidence >= self.params.threshold


class SecondReview(Review):
    """A second review."""

    label: str = "second"
    looks: int = 2


class Params(BaseModel):
    """Params of a review."""

    threshold: float = 0.8


class Verdict(BaseModel):
    """The verdict on a page."""

    label: str
    page: int = 0


class Surely(Verdict):
    """A verdict with a reason, which a field of type Verdict would drop."""

    reason: str = "because"


def a_review(**values: Any) -> Review:
    """Return a review with its params."""
    return Review(params=Params(), **values)


def resumed(state: State) -> Any:
    """Return the state as another process reads it."""
    return type(state).from_json(state.to_json())
