"""What requests and responses about what-if reports contain."""

from __future__ import annotations

from uuid import UUID

from ninja import Schema
from pydantic import Field


class ThresholdOut(Schema):
    """A value in the conditions of a workflow that a report can replace."""

    name: str
    value: str | None = Field(description="Of today; a param’s default, null without.")
    is_param: bool = Field(description="Each run has its own value.")


class ElsewhereOut(Schema):
    """A number of runs that another edge would have been taken in."""

    node: str
    recorded: str = Field(description="Node that followed, or `no edge`.")
    today: str = Field(description="Node that would follow, `no edge` or `end`.")
    runs: int


class WhatIfRunOut(Schema):
    """A run that would have gone elsewhere, or would fail."""

    run: UUID
    sequence: int = Field(description="Step after which the edge is taken.")
    node: str
    recorded: str
    today: str | None = Field(description="Null if a condition fails.")
    reason: str
    url: str


class WhatIfPart(Schema):
    """A part of a report: the counts are those of its runs."""

    runs: int
    runs_elsewhere: int
    runs_failed: int
    decisions: int = Field(description="With a condition, evaluated.")
    unconditional: int
    edges: list[ElsewhereOut]
    not_evaluated: dict[str, int] = Field(description="Decisions by reason.")
    items: list[WhatIfRunOut]
    next: str | None = Field(description="`cursor` of the next part; null on the last.")
