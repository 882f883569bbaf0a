"""Responses of language models about markings, parsed leniently and clamped.

A model asked for JSON often adds text or a code fence. Numbers are clamped to their
range; missing JSON and non-numeric values are rejected.
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

ACCEPT_FROM, REVIEW_FROM = 0.9, 0.7  # thresholds if a score has no recommendation

Recommendation = Literal["ACCEPT", "REVIEW", "REJECT"]
Answer = TypeVar("Answer", bound=BaseModel)


class InvalidAnswer(ValueError):
    """The response does not have the requested form."""

    code = "parse_response"


def _clamped(minimum: float, maximum: float) -> BeforeValidator:
    """Clamp a number to its range; other values are left for validation to reject."""

    def bound(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return min(max(value, minimum), maximum) if is_number else value

    return BeforeValidator(bound)


Share = Annotated[float, _clamped(0, 1)]
Weight = Annotated[float, _clamped(0, float("inf"))]


class VisionMarking(BaseModel):
    """A marking reported by a vision model."""

    model_config = ConfigDict(frozen=True)

    text: str = Field(max_length=500)
    location: str = ""  # header, footer, or elsewhere
    legibility: Share = 1.0
    faded: bool = False


class Filters(BaseModel):
    """Image adjustments that make a page easier to read."""

    model_config = ConfigDict(frozen=True)

    brightness: Annotated[int, _clamped(0, 200)] | None = None  # per cent
    contrast: Annotated[int, _clamped(-100, 100)] | None = None
    saturation: Annotated[int, _clamped(0, 200)] | None = None  # per cent


class Detection(BaseModel):
    """A vision model's report on a page."""

    model_config = ConfigDict(frozen=True)

    clarity_score: Share
    markings_found: tuple[VisionMarking, ...] = ()
    filter_suggestion: Filters | None = None

    @property
    def legibilities(self) -> list[float]:
        return [marking.legibility for marking in self.markings_found]


class Factor(BaseModel):
    """One component of a score."""

    model_config = ConfigDict(frozen=True)

    name: str
    score: Share
    weight: Weight = 1.0
    description: str = ""


class Score(BaseModel):
    """The confidence in a classification and the recommended outcome."""

    model_config = ConfigDict(frozen=True)

    overall_score: Share
    factors: tuple[Factor, ...] | None = None
    recommendation: Recommendation = "REVIEW"

    @model_validator(mode="before")
    @classmethod
    def _recommended(cls, given: Any) -> Any:
        """Derive a missing recommendation from the score."""
        if not isinstance(given, dict) or given.get("recommendation"):
            return given
        overall = given.get("overall_score")
        if not isinstance(overall, int | float):
            return given
        return {**given, "recommendation": recommended(overall)}


def recommended(overall: float) -> Recommendation:
    """Return the recommendation for a score."""
    if overall >= ACCEPT_FROM:
        return "ACCEPT"
    return "REVIEW" if overall >= REVIEW_FROM else "REJECT"


def parse_answer(answer: str, model: type[Answer]) -> Answer:
    """Return the response as that model. Raises InvalidAnswer."""
    inside = re.search(r"\{.*\}", answer, re.DOTALL)
    if inside is None:
        raise InvalidAnswer("The response contains no JSON object.")
    try:
        return model.model_validate(json.loads(inside[0]))
    except json.JSONDecodeError as error:
        raise InvalidAnswer(f"The response contains no valid JSON: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        raise InvalidAnswer(f"Response field {location}: {first['msg']}.") from error
