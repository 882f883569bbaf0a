"""Lists of models in forms: a group of fields for each entry, and one for a new entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from workflows.pages.forms.json_schema import Property

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_ENTRIES: Final = 20  # of one list; a longer one is shown as JSON
MAX_FIELDS: Final = 500  # of a form, from which on lists are shown as JSON
MAX_BRIEF_VALUES, MAX_BRIEF_CHARS = 3, 60
KEEP, ADD = "Keep this entry", "Add this entry"


def fits(values: Any) -> bool:
    """Return whether the entries of a list can be shown as groups."""
    if values is None:
        return True
    return (
        isinstance(values, list | tuple)
        and len(values) <= MAX_ENTRIES
        and all(isinstance(one, Mapping) for one in values)
    )


def entry_properties(
    found: Property, schema: Mapping[str, Any], values: Sequence[Any]
) -> Iterator[Property]:
    """Yield a property for each entry, and one for a new entry."""
    for number in range(len(values) + 1):
        is_new = number == len(values)
        yield Property(
            path=f"{found.path}.{number}",
            title="New entry" if is_new else f"Entry {number + 1}",
            description="",
            schema={**schema, "nullable": True},
            is_required=False,
            default=None,
            has_default=True,
        )


def brief(value: Any) -> str:
    """Return the first values of an entry as text."""
    if not isinstance(value, Mapping):
        return ""
    texts = [
        str(one)
        for one in value.values()
        if isinstance(one, str | int | float)
        and not isinstance(one, bool)
        and one != ""
    ]
    text = ", ".join(texts[:MAX_BRIEF_VALUES])
    is_long = len(text) > MAX_BRIEF_CHARS
    return f"{text[: MAX_BRIEF_CHARS - 1]}…" if is_long else text


def join(
    values: dict[str, Any], path: Sequence[str], shown: Any, *, is_nullable: bool
) -> None:
    """Replace the entries by number at a path by their list, without those left out.

    `shown` is the value before: a list that was null and has no entry stays null, and one
    that was not there is left out.
    """
    *parents, last = path
    for name in parents:
        inner = values.get(name)
        if not isinstance(inner, dict):
            return  # an optional group that is left out
        values = inner
    by_number = values.get(last)
    if isinstance(by_number, dict):
        kept = [one for one in by_number.values() if one is not None]
        if kept or shown is not None:
            values[last] = kept
        elif is_nullable:
            values[last] = None
        else:
            del values[last]
