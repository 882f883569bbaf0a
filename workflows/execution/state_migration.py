"""Assigns a run whose state was migrated to the current version of its workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.models import Run

if TYPE_CHECKING:
    from uuid import UUID

    from workflows.registry import AnyWorkflow


def adopt(run_id: UUID, workflow: AnyWorkflow) -> None:
    """Set the fingerprint and the graph that fit the migrated state.

    Call it in the transaction that stores the first migrated state: until then the stored
    state is the old one, and would have to be migrated again.
    """
    Run.objects.filter(pk=run_id).update(
        fingerprint=workflow.fingerprint,
        graph=workflow.drawn,
        has_closing=workflow.has_closing,
    )
