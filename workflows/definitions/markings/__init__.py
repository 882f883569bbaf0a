"""Security and handling markings: detection on pages and classification of documents.

    page of a document  →  page reading  →  verdict on the document
                    read(page)        weigh(readings)

Pure functions of text and positions, without models or network access.
"""

from workflows.definitions.markings.answers import (
    Detection,
    Factor,
    Filters,
    InvalidAnswer,
    Recommendation,
    Score,
    parse_answer,
)
from workflows.definitions.markings.finding import UNMARKED, Finding, Kind, label_of
from workflows.definitions.markings.levels import Level
from workflows.definitions.markings.page_reading import (
    PageReading,
    combine_with_scan,
    combine_with_vision,
    read,
    unreadable,
)
from workflows.definitions.markings.report import (
    Location,
    MarkedPages,
    MarkingSummary,
    PageSummary,
    marked_pages,
    pages_to_review,
    summarize_markings,
    summarize_pages,
)
from workflows.definitions.markings.scanned import read_scan
from workflows.definitions.markings.text import join_list, page_numbers_text
from workflows.definitions.markings.verdict import Alternative, Verdict, weigh
from workflows.definitions.markings.vision import read_detection

__all__ = [
    "UNMARKED",
    "Alternative",
    "Detection",
    "Factor",
    "Filters",
    "Finding",
    "InvalidAnswer",
    "Kind",
    "Level",
    "Location",
    "MarkedPages",
    "MarkingSummary",
    "PageReading",
    "PageSummary",
    "Recommendation",
    "Score",
    "Verdict",
    "combine_with_scan",
    "combine_with_vision",
    "join_list",
    "label_of",
    "marked_pages",
    "page_numbers_text",
    "pages_to_review",
    "parse_answer",
    "read",
    "read_detection",
    "read_scan",
    "summarize_markings",
    "summarize_pages",
    "unreadable",
    "weigh",
]
