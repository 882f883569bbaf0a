"""The files that a run made, as its page and the API list them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.urls import reverse

from workflows.access.permissions import files_for
from workflows.documents.run_files import files_of
from workflows.errors import DocumentNotFound
from workflows.pages.render.text import size

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from workflows.access.permissions import Permissions
    from workflows.models import Run, RunFile
    from workflows.pages.run.rows_at_step import PointInTime

MAX_FILES: Final = 100  # newest files on the page of a run


@dataclass(frozen=True, slots=True)
class RunFileTable:
    """The files of a run at a point in time, the newest last."""

    files: Sequence[RunFile]
    count: int

    @property
    def hidden(self) -> int:
        """The number of older files that are not listed."""
        return self.count - len(self.files)


def run_file_table(run: Run, moment: PointInTime) -> RunFileTable | None:
    """Return the files that a run had made, None if there are none."""
    rows = moment.rows(files_of(run))
    newest = list(rows.order_by("-pk")[: MAX_FILES + 1])
    if not newest:
        return None
    count = rows.count() if len(newest) > MAX_FILES else len(newest)
    return RunFileTable(newest[:MAX_FILES][::-1], count)


def file_links(
    ids: Collection[UUID], granted: Permissions
) -> Mapping[str, tuple[str, str]]:
    """Return the address and name of each of these ids that is a file which one may read."""
    rows = files_for(granted).filter(pk__in=ids)
    return {
        str(row.pk): (
            reverse("run-file", args=[row.run_id, row.pk]),
            f"{row.name} ({size(row.size)})",
        )
        for row in rows.only("name", "size", "run_id")
    }


def find_file(run: Run, file_id: UUID) -> RunFile:
    """Return a file of a run. Raises DocumentNotFound."""
    found: RunFile | None = files_of(run).filter(pk=file_id).first()
    if found is None:
        raise DocumentNotFound
    return found
