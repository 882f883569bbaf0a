"""Statements that libpq sends itself behave like those of Django's cursors."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DataError, IntegrityError, OperationalError
from psycopg.pq import TransactionStatus

from tests.support.statements import connect, query
from workflows.execution.sql import binary
from workflows.infra import outages

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

pytestmark = pytest.mark.django_db

VALUES: dict[str, list[Any]] = {
    "bigint": [0, -(2**63), 2**63 - 1],
    "boolean": [True, False],
    "bytea": [b"", b"\x00\xff" * 70_000],
    "double precision": [0.1, -0.0, 5e-324, float("inf")],
    "integer": [0, -(2**31), 2**31 - 1],
    "jsonb": ['{"a": [1, "é", null]}'],
    "smallint": [0, -(2**15), 2**15 - 1],
    "text": ["", "NULL", "{}", '"\\', "é 漢 🙂", "long " * 1_000_000],
    "timestamptz": [
        dt.datetime(1, 1, 2, tzinfo=dt.UTC),
        dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, dt.UTC),
        dt.datetime(9999, 12, 30, tzinfo=dt.UTC),
    ],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)],
}
INSERT = "INSERT INTO parts VALUES ($1::bigint, $2::bigint) RETURNING id"
SEQSCAN = ("enable_seqscan",)


@pytest.fixture
def database(postgres_url: str) -> Iterator[BaseDatabaseWrapper]:
    """Provide a database with a table whose foreign key is checked at the commit."""
    connection = connect(postgres_url)
    query(
        connection,
        "CREATE TABLE parts (id bigint PRIMARY KEY,"
        " whole bigint REFERENCES parts DEFERRABLE INITIALLY DEFERRED)",
    )
    yield connection
    connection.close()


def parts(database: BaseDatabaseWrapper) -> list[int]:
    return [pk for (pk,) in query(database, "SELECT id FROM parts ORDER BY id")]


def prepared(database: BaseDatabaseWrapper) -> list[str]:
    """Return the statements that the server keeps for `binary`."""
    rows = query(
        database,
        "SELECT statement FROM pg_prepared_statements WHERE name LIKE 'signalbox%%'"
        " ORDER BY prepare_time",
        [],
    )
    return [text for (text,) in rows]


def state_of(error: BaseException) -> str | None:
    """Return the SQLSTATE of Django's error."""
    state = getattr(error.__cause__, "sqlstate", None)
    return None if state is None else str(state)


def test_every_kind_of_value_arrives(database: BaseDatabaseWrapper) -> None:
    for kind, values in VALUES.items():
        one, null = f"SELECT $1::{kind}", f"SELECT $1::{kind} IS NULL"
        for value in values:
            assert binary.execute(database, one, [value]) == [(_loaded(kind, value),)]
        assert binary.execute(database, null, [None]) == [(True,)]


def test_every_kind_of_array_arrives(database: BaseDatabaseWrapper) -> None:
    for kind, values in VALUES.items():
        rows = f"SELECT unnest($1::{kind}[])"
        for array in (
            [],
            [None],
            [None, None],
            values,
            [*values, None],
            values[:1] * 9,
        ):
            found = binary.execute(database, rows, [array])
            assert found == [(_loaded(kind, value),) for value in array]


def _loaded(kind: str, value: Any) -> Any:
    """Return a value as psycopg loads it: JSON is parsed."""
    return json.loads(value) if kind == "jsonb" and value is not None else value


def test_a_parameter_needs_a_cast_to_a_known_type() -> None:
    with pytest.raises(ValueError, match=r"Parameter \$2 is not cast to a known type"):
        binary.parse("SELECT $1::text, $2::interval")


