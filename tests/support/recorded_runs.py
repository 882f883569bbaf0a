"""Runs of a small workflow as rows, as if they had been executed, for what-if reports."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

from django.utils import timezone
from pydantic import BaseModel, Field

from workflows.engine import State, Workflow, key, node, otherwise, predicate, when
from workflows.models import Checkpoint, Decision, Run, Status
from workflows.models.id_ranges import run_id_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

NAME = "grade-reports"
MAX_ROUNDS = 2


class Params(BaseModel):
    """Params of the workflow."""

    threshold: float = Field(0.8, ge=0, le=1)
    note: str = ""


class Grading(State):
    """State of the runs here."""

    params: Params
    score: float = 0.0
    round: int = 0
    pages: int = 1


@node
def grade(state: Grading) -> Grading:
    """Return a better score."""
    return state.set(score=state.score + 0.25, round=state.round + 1)


@node
def publish(state: Grading) -> Grading:
    """Return the state."""
    return state


@node
def review(state: Grading) -> Grading:
    """Return the state."""
    return state


@predicate("score {s.score:.2f}, threshold {s.params.threshold:.2f}")
def is_good(state: Grading) -> bool:
    return state.score >= state.params.threshold


@predicate
def has_rounds_left(state: Grading) -> bool:
    return state.round < MAX_ROUNDS


def make_workflow() -> Workflow[Grading]:
    """Return the workflow, unregistered."""
    return Workflow(
        NAME,
        state=Grading,
        start=grade,
        routes={
            grade: [
                when(is_good & key("pages").at_most(100), publish),
                when(has_rounds_left, grade),
                otherwise(review),
            ],
            review: publish,
        },
    )


def make_runs(
    scores: Iterable[float], *, threshold: float = 0.8, days_ago: float = 1
) -> list[UUID]:
    """Insert a completed run for each score, which is that after its only grading.

    They follow each other by a millisecond. Runs below the threshold went to the review.
    """
    workflow = make_workflow()
    begin = timezone.now() - dt.timedelta(days=days_ago)
    runs, checkpoints, decisions = [], [], []
    for number, score in enumerate(scores):
        made = begin + dt.timedelta(milliseconds=number)
        run = Run(
            id=run_id_at(made),
            workflow_name=NAME,
            status=Status.COMPLETED,
            params={"threshold": threshold, "note": ""},
            fingerprint=workflow.fingerprint,
            graph=workflow.drawn,
            created_at=made,
            started_at=made,
            completed_at=made,
            attempt=1,
        )
        runs.append(run)
        is_met = score >= threshold
        nodes = ["", "grade", *(["publish"] if is_met else ["review", "publish"])]
        whole = Grading(params=Params(threshold=threshold), round=MAX_ROUNDS).data
        patch = [{"op": "replace", "path": "/score", "value": score}]
        texts = [json.dumps(whole), json.dumps(patch), *["[]"] * len(nodes)]
        checkpoints += [
            Checkpoint(
                run=run,
                attempt=1,
                sequence=sequence,
                node_name=name,
                kind=Checkpoint.Kind.DELTA if sequence else Checkpoint.Kind.FULL,
                data=text,
                bytes=len(text),
                created_at=made,
            )
            for sequence, (name, text) in enumerate(zip(nodes, texts, strict=False))
        ]
        edges = [(1, 0, "grade", "publish", is_met)]
        if not is_met:
            edges += [
                (1, 1, "grade", "grade", False),
                (1, 2, "grade", "review", True),
                (2, 0, "review", "publish", True),
            ]
        decisions += [
            Decision(
                run=run,
                workflow_name=NAME,
                attempt=1,
                sequence=sequence,
                edge_index=index,
                from_node=source,
                to_node=target,
                predicate_result=result,
                taken=result,
                created_at=made,
            )
            for sequence, index, source, target, result in edges
        ]
    Run.objects.bulk_create(runs, batch_size=500)
    Checkpoint.objects.bulk_create(checkpoints, batch_size=500)
    Decision.objects.bulk_create(decisions, batch_size=500)
    return [run.pk for run in runs]
