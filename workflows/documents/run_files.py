"""Files that the nodes of a run make: stored first, then recorded, once per step and name.

    1. The content is copied and hashed, and refused above MAX_RUN_FILE_BYTES.
    2. A row of the same step and name from an earlier try or attempt is returned, if it has
       the same content.
    3. The file is stored under a name of its own.
    4. The row is inserted in the transaction of a record of the run, which holds the lock on
       the run's row and has passed its fence, together with a sealed audit event.

A process that is killed between 3 and 4 leaves a file without a row, which `prune_media`
deletes; the repeated step stores another one. A file whose row was not inserted is deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import stat
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.db.models import Q

from workflows.audit import audit_events
from workflows.audit.file_verification import ADD_FILE, sealed_values
from workflows.documents.storage import delete_files, storage_errors
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import Fork, Run, RunFile
from workflows.runtime.made_files import NewFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from django.db.models import QuerySet
    from django.db.models.fields.files import FieldFile

    from workflows.runtime.protocols import NodeContext

MAX_SEQUENCE: Final = 2**31 - 1  # of a step
CHUNK_BYTES: Final = 1 << 20
MAX_IN_MEMORY_BYTES: Final = 1 << 20  # of one content; more is copied to the disk

logger = logging.getLogger(__name__)


class RunRecord(Protocol):
    """The part of a run's record that its files need."""

    def masked(self, text: str) -> str:
        """Return a text without the secrets of the run."""

    def attach_write(self, write: Callable[[], None]) -> None:
        """Call this in the transaction of the next record, perhaps more than once."""

    async def flush(self) -> None:
        """Return once everything is committed."""


@dataclass(frozen=True, slots=True)
class Content:
    """A copy of what a node gave."""

    file: IO[bytes]
    size: int  # bytes
    sha256: str


class RunFiles:
    """Makes the files of one attempt of a run."""

    def __init__(self, run: Run, record: RunRecord) -> None:
        self._run = run
        self._record = record
        self._adding: set[asyncio.Task[UUID]] = set()

    async def add(
        self, context: NodeContext, name: object, content: object, content_type: object
    ) -> UUID:
        """Return the id of the file of a step with that name, which is made if it is new.

        A try that is interrupted meanwhile leaves the file recorded, or deleted.
        Raises Invalid, Duplicate, StorageFailed, and the errors of a record.
        """
        if isinstance(name, str):
            name = self._record.masked(name)
        new = NewFile.of_values(context.node, name, content, content_type)
        task = asyncio.ensure_future(self._add(context, new))
        self._adding.add(task)
        task.add_done_callback(self._end)
        return await asyncio.shield(task)

    def _end(self, task: asyncio.Task[UUID]) -> None:
        self._adding.discard(task)
        if not task.cancelled():
            task.exception()  # that of an interrupted try is nobody's

    async def _add(self, context: NodeContext, new: NewFile) -> UUID:
        content = await asyncio.to_thread(copied, new, settings.MAX_RUN_FILE_BYTES)
        try:
            place = self._run.pk, context.key, new.name
            found = await run_in_db_retrying(find, *place)
            if found is None:
                row = RunFile(
                    run=self._run,
                    attempt=self._run.attempt,
                    sequence=context.sequence,
                    node_name=context.node,
                    key=context.key,
                    name=new.name,
                    content_type=new.content_type,
                    size=content.size,
                    sha256=content.sha256,
                )
                found = await self._stored(row, content)
        finally:
            content.file.close()
        if found.sha256 != content.sha256:
            raise new.differs()
        return found.pk

    async def _stored(self, row: RunFile, content: Content) -> RunFile:
        """Store the file, then its row; return the row, or that of a call at the same time."""
        await asyncio.to_thread(store, row, content)
        try:
            self._record.attach_write(partial(insert, row))
            await self._record.flush()
        except asyncio.CancelledError:
            raise  # the process ends: the record may still be committed, so the file stays
        except BaseException:
            await self._settled(row)
            raise
        found = await self._settled(row)
        if found is None:
            raise RuntimeError(
                f"The file “{row.name}” of “{row.node_name}” could not be recorded."
            )
        return found

    async def _settled(self, row: RunFile) -> RunFile | None:
        """Return the row that is stored under this name; delete the file if it is another."""
        found = await run_in_db_retrying(find, row.run_id, row.key, row.name)
        if found is None or found.pk != row.pk:
            await asyncio.to_thread(delete_files, [row.file])
        return found


