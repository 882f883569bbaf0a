"""The tables whose rows are payloads of runs: deleted before the runs, and counted in previews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workflows.models import (
    CallContent,
    Checkpoint,
    ItemFailure,
    LogLine,
    StageItem,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import Model

# The column with most of the bytes of each. Files have storage, and are deleted by
# `delete_files_of`.
PAYLOAD_TABLES: Final[Mapping[type[Model], str]] = {
    CallContent: "bytes",
    Checkpoint: "data",
    StageItem: "data",
    ItemFailure: "error_message",
    LogLine: "message",
}
