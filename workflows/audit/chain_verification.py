"""Verify one chain from its start to its head."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from workflows.audit import seals

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Sequence
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Finding:
    """A deviation of the history from what was recorded."""

    run_id: UUID | None
    kind: str  # stage, decision, audit event; run; history
    what: str  # changed, missing, added, …: a sentence
    id: int | None = None  # of the row, if it exists
    sequence: int | None = None  # of its step

    def __str__(self) -> str:
        """Return the location and the message."""
        run = f"run {self.run_id}: " if self.run_id else ""
        row = f" {self.id}" if self.id is not None else ""
        step = f" of step {self.sequence}" if self.sequence is not None else ""
        return f"{run}{self.kind}{row}{step}: {self.what}"


@dataclass(frozen=True, slots=True)
class Link:
    """A row as a link of a chain."""

    kind: str
    id: int
    sequence: int | None
    seal: bytes | None
    created_at: dt.datetime
    fields: Sequence[Any]
    others: Callable[[], Iterator[Sequence[Any]]] | None = (
        None  # other fields that may have been sealed
    )
    note: str = ""  # further fault of the row
    is_open: bool = False  # in progress: sealed when it ends
    is_pruned: bool = False  # values deleted by retention; the digest is sealed
    action: str = ""  # of an audit event
    attempt: int = 0  # of a stage
    branch: str | None = None  # of which a stage is a step
    steps_before: int = (
        0  # of the branches that a stage joins, or items of a parallel one
    )

    @property
    def name(self) -> str:
        """Return the row as text for messages."""
        step = f" of step {self.sequence}" if self.sequence is not None else ""
        return f"{self.kind} {self.id}{step}"


@dataclass(frozen=True, slots=True)
class Chain:
    """Kind of the rows of a chain."""

    start: bytes  # head of the empty chain
    one: str  # name of one row
    all: str


def steps_of(run_id: UUID) -> Chain:
    """Return the chain of a run's stages and decisions."""
    start = seals.start(seals.steps_of(run_id))
    return Chain(start, "stage or decision", "stages and decisions")


def audit_chain_of(run_id: UUID | None) -> Chain:
    """Return the chain of audit events of a run, or of those without one."""
    start = seals.start(seals.audit_chain_of(run_id))
    return Chain(start, "audit event", "audit events")


class ChainWalker:
    """Verifies the sealed rows of one chain, in order."""

    def __init__(
        self, run_id: UUID | None, chain: Chain, keys: Sequence[bytes]
    ) -> None:
        """Start at the empty chain; `keys` are the keys that may have sealed it."""
        self._run_id = run_id
        self._chain = chain
        self._keys = list(keys)
        self._head = chain.start
        self._last = ""  # the row before
        self._is_sound = True  # no finding so far explains a different head
        self.length = 0

    def step(self, link: Link) -> Iterator[Finding]:
        """Verify the next row, in the order of seals."""
        sealed = link.seal or b""
        position = seals.position_of(sealed)
        is_good = len(sealed) == seals.SEAL_BYTES and self._fits(link)
        self._is_sound &= is_good
        if not is_good:
            yield _about(
                self._run_id, link, "it, or its position, is not what was recorded"
            )
            if position != self.length + 1:
                return  # the position is not to be believed either
        elif link.note:
            yield _about(self._run_id, link, link.note)
        if position <= self.length:
            self._is_sound = False
            yield _about(
                self._run_id, link, f"added: position {position} is another row's"
            )
            return
        yield from self._missing(position)
        self.length, self._last = position, link.name
        self._head = seals.follow(self._keys[0], self._head, sealed)

    @property
    def head(self) -> bytes:
        """The head of the chain after the last row."""
        return self._head

    def end(self, stored: bytes | None, *, is_needed: bool) -> Iterator[Finding]:
        """Compare with the stored head, which must exist if `is_needed` or rows exist."""
        if stored is None:
            if self.length or is_needed:
                yield self._about_head("is missing")
            return
        count = seals.position_of(stored)
        if len(stored) != seals.SEAL_BYTES:
            yield self._about_head("was changed")
        elif count > self.length:
            yield from self._missing(count + 1)
        elif count < self.length:
            counts = f"covers {count} rows, but {self.length} exist"
            yield self._about_head(f"{counts}: it was reset, or rows were added")
        elif self._is_sound and not compare_digest(stored, self._head):
            yield self._about_head("was changed")

    def _missing(self, position: int) -> Iterator[Finding]:
        """Report which positions before this one are empty."""
        first, number = self.length + 1, position - 1 - self.length
        if number < 1:
            return
        self._is_sound = False
        where = f"after {self._last}" if self._last else "at the beginning"
        what = f"missing: the row at position {first}, {where}"
        if number > 1:
            what = (
                f"missing: {number} rows, positions {first} to {position - 1}, {where}"
            )
        yield Finding(self._run_id, self._chain.one, what)

    def _about_head(self, what: str) -> Finding:
        kind = "run" if self._run_id else "history"
        text = f"the head of the chain of its {self._chain.all} {what}"
        return Finding(self._run_id, kind, text)

    def _fits(self, link: Link) -> bool:
        """Return whether a seal is valid; its key is tried first from now on."""
        for fields in _versions(link):
            for key in self._keys:
                if seals.fits(key, link.seal or b"", fields):
                    self._keys.remove(key)
                    self._keys.insert(0, key)
                    return True
        return False


def fits(link: Link, keys: Sequence[bytes]) -> bool:
    """Return whether the seal of a row is valid by one of the keys."""
    return any(
        seals.fits(key, link.seal or b"", fields)
        for fields in _versions(link)
        for key in keys
    )


def _versions(link: Link) -> Iterator[Sequence[Any]]:
    yield link.fields
    if link.others is not None:
        yield from link.others()


def _about(run_id: UUID | None, link: Link, what: str) -> Finding:
    return Finding(run_id, link.kind, what, link.id, link.sequence)
