"""What a driver does: insert a run, claim pending ones, renew leases, write records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.execution.sql.claim_statements import CLAIMED_FIELDS, RUNS
from workflows.models import Run
from workflows.models.new_rows import stored_row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from uuid import UUID

    from django.db.backends.base.base import BaseDatabaseWrapper

    from workflows.execution.record_rows import Rows
    from workflows.execution.sql.launches import NewRun, Offer

    Renewed = tuple[UUID, int, dt.datetime | None, str]


@dataclass(slots=True)
class Claimed:
    """What a claim took, and what it saw and left."""

    runs: list[Run]
    has_more: (
        bool  # further runs of that suspicion were pending, perhaps locked by rivals
    )
    has_suspects: bool  # suspects were pending; they are claimed separately
    # Unix time from which a run with limits may be claimed; None if there is none
    limits_due_at: float | None = None


class Driver(ABC):
    """The named statements, on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Any]:
        """Return the transaction in which `write_records` has to be called."""

    @abstractmethod
    def insert_runs(
        self, launches: Sequence[NewRun], offer: Offer | None = None
    ) -> dict[UUID, str]:
        """Insert runs and the audit events of their launches; return status by run.

        Missing from the result, and not inserted, is a run whose workflow has a run of its
        idempotency key already. Where the offer has room for all pending runs as well, the
        runs are inserted as running, claimed by its worker, each with an attempt.
        """

    @abstractmethod
    def claim_pending(  # noqa: PLR0913, PLR0917 - as one statement
        self,
        worker: str,
        limit: int,
        now: dt.datetime,
        fence: int,
        suspicion: int = 0,
        admitted: Sequence[UUID] = (),
    ) -> Claimed:
        """Move pending runs of this suspicion to this worker and open an attempt of each.

        Of those with limits, only `admitted` ones; then it is called in a transaction that
        has called `lock_limits`.

        `fence` is a random number that no other claim has. The runs have their new values,
        without the columns of UNREAD.
        """

    @abstractmethod
    def wait_for_claims(self) -> None:
        """Return when all claims that may not see a change of this transaction are committed.

        Claims that begin later wait for its commit. Call it last in a transaction that
        pauses a workflow.
        """

    @abstractmethod
    def lock_limits(self) -> None:
        """Exclude other claims of runs with limits, and pauses, until the commit."""

    @abstractmethod
    def lock_limit_key(self, key: str) -> None:
        """Exclude other launches of a key of a workflow with limits until the commit."""

    @abstractmethod
    def renew_leases(self, worker: str, fences: Mapping[UUID, int]) -> list[Renewed]:
        """Extend the leases of these runs as far as this worker still holds them.

        `fences` has the number of the last record known to be committed, by run. A row
        that is behind it is from an older copy of the database, and left as it is.
        Returns id, attempt, and time and reason of a requested cancel, of those.
        """

    @abstractmethod
    def write_records(self, rows: Rows) -> dict[UUID, int]:
        """Write a batch; return the new version of each run that this worker still holds.

        This is the fence: a run that is missing from the result has another owner,
        another attempt, has ended, or is not where its last record left it, because the
        database was put back to an older copy. None of its rows was written.

        A batch has one record per run. Every insert is an upsert: a batch whose COMMIT was
        lost on the way can be sent again and changes nothing that is already there.
        """

    def _to_runs(self, rows: Sequence[Sequence[Any]]) -> list[Run]:
        """Return rows of `CLAIMED_COLUMNS` as the ORM would."""
        alias = self.connection.alias
        return [
            stored_row(Run, dict(zip(CLAIMED_FIELDS, values, strict=True)), alias)
            for values in self._converted([*CLAIMED_FIELDS], rows)
        ]

    def _converted(
        self, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Iterable[Sequence[Any]]:
        """Return rows of these columns of runs with the values the ORM would give."""
        compiler = Run.objects.all().query.get_compiler(connection=self.connection)
        columns = [CLAIMED_FIELDS[name].get_col(RUNS.name) for name in names]
        converted: Iterable[Sequence[Any]] = compiler.apply_converters(
            rows, compiler.get_converters(columns)
        )
        return converted
