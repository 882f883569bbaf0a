"""Files that a run makes: the checks of what an author gives to `documents.add`."""

from __future__ import annotations

import mimetypes
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from workflows.runtime.errors import Duplicate, Invalid

MAX_NAME_CHARS: Final = 200
MAX_TYPE_CHARS: Final = 100
TEXT: Final = "text/plain"
BYTES: Final = "application/octet-stream"
_TOKEN: Final = r"[A-Za-z0-9!#$&^_.+-]+"  # noqa: S105 - a token of RFC 9110
_TYPE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}(; ?{_TOKEN}={_TOKEN})*")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file as an author gives it, checked; its content is read later."""

    node: str
    name: str
    content_type: str
    content: bytes | Path  # of a path: the path of a local file

    @classmethod
    def of_values(
        cls, node: str, name: object, content: object, content_type: object
    ) -> NewFile:
        """Return the file. Raises Invalid with a sentence that names node and file."""
        known = _name(node, name)
        return cls(
            node,
            known,
            _type(node, known, content, content_type),
            _content(node, known, content),
        )

    def too_large(self, limit: int) -> Invalid:
        """Return the error for a file above the limit in bytes."""
        most = f"{limit / 1_000_000:,.6g} MB"
        return Invalid(
            f"{_about(self.node, self.name)} is larger than {most}, the limit of"
            " MAX_RUN_FILE_BYTES."
        )

    def unreadable(self, reason: object) -> Invalid:
        """Return the error for a path that cannot be read."""
        path = str(self.content if isinstance(self.content, Path) else "")
        where = f"{_about(self.node, self.name)} cannot be read from {path}"
        return Invalid(f"{where}: {reason}")

    def differs(self) -> Duplicate:
        """Return the error for a name that the same step has used for other content."""
        return Duplicate(
            f"{_about(self.node, self.name)} exists with other content: this step has made it"
            " before, perhaps in an earlier try. Make the content from the state alone, or use"
            " another name."
        )


def _about(node: str, name: str) -> str:
    return f"The file “{name}” of the node “{node}”" if node else f"The file “{name}”"


def _name(node: str, name: object) -> str:
    where = f"The node “{node}”" if node else "A node"
    if not isinstance(name, str) or not name.strip():
        raise Invalid(f"{where} made a file without a name: give it one, as a text.")
    if len(name) > MAX_NAME_CHARS:
        raise Invalid(
            f"{where} made a file whose name has {len(name)} characters; the limit is"
            f" {MAX_NAME_CHARS}."
        )
    is_plain = not any(unicodedata.category(one)[0] == "C" for one in name)
    if not is_plain or "/" in name or "\\" in name or name in {".", ".."}:
        raise Invalid(
            f"{where} made a file named {name!r}: a name is without folders and control"
            " characters."
        )
    return str.__str__(name)  # the method of `str`: a subclass may have another


def _type(node: str, name: str, content: object, given: object) -> str:
    if given is None:
        guessed, encoding = mimetypes.guess_type(name)
        if guessed is not None and encoding is None:
            return guessed
        return TEXT if isinstance(content, str) and encoding is None else BYTES
    if (
        not isinstance(given, str)
        or len(given) > MAX_TYPE_CHARS
        or not _TYPE.fullmatch(given)
    ):
        raise Invalid(
            f"{_about(node, name)} has the content type {given!r}, which is none: use one"
            " such as “text/csv”, or leave it out."
        )
    return str.__str__(given)


def _content(node: str, name: str, content: object) -> bytes | Path:
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(memoryview(content))
    if isinstance(content, os.PathLike):
        return Path(content)
    if not isinstance(content, str):
        kind = type(content).__name__
        raise Invalid(
            f"{_about(node, name)} is a {kind}: give bytes, a text, or a Path to a local file."
        )
    try:
        return str.encode(content)
    except UnicodeEncodeError as error:
        raise Invalid(f"{_about(node, name)} is no valid text: {error}.") from error
