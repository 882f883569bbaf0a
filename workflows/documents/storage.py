"""Errors and cleanup of the storage of documents.

The exception types depend on the storage: those of the operating system, botocore or
another library. Therefore any exception counts, and `storage_errors` must wrap nothing
but calls to the storage.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core import checks
from django.core.files.storage import storages

from workflows.infra import outages
from workflows.models import Document, PageImage, RunFile
from workflows.runtime.errors import ProviderError, StorageFailed

if TYPE_CHECKING:
    from django.db.models.fields.files import FieldFile

logger = logging.getLogger(__name__)

STORAGE_FAILED_MESSAGE = (
    "The storage of documents does not work just now: it cannot be reached, refuses us, "
    "or is full. Try again in a minute; if it stays so, an administrator finds the reason "
    "in the server's log."
)


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise StorageFailed for any storage error except a missing file."""
    try:
        yield
    except (FileNotFoundError, ProviderError):
        raise
    except Exception as error:
        outages.storage.report_failure(error)
        raise StorageFailed(STORAGE_FAILED_MESSAGE) from error
    outages.storage.report_success()


def names_of_files() -> Iterator[str]:
    """Yield the name in storage of each file that a row refers to."""
    for model in (Document, RunFile, PageImage):
        names = model.objects.order_by("pk").values_list("file", flat=True)
        yield from (str(name) for name in names.iterator() if name)


def delete_files(files: Sequence[FieldFile]) -> int:
    """Delete files; return how many failed: `prune_media` deletes those."""
    for place, file in enumerate(files):
        try:
            with storage_errors():
                file.storage.delete(str(file.name))
        except StorageFailed:  # the others would only time out as well
            remaining = len(files) - place
            logger.warning(
                "%d files that nothing needs are left in storage, beginning with %s: "
                "`manage.py prune_media` removes them.",
                *(remaining, file.name),
            )
            return remaining
    return 0


def check_storage(**_: Any) -> list[checks.CheckMessage]:
    """System check: the storage options are valid."""
    try:
        _storage = storages["default"]
    except Exception as error:
        message = f"MEDIA_STORAGE cannot be used with MEDIA_STORAGE_OPTIONS: {error}"
        return [checks.Error(message, id="workflows.E001")]
    return []