def copied(new: NewFile, limit: int) -> Content:
    """Return a copy of the content with its hash. Raises Invalid."""
    with ExitStack() as stack:
        copy = stack.enter_context(tempfile.SpooledTemporaryFile(MAX_IN_MEMORY_BYTES))
        digest, size = hashlib.sha256(), 0
        for piece in _pieces(new):
            size += len(piece)
            if size > limit:
                raise new.too_large(limit)
            digest.update(piece)
            copy.write(piece)
        copy.seek(0)
        stack.pop_all()  # the caller closes it
    return Content(copy, size, digest.hexdigest())


def _pieces(new: NewFile) -> Iterator[bytes]:
    if not isinstance(new.content, Path):
        yield new.content
        return
    try:
        # without O_NONBLOCK, opening a named pipe would wait for its writer
        with os.fdopen(os.open(new.content, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise new.unreadable("it is not a regular file.")
            while piece := file.read(CHUNK_BYTES):
                yield piece
    except (OSError, ValueError) as error:
        raise new.unreadable(getattr(error, "strerror", None) or error) from error


def store(row: RunFile, content: Content) -> None:
    """Store the file of a row under a name that no other row has. Raises StorageFailed."""
    with storage_errors():
        name = f"{row.run_id}/{row.pk.hex}"
        row.file.save(name, File(content.file, name=row.pk.hex), save=False)


def find(run_id: UUID, key: str, name: str) -> RunFile | None:
    """Return the file of a step with that name."""
    return RunFile.objects.filter(run=run_id, key=key, name=name).first()


def insert(row: RunFile) -> None:
    """Insert the row of a stored file; call it in the transaction of a record of its run.

    It inserts nothing if the step has a file of this name.
    """
    if find(row.run_id, row.key, row.name) is not None:
        return
    RunFile.objects.bulk_create([row])
    audit_events.record(row.run, ADD_FILE, by=None, changed=({}, sealed_values(row)))


def files_of(run: Run) -> QuerySet[RunFile]:
    """Return the files that a run made, and those of the steps that it shares with others."""
    condition, kept = Q(run=run.pk), MAX_SEQUENCE
    fork = Fork.objects.filter(run=run.pk).first()
    while fork is not None:
        kept = min(kept, fork.kept)
        condition |= Q(run=fork.origin_key, sequence__lte=kept)
        fork = Fork.objects.filter(run=fork.origin_key).first()
    return RunFile.objects.filter(condition)


def delete_files_of(run_ids: Sequence[UUID]) -> None:
    """Delete the files of runs, unless a fork shares them; those in storage after the commit."""
    made = RunFile.objects.filter(run__in=run_ids)
    makers = {row.maker for row in made.only("key")}
    if not makers:
        return
    _pass_on(made, run_ids, makers)
    rows = list(made.only("file"))
    RunFile.objects.filter(pk__in=[row.pk for row in rows]).delete()
    files: list[FieldFile] = [row.file for row in rows]
    transaction.on_commit(partial(_delete_stored, files))


def _pass_on(
    made: QuerySet[RunFile], run_ids: Sequence[UUID], makers: Iterable[UUID]
) -> None:
    """Give the files of shared steps to a fork that remains: its states refer to them."""
    forks = Fork.objects.filter(
        origin_key__in={*run_ids, *makers}, run__payload_removed_at=None
    )
    for fork in forks.exclude(run__in=run_ids).order_by("pk"):
        origin = fork.origin_key
        shared = made.filter(Q(run=origin) | Q(key__startswith=f"{origin}/"))
        shared.filter(sequence__lte=fork.kept).update(run=fork.run_id)


def _delete_stored(files: list[FieldFile]) -> None:
    delete_files(files)
