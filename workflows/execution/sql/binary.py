"""Statements sent by libpq itself, with binary parameters, on Django's connections.

For statements that are executed for each step or launch: preparing a call costs psycopg's
cursors several times as much CPU as encoding its values and waiting for the server. Results
are loaded by psycopg, with Django's adapters, and errors are those of psycopg.

Outside of a transaction a call is one round trip and one transaction. The statement is
prepared once per connection. It is executed without, like those of psycopg, where a pooler
may route it to another session, and in a transaction: psycopg deallocates all statements
of a connection after a rollback, and a statement that is missing would abort the
transaction, while otherwise it is prepared again.

Planner settings are local to a call. A plan is made at the first calls and whenever
statistics change, and kept; so the settings have to apply to every call.
"""

from __future__ import annotations

import functools
import re
import select
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import DiagnosticField, ExecStatus, Format, TransactionStatus

from workflows.execution.sql.encoders import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from psycopg.pq.abc import PGconn, PGresult

MAX_PREPARED: Final = (
    64  # statements per connection; the least recently used are dropped
)
# The server does not have the statement any more, or its result changed with a migration.
_STALE_STATES: Final = {"26000", "0A000"}
_IDLE: Final = TransactionStatus.IDLE
_PARAMETER: Final = re.compile(rf"\$(\d+)(?:::({'|'.join(KINDS)})(\[\])?)?")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as libpq takes it, with an encoder per parameter."""

    text: bytes
    oids: tuple[int, ...] = ()
    encoders: tuple[Callable[[Any], bytes], ...] = ()

    def encode(self, values: Sequence[Any]) -> list[bytes | None]:
        """Return the parameters. Raises psycopg's DataError for a number out of range."""
        try:
            return [
                None if value is None else encode(value)
                for encode, value in zip(self.encoders, values, strict=True)
            ]
        except (struct.error, OverflowError) as error:
            raise errors.NumericValueOutOfRange(
                f"A number is out of the range of its column: {error}."
            ) from error


@functools.lru_cache(maxsize=512)
def parse(text: str) -> Statement:
    """Return a statement whose parameters have casts: `$1::uuid`, `$2::text[]`.

    Each parameter has the type that it is cast to where it occurs first. Raises ValueError
    if that is none of `KINDS`.
    """
    types: dict[int, tuple[int, Callable[[Any], bytes]]] = {}
    for number, name, array in _PARAMETER.findall(text):
        if int(number) in types:
            continue
        if not name:
            raise ValueError(f"Parameter ${number} is not cast to a known type: {text}")
        kind = KINDS[name]
        types[int(number)] = (
            (kind.array_oid, kind.encode_array) if array else (kind.oid, kind.encode)
        )
    ordered = [types[number] for number in range(1, len(types) + 1)]
    oids, encoders = zip(*ordered, strict=True) if ordered else ((), ())
    return Statement(text.encode(), oids, encoders)


