"""Security and handling markings: found on pages, and weighed into a classification.

    page of a document  →  reading of the page  →  verdict on the document
                    read(page)            weigh(readings)

Pure functions of text and places, without a model and without a network.
"""

from workflows.definitions.markings.answers import (
    Detection,
    Factor,
    Filters,
    Recommendation,
    Score,
    UnreadableAnswer,
    parsed,
)
from workflows.definitions.markings.finding import UNMARKED, Finding, Kind, label_of
from workflows.definitions.markings.levels import Level
from workflows.definitions.markings.reading import (
    PageReading,
    both,
    read,
    together,
    unreadable,
)
from workflows.definitions.markings.report import (
    Gathered,
    PageSummary,
    Place,
    Shown,
    gather,
    pages_to_review,
    shown,
    summarize,
)
from workflows.definitions.markings.scanned import read_scan
from workflows.definitions.markings.text import listed, page_numbers_text
from workflows.definitions.markings.verdict import Alternative, Verdict, weigh
from workflows.definitions.markings.vision import read_detection

__all__ = [
    "UNMARKED",
    "Alternative",
    "Detection",
    "Factor",
    "Filters",
    "Finding",
    "Gathered",
    "Kind",
    "Level",
    "PageReading",
    "PageSummary",
    "Place",
    "Recommendation",
    "Score",
    "Shown",
    "UnreadableAnswer",
    "Verdict",
    "both",
    "gather",
    "label_of",
    "listed",
    "page_numbers_text",
    "pages_to_review",
    "parsed",
    "read",
    "read_detection",
    "read_scan",
    "shown",
    "summarize",
    "together",
    "unreadable",
    "weigh",
]
