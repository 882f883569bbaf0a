"""A database that refuses some of what a run writes, and what comes of the run.

The reference writes its history beside the run: what the database refuses is logged, and
the run goes on without. Ours is one transaction with the step, for a decision that is not
recorded is what nobody could explain later: the step fails, the run with it, nothing of
the step is left, and once the cause is put right a resume leads to the recorded end with
a history that has no gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError
from django.db.backends.utils import CursorWrapper

from tests.lifecycle.cases import Case
from tests.lifecycle.compare import answers, assert_run
from tests.lifecycle.script import Script
from tests.working import ended, until
from workflows.models import ENDED

TABLES = {
    "runs": "workflows_run",
    "stages": "workflows_stage",
    "decisions": "workflows_decision",
    "checkpoints": "workflows_checkpoint",
}


class Fault:
    """Refuses statements as the database would, until it is lifted."""

    def __init__(self, statement: str) -> None:
        self._refused = _ours(statement)
        self.hits = 0
        self.is_lifted = False

    def check(self, statement: str) -> None:
        """Refuse a statement that is meant. Raises DatabaseError."""
        if not self.is_lifted and self._refused.match(statement):
            self.hits += 1
            raise DatabaseError("the database refuses this statement")


def _ours(statement: str) -> re.Pattern[str]:
    """The statements of ours that write what a statement of the reference writes.

    What it updates in its history we write with an INSERT that overwrites.
    """
    found = re.match(r"(INSERT INTO|UPDATE|DELETE FROM|SELECT)\b.*?\b(\w+s)\b", statement)
    assert found, f"the adapter does not know which statements are {statement!r}"
    verb, table = found.groups()
    verbs = "INSERT INTO|UPDATE" if verb in {"INSERT INTO", "UPDATE"} else verb
    return re.compile(rf'({verbs})\b.*?\b{TABLES[table]}\b', re.DOTALL)


@contextmanager
def refusing(statement: str) -> Iterator[Fault]:
    """Within, the database refuses such statements on every connection."""
    fault = Fault(statement)

    def checked(method: Any) -> Any:
        def call(self: CursorWrapper, sql: str, *args: Any, **kwargs: Any) -> Any:
            fault.check(sql)
            return method(self, sql, *args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "executemany"):
            patch.setattr(CursorWrapper, name, checked(getattr(CursorWrapper, name)))
        yield fault