def execute(  # noqa: PLR0913 - options of a statement, all by name
    connection: BaseDatabaseWrapper,
    text: str,
    values: Sequence[Any],
    *,
    disabled: tuple[str, ...] = (),
    before: str = "",
    results: Format = Format.BINARY,
) -> list[tuple[Any, ...]]:
    """Execute a statement; return its rows.

    `disabled` are settings of the planner to switch off for this statement, such as
    enable_seqscan. `before` is the call of a function that is evaluated with them, before the
    statement gets its snapshot, such as one that takes a lock. Raises Django's database
    errors, caused by psycopg's.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        raw = connection.connection
        if raw.closed:  # libpq's answer would be that of exhausted memory
            raise psycopg.OperationalError("The connection to the database is closed.")
        statement = parse(text)
        command = _Command(statement, statement.encode(values))
        session = _sessions.get(raw)
        if session is None:
            _sessions[raw] = session = _Session(raw.pgconn)
        result = session.execute(raw, command, disabled, before, results)
        transformer = Transformer(raw)
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, tuple)


@dataclass(slots=True, eq=False)
class _Command:
    statement: Statement
    parameters: list[bytes | None] | None = None
    name: bytes = b""  # of the prepared statement; none: the text is sent

    def send(self, pgconn: PGconn, results: Format) -> None:
        statement = self.statement
        formats = (Format.BINARY,) * len(statement.oids)
        if self.name:
            pgconn.send_query_prepared(self.name, self.parameters, formats, results)
        else:
            pgconn.send_query_params(
                statement.text, self.parameters, statement.oids, formats, results
            )


class _Session:
    """What the server has prepared on one connection."""

    def __init__(self, pgconn: PGconn) -> None:
        self._pgconn = pgconn
        self._names: OrderedDict[bytes, bytes] = OrderedDict()  # by text
        self._count = 0
        self._socket = select.poll()
        self._socket.register(pgconn.socket, select.POLLIN)

    def execute(
        self,
        raw: psycopg.Connection[Any],
        command: _Command,
        disabled: tuple[str, ...],
        before: str,
        results: Format,
    ) -> PGresult:
        """Execute a command with these settings switched off; return its result."""
        if not raw.autocommit and self._pgconn.transaction_status == _IDLE:
            raw.execute("")  # psycopg begins the transaction
        is_in_transaction = self._pgconn.transaction_status != _IDLE
        commands = [command]
        if disabled:
            commands.insert(0, _Command(_switch_off(disabled, before)))
            if is_in_transaction:
                commands.insert(0, _Command(_save(disabled)))
                commands.append(_Command(_restore(disabled)))
        if is_in_transaction or raw.prepare_threshold is None:
            received = self._send(commands, results)
        else:
            received = self._send_prepared(commands, results)
        return received[commands.index(command)]

    def _send_prepared(
        self, commands: Sequence[_Command], results: Format
    ) -> list[PGresult]:
        try:
            self._prepare(commands)
            return self._send(commands, results)
        except psycopg.Error as error:
            if error.sqlstate not in _STALE_STATES:
                raise
            self._names.clear()
            self._prepare(commands)
            return self._send(commands, results)

    def _prepare(self, commands: Sequence[_Command]) -> None:
        """Name the commands' statements; prepare those that are not yet."""
        for command in commands:
            statement = command.statement
            if statement.text in self._names:
                self._names.move_to_end(statement.text)
            else:
                if len(self._names) == MAX_PREPARED:
                    _, oldest = self._names.popitem(last=False)
                    _check(self._pgconn.exec_(b"DEALLOCATE " + oldest))
                self._count += 1
                name = f"signalbox_{self._count}".encode()
                _check(self._pgconn.prepare(name, statement.text, statement.oids))
                self._names[statement.text] = name
            command.name = self._names[statement.text]

    def _send(self, commands: Sequence[_Command], results: Format) -> list[PGresult]:
        """Send commands in one round trip; return their results.

        Outside of a transaction they are one, which has been committed when this returns.
        A connection that was interrupted is closed: results are still to come.
        """
        pgconn = self._pgconn
        try:
            pgconn.enter_pipeline_mode()
            for command in commands:
                command.send(pgconn, results)
            pgconn.pipeline_sync()
            self._flush()
            received = self._receive()
            pgconn.exit_pipeline_mode()
        except BaseException:
            pgconn.finish()
            raise
        for result in received:
            _check(result)
        return received

    def _flush(self) -> None:
        """Send what is buffered; read meanwhile, as the server may wait for that."""
        pgconn = self._pgconn
        if not pgconn.flush():
            return
        socket = select.poll()
        socket.register(pgconn.socket, select.POLLIN | select.POLLOUT)
        while pgconn.flush():
            ((_, events),) = socket.poll()
            if events & ~select.POLLOUT:
                pgconn.consume_input()

    def _receive(self) -> list[PGresult]:
        """Return a result per command, and one more if the commit failed."""
        received: list[PGresult] = []
        try:
            while (result := self._next_result()).status != ExecStatus.PIPELINE_SYNC:
                received.append(result)
        except psycopg.OperationalError:
            for result in received:  # the server's reason to close the connection
                _check(result)
            raise
        return received

    def _next_result(self) -> PGresult:
        """Wait for a result. Raises psycopg's OperationalError if the connection is lost."""
        pgconn = self._pgconn
        for _ in range(2):  # None stands between the results of two commands
            while pgconn.is_busy():
                self._socket.poll()
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is not None:
                return result
        raise psycopg.OperationalError("The connection to the database is lost.")


def _check(result: PGresult) -> None:
    """Raise psycopg's error for a command that failed."""
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return
    if not result.error_field(DiagnosticField.SQLSTATE):  # the error is libpq's
        raise psycopg.OperationalError(result.get_error_message())
    raise errors.error_from_result(result)


@functools.cache
def _save(settings: tuple[str, ...]) -> Statement:
    return _configure(
        (f"signalbox.{name}", f"current_setting('{name}')") for name in settings
    )


@functools.cache
def _switch_off(settings: tuple[str, ...], call: str = "") -> Statement:
    return _configure(((name, "'off'") for name in settings), call)


@functools.cache
def _restore(settings: tuple[str, ...]) -> Statement:
    return _configure(
        (name, f"current_setting('signalbox.{name}')") for name in settings
    )


def _configure(values: Iterable[tuple[str, str]], call: str = "") -> Statement:
    """Return a statement that changes settings until the end of the transaction.

    It evaluates `call` as well, unless that is empty.
    """
    changes = [f"set_config('{name}', {value}, true)" for name, value in values]
    if call:
        changes.append(call)
    return Statement(f"SELECT {', '.join(changes)}".encode())


_sessions: WeakKeyDictionary[psycopg.Connection[Any], _Session] = WeakKeyDictionary()
