"""History of runs: attempts, stages, decisions, checkpoints."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.utils.safestring import SafeString

from workflows.admin.read_only import ReadOnlyAdmin, as_json, run_link
from workflows.models import Attempt, Checkpoint, Decision, Stage

MAX_SHOWN_CHARS = 20_000  # characters of a checkpoint


class RunRowAdmin(ReadOnlyAdmin):
    """Base class for rows of a run."""

    workflow = "run__workflow_name"
    list_select_related: ClassVar[tuple[str, ...]] = ("run",)
    ordering = ("-id",)
    search_fields: ClassVar[tuple[str, ...]] = ("=run__id",)
    search_help_text = "Full ID of a run."

    @admin.display(description="Run")
    def page(self, row: Attempt | Stage | Decision | Checkpoint) -> SafeString | str:
        """Return a link to the run."""
        return run_link(row.run)


@admin.register(Attempt)
class AttemptAdmin(RunRowAdmin):
    """Attempts."""

    list_display = ("number", "page", "worker", "outcome", "started_at", "ended_at")
    list_filter = ("outcome", "started_at")
    search_fields = ("=run__id", "worker")


@admin.register(Stage)
class StageAdmin(RunRowAdmin):
    """Stages."""

    list_display = (
        "node_name",
        "page",
        "sequence",
        "attempt",
        "status",
        "tries",
        "duration_ms",
    )
    list_filter = ("status", "created_at")
    search_fields = ("=run__id", "node_name")


@admin.register(Decision)
class DecisionAdmin(RunRowAdmin):
    """Decisions."""

    list_display = (
        "__str__",
        "page",
        "sequence",
        "predicate_name",
        "explanation",
        "decided_by",
    )
    list_filter = ("taken", "created_at")
    list_select_related = ("run", "decided_by")
    search_fields = ("=run__id", "from_node", "to_node", "predicate_name")
    exclude = ("values",)
    readonly_fields = ("values_shown",)

    @admin.display(description="Input values")
    def values_shown(self, decision: Decision) -> SafeString:
        """Return the values that the predicate read."""
        return as_json(decision.values)


@admin.register(Checkpoint)
class CheckpointAdmin(RunRowAdmin):
    """Checkpoints."""

    list_display = ("__str__", "page", "attempt", "kind", "bytes", "created_at")
    list_filter = ("kind",)
    exclude = ("data",)
    readonly_fields = ("data_shown",)

    @admin.display(description="Data")
    def data_shown(self, checkpoint: Checkpoint) -> str:
        """Return the beginning of the data."""
        return checkpoint.data[:MAX_SHOWN_CHARS]
