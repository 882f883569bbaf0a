"""Filters on params, results and decision values have equal results on both databases."""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from tests.support.factories import make_run
from workflows.models import Run
from workflows.pages.lists.json_conditions import BadCondition, read
from workflows.pages.lists.json_matching import instant, matches
from workflows.pages.query_string import MAX_TEXT_LENGTH

COLUMNS = ("params", "result")
BIG = 2**63
VALUES: dict[str, Any] = {
    "int": 50,
    "float": 50.5,
    "exact": 0.1,
    "big": BIG,
    "bigger": BIG + 1,
    "true": True,
    "one": 1,
    "null": None,
    "text": "Überweisung an ACME",
    "digits": "50",
    "empty": "",
    "day": "2026-03-05",
    "moment": "2026-03-05T10:00:00Z",
    "offset": "2026-03-05T11:00:00+01:00",
    "no_day": "2026-02-30",
    "leap": "2000-02-29",
    "no_leap": "1900-02-29",
    "last": "9999-12-31T23:59:59.999999-05:00",
    "tags": ["urgent", "EU", 7],
    "place": {"city": "Oslo"},
    "quoted": 'a "b" and c',
    "2024": "a year",
}


def found(where: str) -> set[str | None]:
    """Return the names of the values that match a condition on `v`."""
    (condition,) = read(where, COLUMNS)
    rows = Run.objects.filter(condition.q())
    return set(rows.values_list("idempotency_key", flat=True))


@pytest.fixture
def runs(db: None) -> None:
    for name, value in VALUES.items():
        make_run(idempotency_key=name, params={"v": value}, result=None)
    make_run(idempotency_key="absent", params={"other": 60})


NUMBERS = {"int", "float", "exact", "big", "bigger", "one"}
DATES = {"day", "moment", "offset", "leap", "last"}


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("params.v > 50", {"float", "big", "bigger"}),
        ("params.v >= 50", {"int", "float", "big", "bigger"}),
        ("params.v < 1", {"exact"}),
        ("params.v <= 1e0", {"exact", "one"}),
        ("params.v < -1", set()),
        (f"params.v = {BIG}", {"big"}),
        (f"params.v > {BIG}", {"bigger"}),
        ("params.v = 0.1", {"exact"}),
        ("params.v = 0.1000000000000000000001", set()),
        ("params.v > 0.0999999999999999999999", NUMBERS),
        ("params.v = 5e1", {"int"}),
        ("params.v = 50", {"int", "digits"}),
        ('params.v = "50"', {"digits"}),
        ("params.v = 1", {"one"}),
        ("params.v = true", {"true"}),
        ("params.v = null", {"null"}),
        ('params.v = ""', {"empty"}),
        ("params.v != 50", set(VALUES) - {"int", "digits"}),
        ("params.v != null", set(VALUES) - {"null"}),
        ("params.v in (50, true, Oslo)", {"int", "digits", "true"}),
        ('params.v IN ("50","")', {"digits", "empty"}),
        ("params.v = 2026-03-05", {"day"}),
        ("params.v = 2026-03-05T10:00Z", {"moment", "offset"}),
        ("params.v = 2026-03-05 11:00:00+01:00", {"moment", "offset"}),
        ("params.v > 2026-03-05", {"moment", "offset", "last"}),
        ("params.v >= 2026-03-05T00:00", {"day", "moment", "offset", "last"}),
        ("params.v < 2026-03-06", {"day", "moment", "offset", "leap"}),
        ("params.v >= 0001-01-01", DATES),
        ("params.v <= 9999-12-31T23:59:59.999999-14:00", DATES),
        ("params.v ~ acme", {"text"}),
        ("params.v ~ Überweisung", {"text"}),
        ('params.v ~ "an ac"', {"text"}),
        ("params.v ~ URGENT", {"tags"}),
        ("params.v ~ 50", {"digits"}),
        ("params.v ~ 7", set()),
        ("params.v.0 = urgent", {"tags"}),
        ("params.v.2 > 6", {"tags"}),
        ("params.v.9 = urgent", set()),
        ("params.v.city = Oslo", {"place"}),
        ("params.v.city.name = Oslo", set()),
        ('params.v = "a \\"b\\" and c"', {"quoted"}),
        ("params.v=%", set()),
        ("params.v ~ %", set()),
        ("params.v = urgent", set()),
        ("params.nothing != 1", set()),
        ("result.v > 1", set()),
    ],
)
def test_a_condition_matches_its_values(
    runs: None, where: str, names: set[str]
) -> None:
    assert found(where) == names


@pytest.mark.django_db
def test_a_numeric_key_is_a_key_or_a_list_index() -> None:
    make_run(idempotency_key="key", params={"years": {"2024": 5}})
    make_run(idempotency_key="place", params={"years": [0] * 2024 + [5]})
    assert found("params.years.2024 = 5") == {"key", "place"}
    assert found("params.years.2024 > 4") == {"key", "place"}


