"""The library of documents: what is stored, under which name, and what is refused.

A file is stored once, however often it is uploaded: its SHA-256 is its identity.
Nothing is half-written: the row is made when the file is whole, and a file whose row
lost a race is removed again.
"""

from __future__ import annotations

import hashlib
import tempfile
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING

from django.conf import settings
from django.core.files import File
from django.db import IntegrityError, transaction

from workflows.models import Document
from workflows.runtime import readers
from workflows.runtime.errors import Invalid, Unsupported
from workflows.runtime.pdf import is_pdf
from workflows.runtime.pdf.errors import EmptyFile

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

CHUNK_BYTES = 1 << 20
MAX_NAME_CHARS = 200
PDF = "application/pdf"


class TooLarge(Invalid):
    """The file is larger than is accepted."""

    code = "too_large"


def store_document(
    name: str, file: IO[bytes], *, by: AbstractBaseUser | None = None
) -> Document:
    """Return the document of this file's content, storing it if it is new.

    1. Copy the file aside while counting and hashing it: too much stops the copy.
    2. Look at the bytes, not at the name: only a PDF that opens is taken.
    3. Store the file and its row; known content gives the row that is there, with
       `already_stored` set on it.

    Raises EmptyFile, TooLarge, Unsupported, PdfError: each a sentence for a person.
    """
    with tempfile.NamedTemporaryFile(suffix=".upload") as copy:
        sha256, size = _copy(file, copy)
        known = Document.objects.filter(sha256=sha256).first()
        if known is not None:
            known.already_stored = True
            return known
        return _store(_safe_name(name), Path(copy.name), sha256, size, by)


def _copy(file: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Copy a file in chunks; return its hash and its size in bytes."""
    digest, size = hashlib.sha256(), 0
    while chunk := file.read(CHUNK_BYTES):
        size += len(chunk)
        if size > settings.MAX_UPLOAD_BYTES:
            limit = f"{settings.MAX_UPLOAD_BYTES / 1_000_000:,.0f} MB"
            raise TooLarge(f"The file is larger than {limit}, the most we accept.")
        digest.update(chunk)
        target.write(chunk)
    target.flush()
    if not size:
        raise EmptyFile(EmptyFile.__doc__)
    return digest.hexdigest(), size


def _store(
    name: str, path: Path, sha256: str, size: int, by: AbstractBaseUser | None
) -> Document:
    with path.open("rb") as beginning:
        if not is_pdf(beginning.read(CHUNK_BYTES)):
            raise Unsupported(
                f"“{name}” is not a PDF, whatever its name says. Save or print it as a"
                " PDF first."
            )
    document = Document(
        name=name,
        content_type=PDF,
        size=size,
        sha256=sha256,
        page_count=readers.count_pages(str(path)),
        uploaded_by_id=by.pk if by else None,
    )
    with path.open("rb") as whole:
        document.file.save(f"{sha256[:2]}/{sha256}.pdf", File(whole), save=False)
    try:
        with transaction.atomic():
            document.save(force_insert=True)
    except IntegrityError:
        document.file.delete(save=False)  # someone stored the same content meanwhile
        document = Document.objects.get(sha256=sha256)
        document.already_stored = True
    return document


def _safe_name(name: str) -> str:
    """Return a name to show: no path, no control characters, not too long."""
    name = PureWindowsPath(PurePosixPath(name.replace("\x00", "")).name).name
    shown = "".join(c for c in name if unicodedata.category(c)[0] != "C").strip()
    return shown[-MAX_NAME_CHARS:] or "document.pdf"
