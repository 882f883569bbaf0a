"""Security and handling markings: found on pages, and weighed into a classification.

    page of a document  →  reading of the page  →  verdict on the document
                    read(page)            weigh(readings)

Pure functions of text and places, without a model and without a network.
"""

from workflows.markings.answers import (
    Detection,
    Factor,
    Filters,
    Recommendation,
    Score,
    UnreadableAnswer,
    parsed,
)
from workflows.markings.finding import UNMARKED, Finding, Kind, label_of
from workflows.markings.gathering import (
    Gathered,
    PageSummary,
    Place,
    Shown,
    gather,
    shown,
    summarize,
    worth_a_look,
)
from workflows.markings.reading import PageReading, both, read, together, unreadable
from workflows.markings.scale import Level
from workflows.markings.scanned import read_scan
from workflows.markings.seen import read_detection
from workflows.markings.weighing import Alternative, Verdict, weigh
from workflows.markings.wording import listed, pages_in_words

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
    "pages_in_words",
    "parsed",
    "read",
    "read_detection",
    "read_scan",
    "shown",
    "summarize",
    "together",
    "unreadable",
    "weigh",
    "worth_a_look",
]
