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