@pytest.mark.parametrize("is_atomic", [False, True])
@pytest.mark.parametrize(
    ("kind", "value", "state"),
    [
        ("integer", 2**31, "22003"),
        ("smallint", 2**15, "22003"),
        ("bigint", 2**63, "22003"),
        ("double precision", 10**400, "22003"),
        ("text", "a\x00", "22021"),
        ("jsonb", "{", "22P02"),
        ("jsonb", r'"\u0000"', "22P05"),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused(
    database: BaseDatabaseWrapper, kind: str, value: Any, state: str, *, is_atomic: bool
) -> None:
    database.set_autocommit(not is_atomic)
    for text, values in ((f"$1::{kind}", value), (f"$1::{kind}[]", [None, value])):
        with pytest.raises(DataError) as caught:
            binary.execute(database, f"SELECT {text}", [values])
        assert state_of(caught.value) == state
        if is_atomic:
            database.rollback()
        assert binary.execute(database, "SELECT $1::text", ["next"]) == [("next",)]


def test_text_that_is_no_unicode_is_refused(database: BaseDatabaseWrapper) -> None:
    with pytest.raises(UnicodeEncodeError):
        binary.execute(database, "SELECT $1::text", ["\ud800"])
    assert binary.execute(database, "SELECT $1::text", ["next"]) == [("next",)]


def test_an_error_of_the_commit_is_raised(database: BaseDatabaseWrapper) -> None:
    with pytest.raises(IntegrityError) as caught:
        binary.execute(database, INSERT, [1, 7], disabled=SEQSCAN)
    assert state_of(caught.value) == "23503"
    assert parts(database) == []
    assert binary.execute(database, INSERT, [1, 1]) == [(1,)]
    assert parts(database) == [1]


def test_a_statement_belongs_to_the_transaction_around_it(
    database: BaseDatabaseWrapper,
) -> None:
    database.set_autocommit(False)
    binary.execute(database, INSERT, [1, None], disabled=SEQSCAN)
    assert parts(database) == [1]
    database.rollback()
    assert parts(database) == []
    binary.execute(database, INSERT, [2, None], disabled=SEQSCAN)
    database.commit()
    database.set_autocommit(True)
    assert parts(database) == [2]


@pytest.mark.parametrize("is_atomic", [False, True])
def test_settings_of_the_planner_apply_to_one_statement(
    database: BaseDatabaseWrapper, *, is_atomic: bool
) -> None:
    show = "SELECT current_setting($1::text)"
    query(database, "SET enable_hashjoin = off")
    database.set_autocommit(not is_atomic)
    disabled = ("enable_seqscan", "enable_hashjoin")
    for name, otherwise in (("enable_seqscan", "on"), ("enable_hashjoin", "off")):
        assert binary.execute(database, show, [name], disabled=disabled) == [("off",)]
        assert binary.execute(database, show, [name]) == [(otherwise,)]


@pytest.mark.parametrize("command", ["DEALLOCATE ALL", "DISCARD ALL", "ROLLBACK"])
def test_a_statement_is_prepared_again_when_the_server_has_dropped_it(
    database: BaseDatabaseWrapper, command: str
) -> None:
    for _ in range(7):  # psycopg prepares some itself, and deallocates all
        query(database, "SELECT %s::text", ["x"])
    binary.execute(database, INSERT, [1, None], disabled=SEQSCAN)
    assert len(prepared(database)) == 2
    query(database, command)
    binary.execute(database, INSERT, [2, None], disabled=SEQSCAN)
    assert parts(database) == [1, 2]


def test_a_statement_is_prepared_again_when_its_result_has_changed(
    database: BaseDatabaseWrapper,
) -> None:
    text = "SELECT * FROM parts WHERE id = $1::bigint"
    assert binary.execute(database, text, [1]) == []
    query(database, "ALTER TABLE parts ADD COLUMN size integer DEFAULT 3")
    query(database, "INSERT INTO parts VALUES (1, NULL)")
    assert binary.execute(database, text, [1]) == [(1, None, 3)]


def test_the_statements_used_last_stay_prepared(database: BaseDatabaseWrapper) -> None:
    texts = [f"SELECT $1::bigint + {n}" for n in range(binary.MAX_PREPARED + 5)]
    for number, text in enumerate(texts):
        assert binary.execute(database, text, [1]) == [(1 + number,)]
        binary.execute(database, texts[0], [1])
    assert {*prepared(database)} == {texts[0], *texts[-binary.MAX_PREPARED + 1 :]}


def test_nothing_is_prepared_for_a_pooler(postgres_url: str) -> None:
    database = connect(postgres_url, prepare_threshold=None)
    for _ in range(8):
        show = "SELECT current_setting($1::text)"
        rows = binary.execute(database, show, [SEQSCAN[0]], disabled=SEQSCAN)
        assert rows == [("off",)]
        assert binary.execute(database, show, [SEQSCAN[0]]) == [("on",)]
    assert query(database, "SELECT name FROM pg_prepared_statements") == []
    database.close()


@pytest.mark.parametrize("is_atomic", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_lost_connection_is_an_outage(
    database: BaseDatabaseWrapper, postgres_url: str, *, is_atomic: bool, is_known: bool
) -> None:
    if is_known:
        binary.execute(database, INSERT, [1, None])
    ((backend,),) = query(database, "SELECT pg_backend_pid()")
    database.set_autocommit(not is_atomic)
    if is_atomic:
        binary.execute(database, INSERT, [2, None])
    other = connect(postgres_url)
    query(other, "SELECT pg_terminate_backend(%s, 10000)", [backend])
    for text in (INSERT, "SELECT $1::bigint, $2::bigint"):
        with pytest.raises(OperationalError) as caught:
            binary.execute(database, text, [3, None])
        assert outages.is_unavailable(caught.value)
    database.close()
    database.autocommit = True
    assert parts(other) == ([1] if is_known else [])
    assert binary.execute(database, INSERT, [4, None]) == [(4,)]
    other.close()


def test_a_connection_that_was_interrupted_is_not_used_again(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(binary._Session, "_next_result", interrupt)  # noqa: SLF001
        with pytest.raises(KeyboardInterrupt):
            binary.execute(database, INSERT, [1, None])
    assert not database.is_usable()
    database.close()
    assert binary.execute(database, INSERT, [2, None]) == [(2,)]


def test_a_deadlock_is_a_conflict(
    database: BaseDatabaseWrapper, postgres_url: str
) -> None:
    for number in (1, 2):
        binary.execute(database, INSERT, [number, None])
    both_have_one = Barrier(2, timeout=20)
    lock = "SELECT id FROM parts WHERE id = $1::bigint FOR UPDATE"

    def lock_both(first: int, second: int) -> BaseException | None:
        connection = connect(postgres_url)
        query(connection, "SET deadlock_timeout = '20ms'")
        connection.set_autocommit(False)
        binary.execute(connection, lock, [first])
        both_have_one.wait()
        try:
            binary.execute(connection, lock, [second])
        except OperationalError as error:
            return error
        finally:
            connection.close()
        return None

    with ThreadPoolExecutor(2) as threads:
        pair = [threads.submit(lock_both, *order) for order in ((1, 2), (2, 1))]
        failed = [error for task in pair if (error := task.result(30))]
    (error,) = failed
    assert outages.is_conflict(error)
    assert not outages.is_unavailable(error)


def test_a_large_result_arrives_while_a_large_parameter_is_sent(
    database: BaseDatabaseWrapper,
) -> None:
    text = "SELECT x FROM unnest($1::text[]) AS r(x)"
    array = [f"{number:07}" * 20 for number in range(100_000)]
    assert binary.execute(database, text, [array]) == [(item,) for item in array]
    status = database.connection.pgconn.transaction_status
    assert status == TransactionStatus.IDLE
