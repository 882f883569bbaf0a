"""Database triggers that write the outbox and checks of limits, whichever statement changes a row.

A run ends in many ways: by the recorder's bulk statement, by recovery, by a cancel while it
is pending, in a child process. A trigger is the one place that all of them pass, in their
transaction, without a further round trip. Its condition is evaluated per changed row; the
INSERT happens only where someone is interested in the event (`Interest`), or where the run has
limits (`LimitCheck`).

The triggers are created after migrations, when their text differs from what is stored. On
SQLite they are dropped before: it refuses to rebuild a table that a trigger reads, and a
rebuilt table loses its own triggers.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from django.db import connections, transaction

from workflows.infra.database import is_postgresql
from workflows.models import (
    Approval,
    ApprovalStatus,
    EventKind,
    EventMessage,
    EventWait,
    EventWaitKind,
    EventWaitStatus,
    Interest,
    LimitCheck,
    MomentResult,
    OutboxEvent,
    Run,
    Schedule,
    ScheduleMoment,
    Status,
    WorkflowPause,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

PREFIX: Final = "signalbox_outbox_"


@dataclass(frozen=True, slots=True)
class Trigger:
    """An event per inserted, updated or deleted row of a table."""

    name: str
    model: type[Model]
    operation: str  # INSERT, DELETE, or UPDATE OF a column
    condition: str  # with NEW and OLD
    kind: str  # the event's, as SQL
    facts: tuple[tuple[str, str], ...]  # name and SQL of each
    run: str = "NEW.run_id"
    workflow: str = "NEW.workflow_name"
    source: str = ""  # FROM, for the workflow of a row that does not have it
    match: str = ""
    statement: str = ""  # instead of an event

    @property
    def full_name(self) -> str:
        """The name in the database."""
        return PREFIX + self.name


def _table(model: type[Model]) -> str:
    return model._meta.db_table  # noqa: SLF001 - Django's documented model API


def _when(column: str, kinds: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{value}' THEN '{kind}'" for value, kind in kinds.items())
    return f"CASE NEW.{column} {cases} END"


def _one_of(column: str, values: dict[str, str]) -> str:
    return f"NEW.{column} IN ({', '.join(repr(str(value)) for value in values)})"


_ENDS: Final = {
    Status.COMPLETED.value: EventKind.RUN_COMPLETED.value,
    Status.FAILED.value: EventKind.RUN_FAILED.value,
    Status.CANCELLED.value: EventKind.RUN_CANCELLED.value,
}
_APPROVALS: Final = {
    ApprovalStatus.OPEN.value: EventKind.APPROVAL_REQUESTED.value,
    ApprovalStatus.ANSWERED.value: EventKind.APPROVAL_ANSWERED.value,
    ApprovalStatus.EXPIRED.value: EventKind.APPROVAL_EXPIRED.value,
}
_MOMENTS: Final = {
    MomentResult.MISSED.value: EventKind.SCHEDULE_MISSED.value,
    MomentResult.REFUSED.value: EventKind.SCHEDULE_MISSED.value,
}
_OF_APPROVALS: Final[dict[str, Any]] = {
    "model": Approval,
    "kind": _when("status", _APPROVALS),
    "facts": (
        ("approval", "NEW.id"),
        ("node", "NEW.node_name"),
        ("sequence", "NEW.sequence"),
    ),
    "workflow": "parent.workflow_name",
    "source": f"{_table(Run)} AS parent",
    "match": "parent.id = NEW.run_id",
}
_OF_MOMENTS: Final[dict[str, Any]] = {
    "model": ScheduleMoment,
    "kind": _when("result", _MOMENTS),
    "facts": (
        ("schedule", "NEW.schedule_id"),
        ("moment", "NEW.id"),
        ("result", "NEW.result"),
    ),
    "workflow": "parent.workflow_name",
    "source": f"{_table(Schedule)} AS parent",
    "match": "parent.id = NEW.schedule_id",
}
_WAITS: Final = {  # of a wait for a message, by its kind: what its new status means
    EventWaitKind.EVENT.value: {
        EventWaitStatus.RECEIVED.value: EventKind.EVENT_RECEIVED.value,
        EventWaitStatus.EXPIRED.value: EventKind.EVENT_EXPIRED.value,
    },
    EventWaitKind.CALLBACK.value: {
        EventWaitStatus.RECEIVED.value: EventKind.CALLBACK_RECEIVED.value,
        EventWaitStatus.EXPIRED.value: EventKind.CALLBACK_EXPIRED.value,
    },
}
# A run with limits that is pending may start; one that has left its worker leaves a slot.
_MAY_START: Final[dict[str, Any]] = {
    "model": Run,
    "kind": "",
    "facts": (),
    "statement": (
        f"INSERT INTO {_table(LimitCheck)} (workflow_name, limit_key, due_at)"  # noqa: S608 - names are ours
        " VALUES (NEW.workflow_name, NEW.limit_key, 0)"
    ),
}
TRIGGERS: Final = (
    Trigger(
        "run_limited",
        operation="INSERT",
        condition=f"NEW.limit_key IS NOT NULL AND NEW.status = '{Status.PENDING.value}'",
        **_MAY_START,
    ),
    Trigger(
        "run_left_worker",
        operation="UPDATE OF status",
        condition="NEW.limit_key IS NOT NULL AND NEW.status <> OLD.status"
        f" AND (NEW.status = '{Status.PENDING.value}' OR OLD.status = '{Status.RUNNING.value}')",
        **_MAY_START,
    ),
    Trigger(
        "run_ended",
        Run,
        # the check constraint run_completed_at_when_ended ties this column to the status
        "UPDATE OF completed_at",
        "NEW.completed_at IS NOT NULL AND OLD.completed_at IS NULL",
        kind=_when("status", _ENDS),
        facts=(
            ("status", "NEW.status"),
            ("attempt", "NEW.attempt"),
            ("sequence", "NEW.sequence"),
            ("version", "NEW.version"),
            ("error_code", "NEW.error_code"),
            ("error_node", "NEW.error_node"),
        ),
        run="NEW.id",
    ),
    Trigger(
        "approval_opened",
        operation="INSERT",
        # closed ones are inserted by forks only, with the history that they share
        condition=f"NEW.status = '{ApprovalStatus.OPEN.value}'",
        **_OF_APPROVALS,
    ),
    Trigger(
        "approval_changed",
        operation="UPDATE OF status",
        condition=f"NEW.status <> OLD.status AND {_one_of('status', _APPROVALS)}",
        **_OF_APPROVALS,
    ),
    Trigger(
        "moment_processed",
        operation="INSERT",
        condition=_one_of("result", _MOMENTS),
        **_OF_MOMENTS,
    ),
    Trigger(
        "moment_changed",
        operation="UPDATE OF result",
        condition=f"NEW.result <> OLD.result AND {_one_of('result', _MOMENTS)}",
        **_OF_MOMENTS,
    ),
    Trigger(
        "message_sent",
        EventMessage,
        "INSERT",
        "NEW.name <> ''",  # not one that was posted to a callback
        kind=f"'{EventKind.EVENT_SENT.value}'",
        facts=(("message", "NEW.id"), ("event", "NEW.name")),
        run="NULL",  # it may move any number of runs
    ),
    *(
        Trigger(
            f"{kind}_wait_closed",
            EventWait,
            "UPDATE OF status",
            f"NEW.status <> OLD.status AND NEW.kind = '{kind}'"
            f" AND {_one_of('status', statuses)}",
            kind=_when("status", statuses),
            facts=(
                ("event", "NEW.name"),
                ("message", "NEW.message_id"),
                ("node", "NEW.node_name"),
                ("sequence", "NEW.sequence"),
            ),
        )
        for kind, statuses in _WAITS.items()
    ),
    Trigger(
        "workflow_paused",
        WorkflowPause,
        "INSERT",
        "NEW.workflow_name <> ''",
        kind=f"'{EventKind.WORKFLOW_PAUSED.value}'",
        facts=(("by", "NEW.paused_by_name"),),
        run="NULL",
    ),
    Trigger(
        "workflow_unpaused",
        WorkflowPause,
        "DELETE",
        "OLD.workflow_name <> ''",
        kind=f"'{EventKind.WORKFLOW_UNPAUSED.value}'",
        facts=(),
        run="NULL",
        workflow="OLD.workflow_name",
    ),
)


# Installation ---------------------------------------------------------------------------


def drop(using: str = "default", plan: list[Any] | None = None, **_: Any) -> None:
    """Drop the triggers on SQLite, before migrations that change something."""
    connection = connections[using]
    if is_postgresql(connection) or not plan:
        return
    with connection.cursor() as cursor:
        for name in stored(connection):
            cursor.execute(f'DROP TRIGGER "{name}"')


def install(using: str = "default", **_: Any) -> None:
    """Create the triggers after migrations, and replace those with another text."""
    connection = connections[using]
    # a schema that was migrated back may have no outbox any more
    tables = connection.introspection.table_names()
    wanted = _statements(connection, tables) if _table(Interest) in tables else {}
    before = stored(connection)
    with transaction.atomic(using), connection.cursor() as cursor:
        for name in before.keys() - wanted.keys():
            cursor.execute(_drop(connection, name, before[name][0]))
        for name, (table, statements) in wanted.items():
            if before.get(name, ("", ""))[1] == _digest(statements):
                continue
            if name in before:
                cursor.execute(_drop(connection, name, table))
            for statement in statements:
                cursor.execute(statement)
            if is_postgresql(connection):
                digest = _digest(statements)
                cursor.execute(f"COMMENT ON TRIGGER {name} ON {table} IS '{digest}'")


def missing(using: str = "default") -> list[str]:
    """Return the names of triggers that are missing or have another text."""
    connection = connections[using]
    before = stored(connection)
    tables = connection.introspection.table_names()
    return [
        name
        for name, (_, statements) in _statements(connection, tables).items()
        if before.get(name, ("", ""))[1] != _digest(statements)
    ]


def stored(connection: BaseDatabaseWrapper) -> dict[str, tuple[str, str]]:
    """Return table and digest of the triggers in the database, by name."""
    with connection.cursor() as cursor:
        if is_postgresql(connection):
            cursor.execute(
                "SELECT t.tgname, c.relname, obj_description(t.oid, 'pg_trigger')"
                " FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
                " WHERE t.tgname LIKE %s AND pg_table_is_visible(c.oid)",
                [f"{PREFIX}%"],
            )
            return {name: (table, text or "") for name, table, text in cursor}
        cursor.execute(
            "SELECT name, tbl_name, sql FROM sqlite_master"
            " WHERE type = 'trigger' AND name LIKE %s",
            [f"{PREFIX}%"],
        )
        return {name: (table, _digest([text])) for name, table, text in cursor}


def _drop(connection: BaseDatabaseWrapper, name: str, table: str) -> str:
    if is_postgresql(connection):
        return f"DROP TRIGGER {name} ON {table}"
    return f"DROP TRIGGER {name}"


def _digest(statements: list[str]) -> str:
    return sha256("\n".join(statements).encode()).hexdigest()


def _statements(
    connection: BaseDatabaseWrapper, tables: Collection[str]
) -> dict[str, tuple[str, list[str]]]:
    """Return table and statements of each trigger, by its name in the database.

    Without those on, or for, a table that does not exist: the schema is older than they are.
    """
    make = _for_postgresql if is_postgresql(connection) else _for_sqlite
    return {
        trigger.full_name: (_table(trigger.model), [*make(trigger)])
        for trigger in TRIGGERS
        if _table(trigger.model) in tables
        and (not trigger.statement or _table(LimitCheck) in tables)
    }


def _for_postgresql(trigger: Trigger) -> Iterator[str]:
    facts = ", ".join(f"'{name}', {value}" for name, value in trigger.facts)
    insert = _insert(trigger, f"json_build_object({facts})::text", "clock_timestamp()")
    yield (
        f"CREATE OR REPLACE FUNCTION {trigger.full_name}() RETURNS trigger"
        f" LANGUAGE plpgsql AS $$ BEGIN {insert}; RETURN NULL; END $$"
    )
    yield (
        f"CREATE TRIGGER {trigger.full_name} AFTER {trigger.operation}"
        f" ON {_table(trigger.model)} FOR EACH ROW WHEN ({trigger.condition})"
        f" EXECUTE FUNCTION {trigger.full_name}()"
    )


def _for_sqlite(trigger: Trigger) -> Iterator[str]:
    facts = ", ".join(f"'{name}', {value}" for name, value in trigger.facts)
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    yield (
        f"CREATE TRIGGER {trigger.full_name} AFTER {trigger.operation}"
        f" ON {_table(trigger.model)} FOR EACH ROW WHEN {trigger.condition}"
        f" BEGIN {_insert(trigger, f'json_object({facts})', now)}; END"
    )


def _insert(trigger: Trigger, facts: str, now: str) -> str:
    """Return the INSERT of an event, if anyone is interested in it, or of something else."""
    if trigger.statement:
        return trigger.statement
    is_wanted = (
        f"EXISTS (SELECT 1 FROM {_table(Interest)} AS wanted"  # noqa: S608 - names are ours
        f" WHERE wanted.kind IN ('', {trigger.kind})"
        f" AND wanted.workflow_name IN ('', {trigger.workflow})"
        f" AND (wanted.run_id IS NULL OR wanted.run_id = {trigger.run}))"
    )
    conditions = [trigger.match, is_wanted] if trigger.match else [is_wanted]
    return (
        f"INSERT INTO {_table(OutboxEvent)}"
        " (kind, workflow_name, run_id, facts, created_at)"
        f" SELECT {trigger.kind}, {trigger.workflow}, {trigger.run}, {facts}, {now}"
        f" {'FROM ' + trigger.source if trigger.source else ''}"
        f" WHERE {' AND '.join(conditions)}"
    )
