"""The failure of a step, as the nodes on its failure route read it.

A failure is stored with the state, so that a run that is resumed on a failure route reads the
same. The classes of its errors are therefore kept by name, and matched by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from .errors import CheckpointMismatch, DeadlinePassed, causes, class_name, describe

ErrorClass: TypeAlias = type[BaseException]

MAX_KINDS = 200  # classes of an error and of its causes
MAX_CHARS = 10_000  # of a message
MAX_SHOWN_CHARS = 500  # of a message within the reason of a decision

# of a class, whatever an author's metaclass says
_MRO: Any = type.__dict__["__mro__"]
_MODULE: Any = type.__dict__["__module__"]
_QUALNAME: Any = type.__dict__["__qualname__"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed, after its last try."""

    node: str
    type: str  # the class of the error
    message: str
    tries: int
    when: datetime
    kinds: tuple[str, ...] = ()  # all classes of the error and of its causes, qualified
    chosen: str = ""  # how the run continues, by a person who was asked

    @classmethod
    def of(cls, error: BaseException, node: str, tries: int, when: datetime) -> Failure:
        """Return the failure of a node with this error. Runs no code of the error's class."""
        kinds = tuple(dict.fromkeys(_kinds(error)))[:MAX_KINDS]
        name = _storable(class_name(error))
        return cls(node, name, _storable(describe(error)), tries, when, kinds)

    def is_any(self, kinds: tuple[ErrorClass, ...]) -> bool:
        """Return whether the error, or one of its causes, is of one of these classes."""
        return any(kind_name(kind) in self.kinds for kind in kinds)

    @property
    def is_deadline(self) -> bool:
        """Whether the deadline of the run ended the step."""
        return kind_name(DeadlinePassed) in self.kinds

    @property
    def text(self) -> str:
        """The failure in words."""
        tries = f" after {self.tries} attempts" if self.tries > 1 else ""
        message = _shortened(self.message, MAX_SHOWN_CHARS)
        return f"“{self.node}” failed with {self.type}{tries}: {message}"

    def to_json(self) -> dict[str, Any]:
        """Return the failure as JSON, to store with a state."""
        chosen = {"chosen": self.chosen} if self.chosen else {}
        return {**self.shown(), "kinds": list(self.kinds), **chosen}

    def shown(self) -> dict[str, Any]:
        """Return what people read of the failure, as JSON."""
        return {
            "node": self.node,
            "type": self.type,
            "message": self.message,
            "tries": self.tries,
            "when": self.when.isoformat(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Failure | None:
        """Return the failure from the output of `to_json`. Raises CheckpointMismatch."""
        if value is None:
            return None
        try:
            return cls(
                node=str(value["node"]),
                type=str(value["type"]),
                message=str(value["message"]),
                tries=int(value["tries"]),
                when=datetime.fromisoformat(value["when"]),
                kinds=tuple(map(str, value["kinds"])),
                chosen=str(value.get("chosen", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointMismatch(
                f"The stored failure of a step cannot be read: {error}."
            ) from error


def kind_name(kind: ErrorClass) -> str:
    """Return the qualified name of a class."""
    module = _MODULE.__get__(kind)
    name: str = _QUALNAME.__get__(kind)
    return _storable(f"{module}.{name}" if isinstance(module, str) else name)


def _storable(text: str) -> str:
    """Return a text without NUL and lone surrogates, which databases refuse, cut to MAX_CHARS."""
    text = _shortened(text, MAX_CHARS)
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _kinds(error: BaseException) -> Iterator[str]:
    for each in (error, *causes(error)):
        for kind in _MRO.__get__(type(each)):
            if kind is not object:
                yield kind_name(kind)
