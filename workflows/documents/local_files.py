"""Local files of documents, for any storage.

Files of storage with paths are read in place. Of other storage, such as S3, a copy is
made on first use and cached: the content of a document never changes.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.documents.storage import storage_errors
from workflows.runtime.errors import NotFound

if TYPE_CHECKING:
    from workflows.models import Document, RunFile

    StoredFile = Document | RunFile

MAX_CACHED_BYTES = 1_000_000_000  # of copies without readers


@dataclass(slots=True)
class _Copy:
    path: Path
    size: int = 0  # 0 until complete
    readers: int = 0  # includes threads that wait for it
    done: Future[None] = field(default_factory=Future)


class LocalCopyCache:
    """LRU cache of local copies of documents whose storage has no paths."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._copies: dict[str, _Copy] = {}  # by hash, least recently used first
        self._directory: Path | None = None

    @contextmanager
    def of(self, row: StoredFile) -> Iterator[str]:
        """Yield the path of a copy, which is kept until the context exits.

        The first caller fetches it, others of the same document wait. Raises NotFound or
        StorageFailed in all of them; the next call tries again.
        """
        copy, is_first = self._acquire(row.sha256)
        try:
            if is_first:
                self._fetch_copy(row, copy)
            copy.done.result()
            yield str(copy.path)
        finally:
            with self._lock:
                copy.readers -= 1
                self._evict()

    def _acquire(self, sha256: str) -> tuple[_Copy, bool]:
        """Return the copy of a content, and whether the caller has to fetch it."""
        with self._lock:
            if self._directory is None:
                self._directory = Path(tempfile.mkdtemp(prefix="signalbox-copies-"))
                atexit.register(shutil.rmtree, self._directory, ignore_errors=True)
            known = self._copies.pop(sha256, None)
            copy = self._copies[sha256] = known or _Copy(self._directory / sha256)
            copy.readers += 1
        return copy, known is None

    def _fetch_copy(self, row: StoredFile, copy: _Copy) -> None:
        try:
            _fetch(row, copy.path)
            copy.size = copy.path.stat().st_size
        except BaseException as error:
            copy.path.unlink(missing_ok=True)
            with self._lock:
                del self._copies[row.sha256]
            copy.done.set_exception(error)
        else:
            copy.done.set_result(None)

    def _evict(self) -> None:
        used = sum(copy.size for copy in self._copies.values())
        for sha256, copy in list(self._copies.items()):
            if used <= self._max_bytes:
                return
            if not copy.readers:
                copy.path.unlink(missing_ok=True)
                del self._copies[sha256]
                used -= copy.size


_copies = LocalCopyCache()


def _fetch(row: StoredFile, path: Path) -> None:
    """Copy a document's file to a path. Raises NotFound, StorageFailed."""
    try:
        with (
            storage_errors(),
            row.file.storage.open(str(row.file.name), "rb") as source,
            path.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
    except FileNotFoundError as error:
        raise file_missing(row) from error


@contextmanager
def local_path(row: StoredFile) -> Iterator[str]:
    """Yield the path of a document's file or of a copy.

    Raises NotFound if it is missing; StorageFailed.
    """
    try:
        path = row.file.path
    except NotImplementedError:  # storage without paths
        with _copies.of(row) as copied:
            yield copied
        return
    if not Path(path).exists():
        raise file_missing(row)
    yield path


@asynccontextmanager
async def local_path_async(row: StoredFile) -> AsyncIterator[str]:
    """Async version of `local_path` that does not block the event loop."""
    context = local_path(row)
    entering = asyncio.ensure_future(asyncio.to_thread(context.__enter__))
    try:
        path = await asyncio.shield(entering)
    except (
        asyncio.CancelledError
    ):  # the thread continues; release the file when it returns
        entering.add_done_callback(
            lambda task: (
                task.cancelled()
                or task.exception()
                or context.__exit__(None, None, None)
            )
        )
        raise
    try:
        yield path
    finally:
        context.__exit__(None, None, None)


def file_missing(row: StoredFile) -> NotFound:
    """Return the error for a document whose file is missing."""
    return NotFound(f"The file of “{row.name}” is gone from storage.")
