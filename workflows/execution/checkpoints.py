"""States as rows: keyframes and the patches in between, from which any step is rebuilt.

A checkpoint is the JSON Patch from the previous state, unless the patches since the last
keyframe would be larger than a new one. Rebuilding a state therefore reads at most about
twice its size, and storage grows with the changes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Subquery
from django.db.models.functions import Coalesce

from workflows.engine.errors import CheckpointMismatch, RunError
from workflows.engine.frozen import freeze
from workflows.engine.json_patch import apply, diff
from workflows.models import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from uuid import UUID

    from workflows.engine.frozen import FrozenDict

MIN_PATCH_BYTES = 2_000  # that patches may always take before a keyframe is due


class StateTooLarge(RunError):
    """A state is larger than MAX_STATE_BYTES."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the state takes {size:,} bytes, and up to {limit:,} are kept"
            " (MAX_STATE_BYTES): keep what is large in documents"
        )


@dataclass(slots=True)
class Encoder:
    """Turns each new state of one run into the smaller of a patch and a keyframe."""

    before: FrozenDict | None = None
    keyframe_bytes: int = 0
    patch_bytes: int = 0  # since the keyframe
    max_bytes: int = field(default_factory=lambda: settings.MAX_STATE_BYTES)

    def encode(self, data: FrozenDict) -> tuple[str, str]:
        """Return the kind and the JSON text of the checkpoint of this state.

        Raises StateTooLarge.
        """
        before = self.before
        if before is not None:
            patch = dumps_patch(diff(before, data))
            patch_bytes = self.patch_bytes + len(patch)
            if patch_bytes <= max(self.keyframe_bytes, MIN_PATCH_BYTES):
                # a state is at most as large as its keyframe and the patches since
                if self.keyframe_bytes + patch_bytes > self.max_bytes:
                    self._check_size(dumps(data))
                self.patch_bytes, self.before = patch_bytes, data
                return Checkpoint.Kind.DELTA, patch
        text = dumps(data)
        self._check_size(text)
        self.keyframe_bytes, self.patch_bytes, self.before = len(text), 0, data
        return Checkpoint.Kind.FULL, text

    def _check_size(self, text: str) -> None:
        if len(text) > self.max_bytes:
            raise StateTooLarge(len(text), self.max_bytes)


_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(value: object) -> str:
    """Return compact JSON text in ASCII: any database stores it unchanged."""
    return _compact.encode(value)


def dumps_patch(patch: list[dict[str, Any]]) -> str:
    """Return a patch as JSON text; most steps change little or nothing."""
    return dumps(patch) if patch else "[]"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A rebuilt state, and the step after which it was stored."""

    sequence: int
    node: str
    data: FrozenDict
    failure: Mapping[str, Any] | None = None  # of a step whose failure route was taken


def rebuild(run_id: UUID, at: int | None = None) -> Snapshot | None:
    """Return the state after step `at` (the last one by default), None if there is none.

    Raises CheckpointMismatch when a row is missing or damaged.
    """
    last = None
    for snapshot in replay(run_id, at):
        last = snapshot
    return last


def replay(run_id: UUID, at: int | None = None) -> Iterator[Snapshot]:
    """Yield the states that lead from the nearest keyframe to step `at`, in order.

    One query, so that the rows of a run that is being written are consistent.
    """
    rows = Checkpoint.objects.filter(run_id=run_id)
    if at is not None:
        rows = rows.filter(sequence__lte=at)
    keyframes = rows.filter(kind=Checkpoint.Kind.FULL).order_by("-sequence")
    nearest = Subquery(keyframes.values("sequence")[:1])
    following = rows.filter(sequence__gte=Coalesce(nearest, 0))
    return states(following.order_by("sequence"))


def states(rows: Iterable[Checkpoint]) -> Iterator[Snapshot]:
    """Yield the state after each row; rows come in order and start with a keyframe."""
    data: Any = None
    expected: int | None = None
    for row in rows:
        if expected is not None and row.sequence != expected:
            raise _damaged(row.run_id, expected, "its row is missing")
        if expected is None and row.kind != Checkpoint.Kind.FULL:
            raise _damaged(row.run_id, 0, "no whole state is left to start from")
        data = _follow(row, data)
        expected = row.sequence + 1
        yield Snapshot(row.sequence, row.node_name, data, row.failure)


def _follow(row: Checkpoint, before: Any) -> Any:
    try:
        content = json.loads(row.data)
        if row.kind == Checkpoint.Kind.FULL:
            return freeze(content)
        return freeze(apply(content, before))
    except Exception as error:
        raise _damaged(row.run_id, row.sequence, str(error)) from error


def _damaged(run_id: UUID, sequence: int, why: str) -> CheckpointMismatch:
    return CheckpointMismatch(
        f"The checkpoint of step {sequence} of run {run_id} cannot be read: {why}."
        " Resume from an earlier step, or restore the row from a backup."
    )
