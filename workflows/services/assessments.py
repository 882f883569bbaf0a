"""Assessments of runs and decisions, and the accuracy that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import TruncMonth

from workflows.audit import audit_events
from workflows.engine.first_of import FIRST_EDGE
from workflows.errors import InvalidParams, InvalidStatus, StepNotFound
from workflows.infra import notifications
from workflows.models import WHOLE_RUN, Assessment, Run

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

MAX_NOTE_LENGTH: Final = 2_000  # characters
MAX_MONTHS: Final = 24


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How many assessments of something were right."""

    name: str  # an edge, a profile or ""; "2026-11" for a month
    right: int
    wrong: int

    @property
    def share(self) -> float | None:
        """The share of right ones, 0..1; None without any."""
        total = self.right + self.wrong
        return self.right / total if total else None


@dataclass(frozen=True, slots=True)
class WorkflowAccuracy:
    """The accuracy of a workflow: of its runs, and of its decisions by edge."""

    runs: Accuracy
    edges: Sequence[Accuracy]
    profiles: Sequence[Accuracy]  # of the runs
    months: Sequence[Accuracy]  # of the runs, oldest first

    @property
    def is_known(self) -> bool:
        """Whether anything was assessed."""
        return self.runs.share is not None or bool(self.edges)


def assess(
    run: Run,
    is_right: bool | None,
    *,
    step: int = WHOLE_RUN,
    note: str = "",
    by: AbstractBaseUser | None,
) -> Assessment | None:
    """Assess a run, or the edge taken after a step; None withdraws the assessment.

    Raises InvalidStatus, StepNotFound, InvalidParams.
    """
    note = note.replace("\x00", "").strip()
    if len(note) > MAX_NOTE_LENGTH:
        raise InvalidParams({"note": [f"At most {MAX_NOTE_LENGTH} characters."]})
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        if not locked.is_ended:
            raise InvalidStatus(locked, wanted="assessed before it has ended")
        edge = ("", "") if step == WHOLE_RUN else _edge(locked, step)
        rows = Assessment.objects.filter(run=locked, sequence=step)
        before, after = rows.first(), None
        if is_right is None:
            rows.delete()
        else:
            after, _ = Assessment.objects.update_or_create(
                run=locked,
                sequence=step,
                defaults={
                    "workflow_name": locked.workflow_name,
                    "from_node": edge[0],
                    "to_node": edge[1],
                    "is_right": is_right,
                    "note": note,
                    "person_id": by.pk if by else None,
                    "person_name": by.get_username() if by else "system",
                },
            )
        changed = _sealed(step, before), _sealed(step, after)
        audit_events.record(
            locked, "assess", by=by, reason=note, after=locked.status, changed=changed
        )
        notifications.changed_on_commit(locked.pk)
    return after


def edge_taken(run: Run, step: int) -> tuple[str, str] | None:
    """Return the nodes of the edge taken after a step, if one was."""
    taken = run.decisions.filter(sequence=step, taken=True, edge_index__lt=FIRST_EDGE)
    return taken.order_by("-attempt").values_list("from_node", "to_node").first()


def _edge(run: Run, step: int) -> tuple[str, str]:
    """Return the nodes of the edge taken after a step. Raises StepNotFound."""
    edge = edge_taken(run, step)
    if edge is None:
        raise StepNotFound(run, step)
    return edge


def _sealed(step: int, row: Assessment | None) -> dict[str, object]:
    """Return what the audit log has of an assessment."""
    values = {} if row is None else {"right": row.is_right, "note": row.note}
    return {"step": step or None, **values} if values else {}


def accuracy_of(workflow: str) -> WorkflowAccuracy:
    """Return the accuracy of a workflow by all that was assessed."""
    rows = Assessment.objects.filter(workflow_name=workflow).order_by()
    runs = rows.filter(sequence=WHOLE_RUN)
    edges = rows.exclude(sequence=WHOLE_RUN)
    months = runs.annotate(month=TruncMonth("run__created_at"))
    return WorkflowAccuracy(
        Accuracy(
            "", runs.filter(is_right=True).count(), runs.filter(is_right=False).count()
        ),
        [
            Accuracy(f"{source} → {target}", right, wrong)
            for source, target, right, wrong in _counted(edges, "from_node", "to_node")
        ],
        [Accuracy(*row) for row in _counted(runs, "run__profile_name")],
        [
            Accuracy(_month(month), right, wrong)
            for month, right, wrong in _counted(months, "month")
        ][-MAX_MONTHS:],
    )


def _month(month: dt.datetime) -> str:
    return f"{month:%Y-%m}"


def _counted(rows: QuerySet[Assessment], *names: str) -> list[Any]:
    """Return the values of these fields with the number of right and wrong ones."""
    counted = rows.values(*names).annotate(
        right=Count("pk", filter=Q(is_right=True)),
        wrong=Count("pk", filter=Q(is_right=False)),
    )
    return list(counted.order_by(*names).values_list(*names, "right", "wrong"))
