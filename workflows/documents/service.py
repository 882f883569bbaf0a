"""Store and delete documents.

A file is stored once: its SHA-256 is its identity. The row is created after the file is
complete, and a file whose row lost a race is deleted.
"""

from __future__ import annotations

import hashlib
import unicodedata
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Protocol

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import TextField
from django.db.models.functions import Cast

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.documents import reader_pools
from workflows.documents.file_kinds import is_pdf
from workflows.documents.storage import delete_files, storage_errors
from workflows.documents.uploads import Received
from workflows.errors import DocumentNotFound, InUse
from workflows.models import Document, Run, Status
from workflows.runtime.errors import Invalid, StorageFailed, Unsupported
from workflows.runtime.pdf_errors import EmptyFile

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser, User
    from django.db.models import QuerySet
    from django.db.models.fields.files import FieldFile

CHUNK_BYTES = 1 << 20
ACTIVE_STATUSES = (Status.PENDING, Status.RUNNING, Status.WAITING)
MAX_NAMED = 3  # runs listed in an error message
MAX_NAME_CHARS = 200
PDF = "application/pdf"


class TooLarge(Invalid):
    """The file exceeds MAX_UPLOAD_BYTES."""

    code = "too_large"
    status = 413  # of HTTP


class Readable(Protocol):
    """A file, or the body of a request."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""


def store_document(
    name: str, file: Readable, *, by: AbstractBaseUser | None = None
) -> Document:
    """Return the document with this content, storing it if it is new.

    1. Uploads are hashed while they arrive; other files are copied and hashed here. Files
       over the limit are rejected.
    2. The content is checked, not the name: only PDFs that can be opened are accepted.
    3. The file and its row are stored; for known content, the existing row is returned with
       `already_stored` set.

    Raises EmptyFile, TooLarge, Unsupported, PdfError, StorageFailed; each message is for the
    user.
    """
    received = file if isinstance(file, Received) else _received(name, file)
    try:
        if received.is_too_large:
            raise too_large()
        if not received.size:
            raise EmptyFile(EmptyFile.__doc__)
        known = Document.objects.filter(sha256=received.sha256).first()
        if known is not None:
            return _existing(known, by)
        return _store(_safe_name(name), received, by)
    finally:
        if received is not file:
            received.close()


def too_large() -> TooLarge:
    """Return the error for a file that is too large."""
    limit = f"{settings.MAX_UPLOAD_BYTES / 1_000_000:,.6g} MB"
    return TooLarge(f"The file is larger than {limit}, the most we accept.")


def _received(name: str, file: Readable) -> Received:
    """Copy a file into a Received upload."""
    copy = Received(_safe_name(name), PDF, 0, None)
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        size += len(chunk)
        if size > settings.MAX_UPLOAD_BYTES:
            copy.is_too_large = True
            break
        digest.update(chunk)
        copy.write(chunk)
    copy.seek(0)
    copy.size, copy.sha256 = size, digest.hexdigest()
    return copy


def _store(name: str, file: Received, by: AbstractBaseUser | None) -> Document:
    file.seek(0)
    if not is_pdf(file.read(CHUNK_BYTES)):
        raise Unsupported(
            f"“{name}” is not a PDF file. Save or print it as a PDF first."
        )
    file.seek(0)
    document = Document(
        name=name,
        content_type=PDF,
        size=file.size or 0,
        sha256=file.sha256,
        page_count=reader_pools.count_pages(file.temporary_file_path()),
        uploaded_by_id=by.pk if by else None,
    )
    # Unique file name: deleting a file never deletes that of another row.
    with storage_errors():
        name = f"{file.sha256[:2]}/{file.sha256}-{document.pk.hex}.pdf"
        document.file.save(name, file, save=False)
    try:
        with audit_events.changing(audit_events.ADD_DOCUMENT, document, by=by):
            document.save(force_insert=True)
    except IntegrityError:
        delete_files([document.file])  # stored concurrently
        return _existing(Document.objects.get(sha256=file.sha256), by)
    return document


def _existing(document: Document, by: AbstractBaseUser | None) -> Document:
    """Return an existing document and grant access to the person who uploaded it again.

    `already_stored` is set only if the person could see the document before: others must not
    learn that it existed.
    """
    visible = (
        Document.objects.all() if by is None else permissions.visible_documents(by)
    )
    document.already_stored = visible.filter(pk=document.pk).exists()
    if by is None or document.uploaded_by_id == by.pk:
        return document
    if not document.holders.filter(pk=by.pk).exists():
        with audit_events.changing(audit_events.ADD_DOCUMENT, document, by=by):
            document.holders.add(by.pk)
    return document


def _safe_name(name: str) -> str:
    """Return a display name without path and control characters, limited in length."""
    name = PureWindowsPath(PurePosixPath(name.replace("\x00", "")).name).name
    shown = "".join(c for c in name if unicodedata.category(c)[0] != "C").strip()
    return shown[-MAX_NAME_CHARS:] or "document.pdf"


# Permissions -------------------------------------------------------------------------


def find_document(document_id: UUID, *, by: User) -> Document:
    """Return a document that a person may see. Raises DocumentNotFound."""
    rows = permissions.visible_documents(by).select_related("uploaded_by")
    found: Document | None = rows.filter(pk=document_id).first()
    if found is None:
        raise DocumentNotFound
    return found


def can_delete_document(document: Document, *, by: User) -> bool:
    """Return whether a person may delete a document.

    It must be their own, or all workflows that used it must be operable for them. A
    document of a run they may not see is never deletable: the refusal to delete it while
    that run needs it would disclose the run.
    """
    granted = permissions.permissions_for(by)
    used = list(document.uses.values_list("workflow_name", flat=True))
    if not all(name in granted.view for name in used):
        return False
    operates = granted.operate.is_any and all(name in granted.operate for name in used)
    return operates or document.uploaded_by_id == by.pk


# Deleting ----------------------------------------------------------------------------


class FilesNotDeleted(StorageFailed):
    """The document was deleted, but some of its files could not be."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"“{name}” was deleted, but {count} of its files could not be removed from "
            "storage. `manage.py prune_media` removes them; tell an administrator."
        )


def runs_with(document: Document) -> QuerySet[Run]:
    """Return the runs that were given a document, finished or not."""
    runs = Run.objects.annotate(params_text=Cast("params", TextField()))
    return runs.filter(params_text__contains=str(document.pk))


def delete_document(
    document: Document, *, by: AbstractBaseUser | None, reason: str
) -> None:
    """Delete a document with its file and page images.

    Files are deleted after commit. Raises ReasonMissing without a reason of a person;
    InUse while an unfinished run uses the document; FilesNotDeleted if storage failed to
    delete some files.
    """
    audit_events.require_reason(reason, by=by)
    named = f"{document.name}: {reason}"
    with audit_events.changing(
        audit_events.DELETE_DOCUMENT, document, by=by, reason=named
    ):
        runs = runs_with(document).filter(status__in=ACTIVE_STATUSES)
        waiting = list(runs.order_by("id")[:MAX_NAMED])
        if waiting:
            names = ", ".join(f"{run.workflow_name} {run.short_id}" for run in waiting)
            raise InUse(
                f"“{document.name}” is needed by a run that has not ended ({names}). "
                "Cancel the run, or wait for its end."
            )
        files = [document.file, *(image.file for image in document.images.all())]
        document.delete()
        transaction.on_commit(partial(_remove, document.name, files))


def _remove(name: str, files: list[FieldFile]) -> None:
    remaining = delete_files(files)
    if remaining:
        raise FilesNotDeleted(name, remaining)
