"""Security and handling markings: found on pages, and weighed into a classification.

    page of a document  →  reading of the page  →  verdict on the document
                    read(page)            weigh(readings)

Pure functions of text and places, without a model and without a network.
"""

from workflows.markings.finding import UNMARKED, Finding, Kind, label_of
from workflows.markings.gathering import (
    Gathered,
    PageSummary,
    Place,
    gather,
    summarize,
    worth_a_look,
)
from workflows.markings.reading import PageReading, read, together, unreadable
from workflows.markings.scale import Level
from workflows.markings.scanned import read_scan
from workflows.markings.weighing import Alternative, Verdict, weigh
from workflows.markings.wording import listed, pages_in_words

__all__ = [
    "UNMARKED",
    "Alternative",
    "Finding",
    "Gathered",
    "Kind",
    "Level",
    "PageReading",
    "PageSummary",
    "Place",
    "Verdict",
    "gather",
    "label_of",
    "listed",
    "pages_in_words",
    "read",
    "read_scan",
    "summarize",
    "together",
    "unreadable",
    "weigh",
    "worth_a_look",
]
