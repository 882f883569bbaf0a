"""Values for property tests: JSON of any shape, and pairs of states with equal parts."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = st.sampled_from(
    ["a", "b", "c", "", "/", "~", "~1", "a/b", "-", "0", "ü", "label"]
)
TEXTS = st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12
)
NUMBERS = (
    st.integers(-3, 3)
    | st.integers(2**53, 2**80)
    | st.floats(allow_nan=False, width=64)
)
SCALARS = (
    st.none()
    | st.booleans()
    | NUMBERS.filter(lambda number: abs(number) != float("inf"))
    | TEXTS
)

VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=25,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """Draw a similar value: parts are kept, changed, added, removed or moved."""
    if draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    if isinstance(value, list):
        return _changed_list(draw, value)
    if isinstance(value, dict):
        items = {
            key: draw(changed(item)) if draw(st.booleans()) else item
            for key, item in value.items()
            if draw(st.integers(0, 4))
        }
        items |= draw(st.dictionaries(KEYS, SCALARS, max_size=2))
        return dict(draw(st.permutations(list(items.items()))))
    return value


def _changed_list(draw: st.DrawFn, value: list[Any]) -> list[Any]:
    kept = [
        draw(changed(item)) if draw(st.booleans()) else item
        for item in value
        if draw(st.integers(0, 4))
    ]
    place = draw(st.integers(0, len(kept)))
    return [*kept[:place], *draw(st.lists(SCALARS, max_size=2)), *kept[place:]]
