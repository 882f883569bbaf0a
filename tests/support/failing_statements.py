"""Statements that fail, as if the process or its connection ended there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from django.db import OperationalError, connection


class FailsAt:
    """Lets the statement with this number fail, as if the process ended there."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, execute: Any, *statement: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise OperationalError("the connection is gone")
        return execute(*statement)


def done_at_last(act: Callable[[], Any], stored: Callable[[], Any]) -> int:
    """Act, ended at each statement in turn, until it succeeds; return the number of ends.

    What is stored stays the same until then.
    """
    before = stored()
    for number in itertools.count(1):
        try:
            with connection.execute_wrapper(FailsAt(number)):
                act()
        except OperationalError:
            assert stored() == before, f"statement {number}"
        else:
            return number - 1
    raise AssertionError
