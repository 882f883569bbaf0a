"""Templates of run titles: checked at import, rendered without executing author code."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.engine.errors import DefinitionError
from workflows.engine.run_title import MAX_CHARS, RunTitle

PARAMS = {
    "employee": "Ada",
    "amount": "1234.5",
    "count": 3,
    "urgent": True,
    "lines": [{"name": "Taxi"}, {"name": "Hotel"}],
    "address": {"city": "Bonn"},
    "missing": None,
    "names": ["a", "b", "c", "d", "e"],
    "large": 10**5000,
}


@pytest.mark.parametrize(
    ("template", "title"),
    [
        ("{params.employee}, {params.amount:,.2f} EUR", "Ada, 1,234.50 EUR"),
        ("{params.count} × {params.lines[1].name}", "3 × Hotel"),
        ("{params.address.city}", "Bonn"),
        ("urgent: {params.urgent}", "urgent: yes"),
        ("{params.missing}{params.unknown}{params.lines[9].name}", ""),
        ("{params.names}", "a, b, c and 2 more"),
        ("{params.employee:.2f}", "Ada"),
        ("{params.large:.2f}", "…"),
        ("{params.large}", "…"),
        ("{{params.employee}}", "{params.employee}"),
        ("{params.employee}\n\t {params.count}", "Ada 3"),
    ],
)
def test_a_title_shows_the_values_of_its_template(template: str, title: str) -> None:
    assert RunTitle("expenses", template).render(PARAMS) == title


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{params.employee", "is not a template"),
        ("{employee}", "A field is {params.name}"),
        ("{params}", "A field is {params.name}"),
        ("{}", "A field is {params.name}"),
        ("{params.employee!r}", "A field is {params.name}"),
        ("{params.amount:1000000000}", "has the format “1000000000”"),
        ("{params.amount:{params.count}}", "has the format"),
    ],
)
def test_a_mistake_in_a_template_is_reported_at_import(
    template: str, message: str
) -> None:
    with pytest.raises(DefinitionError, match="run_title") as error:
        RunTitle("expenses", template)
    assert message in str(error.value)


def test_an_unknown_param_is_reported_at_import() -> None:
    title = RunTitle("expenses", "{params.emplyee}")
    with pytest.raises(DefinitionError, match=r"names “params\.emplyee”.*employee"):
        title.check(["employee", "amount"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=500),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
)


@given(JSON, st.sampled_from(["", ":,.2f", ":.1%", ":e", ":+g"]))
def test_any_value_gives_one_short_line(value: Any, spec: str) -> None:
    title = RunTitle("any", f"{{params.x{spec}}}").render({"x": value})
    assert len(title) <= MAX_CHARS
    assert len(title.splitlines()) <= 1
