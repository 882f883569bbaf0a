"""A try that failed and is followed by another, as a row and as a log line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone

from workflows.execution.records import RetryRow
from workflows.execution.texts import clean

if TYPE_CHECKING:
    from collections.abc import Mapping


def retry_of(data: Mapping[str, Any], sequence: int) -> RetryRow:
    """Return the row of a `node.retry` event of this step."""
    return RetryRow(
        sequence=sequence,
        number=data["try"],
        wait_seconds=data["wait_seconds"],
        error=clean(data["error"]),
        created_at=timezone.now(),
    )


def told(data: Mapping[str, Any]) -> str:
    """Return what the log says of a `node.retry` event."""
    return (
        f"Try {data['try']} of {data['of']} of {data['node']} failed:"
        f" {data['error']}. Next try in {data['wait_seconds']:.1f} s."
    )