@pytest.mark.django_db
def test_a_key_with_special_characters_is_matched_safely() -> None:
    for key in ('a"b', "a'b", "ü", "$", "a b", "a\\b", "%s", "{}"):
        make_run(idempotency_key=key, params={key: {key: 3}})
        for where in (f"params.{key}.{key} = 3", f"params.{key}.{key} > 2"):
            assert found(where) == {key}, where


@pytest.mark.django_db
def test_conditions_are_joined_by_and() -> None:
    make_run(params={"amount": 60, "state": "paid"})
    make_run(params={"amount": 40, "state": "paid"})
    parts = read('params.amount > 50 AND params.state ~ "PAI"', COLUMNS)
    rows = Run.objects.all()
    for one in parts:
        rows = rows.filter(one.q())
    assert [run.params["amount"] for run in rows] == [60]


@pytest.mark.parametrize(
    ("where", "expected_text"),
    [
        ("paid", "At character 1: “paid” is not a condition. Use “params.name ="),
        ("params.a = 1 and paid", "At character 18: “paid” is not a condition."),
        ("amount > 3", "At character 1: Start with params or result"),
        ("params = 3", "At character 1: Name a value"),
        ("params.a..b = 3", "At character 1: Name a value"),
        ("params.a > cheap", "At character 12: “>” needs a number or a date"),
        ("params.a > 2026-02-30", "not “2026-02-30”"),
        ('params.a > "3"', "At character 12"),
        ("params.a =", "At character 11: Missing value after “=”."),
        ("params.a = 1 and", "At character 17"),
        (
            'params.a = "b',
            "At character 12: Unclosed quotes.",
        ),
        ('params.a = "b" c', "At character 15: Join conditions with “and”."),
        ("params.a in (1, 2", "At character 18: Missing “,” or “)”."),
        ("params.a in ()", "At character 14: Missing value."),
        ("params.a in (1,)", "At character 16: Missing value."),
        ("params.a ! 3", "At character 10: Unknown operator “!”."),
        ("params.a > 1e9999", "not “1e9999”"),
        (" and ".join(["params.a = 1"] * 6), "Maximum 5 conditions."),
        (f"params.a = {'x' * MAX_TEXT_LENGTH}", "Maximum 500 characters"),
        ("params" + ".a" * 9 + " = 1", "Maximum 8 names"),
        (f"params.a in ({', '.join('1' * 30)})", "Maximum 20 values."),
    ],
)
def test_invalid_conditions_are_reported_with_their_position(
    where: str, expected_text: str
) -> None:
    with pytest.raises(BadCondition) as refused:
        read(where, COLUMNS)
    assert expected_text.lower() in str(refused.value).lower()


@pytest.mark.django_db
def test_a_filter_that_is_too_long_is_refused_and_not_cut(alice: User) -> None:
    run = make_run(params={"a": "x" * MAX_TEXT_LENGTH})
    client = Client()
    client.force_login(alice)
    text = client.get("/runs/", {"where": f"params.a != {'x' * 600}"}).content.decode()
    assert "Maximum 500 characters." in text
    assert run.short_id not in text


def test_only_valid_calendar_dates_are_accepted() -> None:
    day = dt.date(1896, 1, 1)
    while day < dt.date(1905, 1, 1):
        assert instant(day.isoformat()) is not None
        day += dt.timedelta(days=1)
    for none in (
        "0000-01-01",
        "1900-02-29",
        "2026-04-31",
        "2026-03-01T24:00",
        "\uff12026-01-01",
    ):
        assert instant(none) is None


def test_texts_other_than_dates_are_not_cached() -> None:
    text = "a text of a state " * 1_000
    before = sys.getrefcount(text)
    assert instant(text) is None
    assert sys.getrefcount(text) == before


def _json_leaves() -> st.SearchStrategy[Any]:
    days = st.dates().map(dt.date.isoformat)
    moments = st.datetimes(
        timezones=st.sampled_from(
            [dt.timezone(dt.timedelta(hours=hours)) for hours in (-12, 0, 5, 14)]
        )
    ).map(dt.datetime.isoformat)
    texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    return st.none() | st.booleans() | numbers | days | moments | texts


class OnBothDatabases(TestCase):
    """Filters in SQL and in Python agree for any value."""

    @given(
        _json_leaves(),
        _json_leaves(),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]),
    )
    def test_filters_in_the_database_follow_the_rules(
        self, value: Any, wanted: Any, operator: str
    ) -> None:
        """Compare the result for one row with the Python implementation."""
        text = json.dumps(wanted, ensure_ascii=False)
        if "\\ud" in json.dumps([value, wanted]).lower() or len(text) > 300:
            return
        try:
            (condition,) = read(f"params.v {operator} {text}", COLUMNS)
        except BadCondition:
            return
        run = make_run(params={"v": value}, result=None)
        run.refresh_from_db()
        test = condition.test
        asked = json.dumps([test.path, test.operator, test.operands])
        expected = matches(json.dumps(run.params), asked)
        rows = Run.objects.filter(condition.q(), pk=run.pk)
        assert rows.exists() == expected
