"""The numbers of docs/decisions.md: each once, and rising within a subject."""

from __future__ import annotations

import re

from project.env import ROOT

DECISIONS = (ROOT / "docs" / "decisions.md").read_text()
ENTRY = re.compile(r"^- \*\*(\d+)\. ", re.MULTILINE)


def test_every_entry_has_a_number_of_its_own() -> None:
    numbers = ENTRY.findall(DECISIONS)
    assert len(numbers) == len(re.findall(r"^\S* ?\*\*", DECISIONS, re.MULTILINE)) > 100
    assert len(numbers) == len(set(numbers))


def test_numbers_rise_within_a_subject() -> None:
    for subject in DECISIONS.split("\n## ")[1:]:
        numbers = [int(number) for number in ENTRY.findall(subject)]
        assert numbers == sorted(numbers), subject.partition("\n")[0]
