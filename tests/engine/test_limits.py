"""Limits of workflows: what can be declared, and mistakes that are reported at import."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from workflows.engine import DefinitionError, Limits, State, Workflow, node


@node
def work(state: State) -> State:
    return state


def declared(limits: Any) -> Workflow[State]:
    return Workflow("mail", state=State, start=work, routes={}, limits=limits)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "limit nothing: give at_once, per_minute or debounce."),
        ({"at_once": 0}, "have at_once=0: use a whole number of at least 1."),
        ({"at_once": True}, "have at_once=True: use a whole number of at least 1."),
        ({"per_minute": 0.5}, "have per_minute=0.5: use a whole number of at least 1."),
        (
            {"at_once": 1, "key": "tenant"},
            "have key='tenant': use a function of the params.",
        ),
        (
            {"at_once": 1, "when_full": "wait"},
            "have when_full='wait': use one of “queue”, “refuse”, “replace”.",
        ),
        ({"debounce": 3}, "have debounce=3: use a timedelta above 0."),
        (
            {"per_minute": 1, "when_full": "replace"},
            "replace runs and have no at_once: give it.",
        ),
        (
            {"debounce": timedelta(seconds=1), "when_full": "refuse"},
            "refuse launches and have neither at_once nor per_minute: give one.",
        ),
    ],
    ids=range(9),
)
def test_limits_that_cannot_hold_are_reported_at_import(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        declared(Limits(**options))
    assert str(caught.value) == f"Workflow “mail”: its limits {problem}"


def test_limits_are_no_part_of_the_fingerprint() -> None:
    assert declared(Limits(at_once=1)).fingerprint == declared(None).fingerprint


def _given(key: Any, _params: object) -> Any:
    return key


def test_keys_are_stored_as_text() -> None:
    class Size(Enum):
        LARGE = "large"

    keys: dict[Any, str] = {"a b": "a b", 7: "7", UUID(int=1): str(UUID(int=1))}
    for key, text in (keys | {Size.LARGE: "large"}).items():
        limits = Limits(at_once=1, key=partial(_given, key))
        assert limits.key_of("mail", None) == text
    assert Limits(at_once=1).key_of("mail", None) == ""
