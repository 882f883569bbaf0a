"""Runs the script of a case, action by action, and notes what came of each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from tests.engine.traces.ops import World
from tests.lifecycle import fixtures, requests
from tests.lifecycle.cases import Action, Case
from tests.lifecycle.graphs import WORKFLOW, factory_of
from tests.lifecycle.process import Process, Processes, processes
from tests.lifecycle.story import Story, read_story, run_row
from tests.working import ended, until
from workflows.engine.errors import RequestError
from workflows.errors import InvalidStatus, RunNotFound, WorkflowNotFound
from workflows.execution.database import in_database
from workflows.models import ENDED, Run, Stage, Status
from workflows.registry import registry

CODES: tuple[tuple[type[RequestError], str], ...] = (
    (WorkflowNotFound, "workflow_not_registered"),
    (RunNotFound, "not_found"),
    (InvalidStatus, "invalid_status"),
    (RequestError, "other"),
)
