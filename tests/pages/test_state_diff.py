"""Two states of a run as aligned rows."""

from __future__ import annotations

from typing import Any

from workflows.pages.run import state_diff
from workflows.pages.run.state_diff import diff_of


def rows(
    before: Any, after: Any, *, only_changes: bool = False
) -> list[tuple[str, int, str, str | None, str | None]]:
    return [
        (
            row.key,
            row.depth,
            row.kind,
            row.before.text if row.before else None,
            row.after.text if row.after else None,
        )
        for row in diff_of(before, after, only_changes=only_changes).rows
    ]


def test_each_key_has_one_row_with_both_values() -> None:
    before = {"kept": 1, "gone": "", "nested": {"a": None, "b": 2}, "empty": None}
    after = {"kept": 1, "nested": {"a": [], "b": 2}, "empty": "", "new": {}}
    assert rows(before, after) == [
        ("kept", 0, "same", "1", "1"),
        ("gone", 0, "removed", '""', None),
        ("nested", 0, "inside", None, None),
        ("a", 1, "changed", "null", "[]"),
        ("b", 1, "same", "2", "2"),
        ("empty", 0, "changed", "null", '""'),
        ("new", 0, "added", None, "{}"),
    ]
    changes = rows(before, after, only_changes=True)
    assert [key for key, *_ in changes] == ["gone", "nested", "a", "empty", "new"]
    assert diff_of(before, after).count == 4


def test_lists_are_aligned_by_position_and_unchanged_positions_are_one_row() -> None:
    assert rows({"n": [1, 2, 3, 4]}, {"n": [1, 2, 9, 4, 5]}) == [
        ("n", 0, "inside", None, None),
        ("1–2", 1, "skipped", None, None),
        ("3", 1, "changed", "3", "9"),
        ("4", 1, "skipped", None, None),
        ("5", 1, "added", None, "5"),
    ]


def test_true_and_one_differ() -> None:
    assert rows({"a": True}, {"a": 1}) == [("a", 0, "changed", "true", "1")]


def test_a_large_state_is_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr(state_diff, "MAX_ROWS", 3)
    monkeypatch.setattr(state_diff, "MAX_TEXT_CHARS", 20)
    found = diff_of({}, {str(n): "x" * 100 for n in range(5)})
    assert (len(found.rows), found.is_cut) == (3, True)
    side = found.rows[0].after
    assert side is not None
    assert side.text.endswith("… (82 more characters)")
