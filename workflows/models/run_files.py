"""Files that runs make: CSV, PDF, any type; they live as long as the data of their run."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.db import models
from django.utils import timezone

from workflows.models.runs import Run, new_run_id


class RunFile(models.Model):
    """A file that a step of a run made; its bytes are in storage, stored before this row.

    When its run is deleted, it passes to a fork that shares the step, if there is one (see
    `documents/run_files.py`). No content is shared with another row: a file is deleted with
    its row. At most one per step and name, whichever attempt makes it.
    """

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    run = models.ForeignKey(
        Run,
        on_delete=models.CASCADE,
        related_name="files",
        db_index=False,  # run_file_once begins with it
    )
    attempt = models.PositiveIntegerField()  # that made it
    sequence = models.PositiveIntegerField()  # the step
    node_name = models.CharField(max_length=200)
    key = models.CharField(max_length=300)  # of the step or item, see `NodeContext.key`
    name = models.CharField(max_length=200)  # as the author chose it; never a path
    file = models.FileField(upload_to="run-files/", max_length=200)
    content_type = models.CharField(
        max_length=100
    )  # as given, or guessed from the name
    size = models.PositiveBigIntegerField()  # bytes
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "key", "name"], name="run_file_once")
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    @property
    def maker(self) -> UUID:
        """The id of the run whose step made it, with which the key begins."""
        return UUID(self.key.partition("/")[0])
