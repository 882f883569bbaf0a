"""Variables and secrets for the nodes of a run.

A process reads all of them at most every MAX_AGE_SECONDS, when it begins an attempt, so that
a run costs no query. An attempt keeps the values that it began with. A secret is decrypted
when a node reads it, and masked from then on in everything that the run records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.fernet import InvalidToken

from workflows.infra.database_threads import run_in_db_retrying
from workflows.infra.encryption import decrypt, encrypt
from workflows.models import Variable
from workflows.runtime import NotDefined, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_AGE_SECONDS: Final = 5.0
VALUE: Final = "value"  # its name in the encrypted token


@dataclass(frozen=True, slots=True)
class _Stored:
    """All rows, and when they were read on the monotonic clock."""

    rows: Sequence[Variable]
    read_at: float


class _Cache:
    """The rows that this process has read last. Thread-safe."""

    def __init__(self) -> None:
        self._stored: _Stored | None = None
        self._version = 0  # of `forget`: rows that were read before are not kept
        self._lock = threading.Lock()

    def fresh(self) -> Sequence[Variable] | None:
        """Return the rows, or None if they have to be read."""
        stored = self._stored
        if stored is None or time.monotonic() - stored.read_at > MAX_AGE_SECONDS:
            return None
        return stored.rows

    def read(self) -> Sequence[Variable]:
        """Read and keep all rows."""
        version, now = self._version, time.monotonic()
        rows = list(Variable.objects.all())
        with self._lock:
            if version == self._version:
                self._stored = _Stored(rows, now)
        return rows

    def forget(self) -> None:
        """Read the rows again at the next attempt."""
        with self._lock:
            self._version += 1
            self._stored = None


_cache = _Cache()
forget = _cache.forget


@dataclass(frozen=True, slots=True)
class RunVariables:
    """The variables and secrets that one run may read."""

    variables: Mapping[str, str]
    secrets: Mapping[str, str]


NO_VARIABLES: Final = RunVariables({}, {})


async def variables_of(workflow: str, mask: Callable[[str], None]) -> RunVariables:
    """Return what runs of a workflow may read; `mask` is called with each secret read."""
    rows = _cache.fresh()
    if rows is None:
        rows = await run_in_db_retrying(_cache.read)
    return build(rows, workflow, mask)


def build(
    rows: Sequence[Variable], workflow: str, mask: Callable[[str], None]
) -> RunVariables:
    """Return the values of rows that a workflow may read."""
    allowed = [row for row in rows if row.is_readable_by(workflow)]
    plain = {row.name: row.value for row in allowed if not row.is_secret}
    tokens = {row.name: bytes(row.secret or b"") for row in allowed if row.is_secret}
    return RunVariables(
        _Named("variable", workflow, plain), _Secrets("secret", workflow, tokens, mask)
    )


def encrypted(secret: str) -> bytes:
    """Return a secret as it is stored."""
    return encrypt({VALUE: secret})


class _Named(Mapping[str, str]):
    """Values by name, of which neither a text nor a pickle shows any."""

    def __init__(
        self, kind: str, workflow: str, stored: Mapping[str, str | bytes]
    ) -> None:
        self._kind = kind
        self._workflow = workflow
        self._stored = stored

    def _find(self, name: str) -> str | bytes:
        if name not in self._stored:
            raise NotDefined(
                f"There is no {self._kind} “{name}” that {self._workflow} may read: an"
                " administrator adds it, or adds the workflow to it, under Variables."
            )
        return self._stored[name]

    def __getitem__(self, name: str) -> str:
        return str(self._find(name))

    def __contains__(self, name: object) -> bool:
        return name in self._stored  # a secret is not read by that

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __repr__(self) -> str:
        return (
            f"<{self._kind}s of {self._workflow}: {', '.join(self._stored) or 'none'}>"
        )


class _Secrets(_Named):
    """Secrets, decrypted and masked when they are read."""

    def __init__(
        self,
        kind: str,
        workflow: str,
        stored: Mapping[str, bytes],
        mask: Callable[[str], None],
    ) -> None:
        super().__init__(kind, workflow, stored)
        self._mask = mask

    def __getitem__(self, name: str) -> str:
        token = self._find(name)
        try:
            value = decrypt(token if isinstance(token, bytes) else None)[VALUE]
        except (InvalidToken, KeyError) as error:
            raise Unavailable(
                f"The secret “{name}” cannot be decrypted: it was stored with another"
                " SECRET_KEY. Enter it again under Variables."
            ) from error
        self._mask(value)
        return value
