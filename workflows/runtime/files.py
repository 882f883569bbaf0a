"""Documents as files on this machine, wherever their storage keeps them.

Storage with paths is read where it is. Of other storage, such as S3, a copy is made when
it is first needed and kept while there is room: the content of a document never changes.
"""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workflows.runtime.errors import NotFound

if TYPE_CHECKING:
    from workflows.models import Document

KEPT_BYTES = 1_000_000_000  # of copies that nobody reads just now


@dataclass(slots=True)
class _Copy:
    path: Path
    size: int
    readers: int = 0


class Copies:
    """Copies of documents whose storage has no paths, the lately read ones kept."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        """Begin without a directory: it is made when the first copy is."""
        self._most = most_bytes
        self._lock = threading.Lock()
        self._copies: dict[str, _Copy] = {}  # by hash, the longest unread first
        self._place: Path | None = None

    @contextmanager
    def of(self, row: Document) -> Iterator[str]:
        """Give the path of a copy, which stays until the end. Raises NotFound."""
        with self._lock:  # one is made at a time, and each once
            copy = self._copies.pop(row.sha256, None) or self._made(row)
            self._copies[row.sha256] = copy
            copy.readers += 1
        try:
            yield str(copy.path)
        finally:
            with self._lock:
                copy.readers -= 1
                self._make_room()

    def _made(self, row: Document) -> _Copy:
        if self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="signalbox-copies-"))
            atexit.register(shutil.rmtree, self._place, ignore_errors=True)
        path = self._place / row.sha256
        try:
            with row.file.open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
        except FileNotFoundError as error:
            path.unlink(missing_ok=True)
            raise gone(row) from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return _Copy(path, path.stat().st_size)

    def _make_room(self) -> None:
        taken = sum(copy.size for copy in self._copies.values())
        for sha256, copy in list(self._copies.items()):
            if taken <= self._most:
                return
            if not copy.readers:
                copy.path.unlink(missing_ok=True)
                del self._copies[sha256]
                taken -= copy.size


_copies = Copies()


@contextmanager
def at_hand(row: Document) -> Iterator[str]:
    """Give the path of a document's file, or of a copy. Raises NotFound: it is gone."""
    try:
        path = row.file.path
    except NotImplementedError:  # storage without paths
        with _copies.of(row) as copied:
            yield copied
        return
    if not Path(path).exists():
        raise gone(row)
    yield path


@asynccontextmanager
async def soon_at_hand(row: Document) -> AsyncIterator[str]:
    """Do the same without holding up the event loop meanwhile."""
    held = at_hand(row)
    path = await asyncio.to_thread(held.__enter__)
    try:
        yield path
    finally:
        held.__exit__(None, None, None)


def gone(row: Document) -> NotFound:
    """Return the error that says that a document's file is not there."""
    return NotFound(f"The file of “{row.name}” is gone from storage.")
