"""The threads of a process take turns at writing to SQLite, instead of polling for its lock."""

from __future__ import annotations

import threading

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction

from project.sqlite import base

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'sqlite'", reason="PostgreSQL has locks of its own"
    ),
]


def in_thread(name: str, failures: list[BaseException]) -> threading.Thread:
    """Start a thread that writes a group of this name."""

    def write() -> None:
        try:
            with transaction.atomic():
                Group.objects.create(name=name)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def test_a_second_writer_waits_for_the_first_and_then_writes() -> None:
    failures: list[BaseException] = []
    with transaction.atomic():
        Group.objects.create(name="first")
        second = in_thread("second", failures)
        assert not Group.objects.filter(name="second").exists()
    second.join()
    assert failures == []
    # a database that no test has flushed yet has the roles of the migrations too
    written = Group.objects.filter(name__in=["first", "second"]).order_by("id")
    assert [group.name for group in written] == ["first", "second"]


def test_fifty_concurrent_writers_all_commit() -> None:
    failures: list[BaseException] = []
    threads = [in_thread(f"group {number}", failures) for number in range(50)]
    for thread in threads:
        thread.join()
    assert failures == []
    assert Group.objects.count() == 50


@pytest.mark.parametrize("ending", ["commit", "rollback", "close"])
def test_the_write_lock_is_released_however_the_transaction_ends(ending: str) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        Group.objects.create(name="mine")
        if ending == "close":
            connection.close()
        if ending != "commit":
            raise ZeroDivisionError
        transaction.on_commit(lambda: 1 / 0)
    assert not base._turn.locked()  # noqa: SLF001 - no one else can see it
    failures: list[BaseException] = []
    in_thread("next", failures).join()
    assert failures == []


def test_waiting_too_long_for_the_write_lock_raises_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)
    base._turn.acquire()  # noqa: SLF001 - another thread that takes its time
    try:
        with (
            pytest.raises(OperationalError, match="database is locked"),
            transaction.atomic(),
        ):
            pytest.fail("nobody can write now")
    finally:
        base._turn.release()  # noqa: SLF001
    with transaction.atomic():
        Group.objects.create(name="later")
