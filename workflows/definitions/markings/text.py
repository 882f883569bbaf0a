"""Text forms of lists and page numbers."""

from __future__ import annotations

from collections.abc import Sequence


def join_list(parts: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *others, last = parts or ("",)
    return f"{', '.join(others)} and {last}" if others else last


def page_numbers_text(pages: Sequence[int]) -> str:
    """Return "page 3", "pages 1 and 3" or "pages 1-4, 7 and 9"."""
    runs: list[list[int]] = []
    for page in sorted(set(pages)):
        if runs and page == runs[-1][-1] + 1:
            runs[-1].append(page)
        else:
            runs.append([page])
    word = "page" if len(set(pages)) == 1 else "pages"
    return f"{word} {join_list([_run(run) for run in runs])}"


def _run(pages: list[int]) -> str:
    first, last = pages[0], pages[-1]
    if first == last:
        return str(first)
    return f"{first} and {last}" if last == first + 1 else f"{first}–{last}"
