"""What models answer about markings: the golden tables, and what becomes of a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.runtime.test_renderings import TABLES
from workflows.definitions.markings import Level
from workflows.definitions.markings.answers import (
    Detection,
    InvalidAnswer,
    Score,
    parse_answer,
)
from workflows.definitions.markings.vision import read_detection


@pytest.mark.parametrize("row", TABLES["parse_detection"], ids=lambda row: row["input"])
def test_detections_are_read_as_in_the_table(row: dict[str, Any]) -> None:
    if row["error"] is not None:
        with pytest.raises(InvalidAnswer, match=r"\.$") as raised:
            parse_answer(row["input"], Detection)
        assert raised.value.code == row["error"]
        return
    detection = parse_answer(row["input"], Detection)
    assert detection.clarity_score == row["clarity_score"]
    assert detection.legibilities == row["legibilities"]


@pytest.mark.parametrize("row", TABLES["parse_scoring"], ids=lambda row: row["input"])
def test_scores_are_read_as_in_the_table(row: dict[str, Any]) -> None:
    score = parse_answer(row["input"], Score).model_dump(mode="json")
    assert score["overall_score"] == row["overall_score"]
    assert score["recommendation"] == row["recommendation"]
    assert score["factors"] == row["factors"]


def test_text_around_an_answer_is_ignored() -> None:
    answer = 'Here it is:\n```json\n{"clarity_score": 0.4}\n```\nI hope it helps.'
    assert parse_answer(answer, Detection).clarity_score == 0.4


def detection_of(*markings: dict[str, Any], clarity: float = 1.0) -> Detection:
    """Return what a model sees."""
    return Detection.model_validate(
        {"clarity_score": clarity, "markings_found": list(markings)}
    )


def test_a_marking_that_a_model_sees_is_one_of_the_page() -> None:
    detection = detection_of(
        {"text": "Secret // Noforn", "location": "top of page", "legibility": 0.9},
        {"text": "harbour office", "location": "header"},
    )
    reading = read_detection(3, detection, enhanced=False)
    (finding,) = reading.findings
    assert (finding.kind, finding.label) == ("header", "SECRET//NOFORN")
    assert reading.banner is Level.SECRET
    assert not reading.is_unclear


def test_a_page_that_a_model_finds_unclear_is_viewed_again_and_then_reviewed() -> None:
    detection = detection_of(clarity=0.4)
    assert read_detection(1, detection, enhanced=False).is_unclear
    second = read_detection(1, detection, enhanced=True)
    assert not second.is_unclear
    assert second.doubts == ("The agent reports that the page is hard to read.",)


def test_a_marking_that_a_model_reads_poorly_is_a_doubt() -> None:
    detection = detection_of(
        {"text": "SE RET", "location": "footer", "legibility": 0.3}
    )
    reading = read_detection(1, detection, enhanced=True)
    assert reading.doubts == ("The agent is not sure that “SE RET” is SECRET.",)
