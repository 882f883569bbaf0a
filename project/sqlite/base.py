"""Django's SQLite backend, with a lock that orders the writers of one process.

SQLite has one writer at a time, and a second one polls for the lock with increasing
sleeps of up to 0.1 s, during which the lock may be free several times. A
process that serves pages and runs workflows would spend its time asleep. The threads
queue for a lock of the process before they request the lock of the file, which is then
free unless another process has it.
"""

from __future__ import annotations

import threading
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError

_turn = threading.Lock()


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that waits for its turn before a transaction begins."""

    _has_turn = False

    def _start_transaction_under_autocommit(self) -> None:
        """Begin a transaction. Raises OperationalError when the turn does not come in time."""
        seconds = self.settings_dict["OPTIONS"].get("timeout", 5)
        if not _turn.acquire(timeout=seconds):
            raise OperationalError(
                f"database is locked: another thread has been writing for {seconds} s"
            )
        self._has_turn = True
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._pass_on()
            raise

    def _commit(self) -> Any:
        try:
            return super()._commit()  # type: ignore[misc] # not in the stubs
        finally:
            self._release_turn()

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self._release_turn()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]
        finally:
            self._pass_on()

    def _release_turn(self) -> None:
        """Let the next thread write, unless a refused commit left the transaction open."""
        if self.connection is None or not self.connection.in_transaction:
            self._pass_on()

    def _pass_on(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _turn.release()
