"""What language models answer about markings, read leniently and kept within bounds.

A model is asked for JSON and often wraps it in words or a fence. Numbers are brought
back into their range; what is no JSON, or has words for numbers, is refused.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

ACCEPT_FROM, REVIEW_FROM = 0.9, 0.7  # of a score that comes without a recommendation

Recommendation = Literal["ACCEPT", "REVIEW", "REJECT"]
Answer = TypeVar("Answer", bound=BaseModel)


class InvalidAnswer(ValueError):
    """The answer is not what was asked for."""

    code = "parse_response"


def _clamped(minimum: float, maximum: float) -> BeforeValidator:
    """Bring a number back into its range; what is no number is left to be refused."""

    def bound(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return min(max(value, minimum), maximum) if is_number else value

    return BeforeValidator(bound)


Share = Annotated[float, _clamped(0, 1)]
Weight = Annotated[float, _clamped(0, float("inf"))]


class VisionMarking(BaseModel):
    """A marking that a model sees on a page."""

    model_config = ConfigDict(frozen=True)

    text: str = Field(max_length=500)
    location: str = ""  # header, footer, or elsewhere
    legibility: Share = 1.0
    faded: bool = False


class Filters(BaseModel):
    """How a page should be drawn for it to be read better."""

    model_config = ConfigDict(frozen=True)

    brightness: Annotated[int, _clamped(0, 200)] | None = None  # per cent
    contrast: Annotated[int, _clamped(-100, 100)] | None = None
    saturation: Annotated[int, _clamped(0, 200)] | None = None  # per cent


class Detection(BaseModel):
    """What a model sees on a page, how clearly, and what would help."""

    model_config = ConfigDict(frozen=True)

    clarity_score: Share
    markings_found: tuple[VisionMarking, ...] = ()
    filter_suggestion: Filters | None = None

    @property
    def legibilities(self) -> list[float]:
        """Return how well each marking can be read."""
        return [marking.legibility for marking in self.markings_found]


class Factor(BaseModel):
    """One thing that a score rests on."""

    model_config = ConfigDict(frozen=True)

    name: str
    score: Share
    weight: Weight = 1.0
    description: str = ""


class Score(BaseModel):
    """How far a classification can be trusted, and what to do with it."""

    model_config = ConfigDict(frozen=True)

    overall_score: Share
    factors: tuple[Factor, ...] | None = None
    recommendation: Recommendation = "REVIEW"

    @model_validator(mode="before")
    @classmethod
    def _recommended(cls, given: Any) -> Any:
        """Fill in the recommendation that follows from the score."""
        if not isinstance(given, dict) or given.get("recommendation"):
            return given
        overall = given.get("overall_score")
        if not isinstance(overall, int | float):
            return given
        return {**given, "recommendation": recommended(overall)}


def recommended(overall: float) -> Recommendation:
    """Return what a score alone says should be done."""
    if overall >= ACCEPT_FROM:
        return "ACCEPT"
    return "REVIEW" if overall >= REVIEW_FROM else "REJECT"


def parse_answer(answer: str, model: type[Answer]) -> Answer:
    """Return an answer as that model. Raises UnreadableAnswer."""
    inside = re.search(r"\{.*\}", answer, re.DOTALL)
    if inside is None:
        raise InvalidAnswer("The answer holds no JSON object.")
    try:
        return model.model_validate(json.loads(inside[0]))
    except json.JSONDecodeError as error:
        raise InvalidAnswer(f"The answer holds no whole JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        raise InvalidAnswer(f"The answer's {location}: {first['msg']}.") from error
