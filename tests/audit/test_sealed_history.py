"""A history that was tampered with is caught, and the row is named."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.factories import (
    make_audit_event,
    make_decision,
    make_run,
    make_stage,
)
from tests.support.sealed_runs import Step, found, found_in, launch, sealed_run
from workflows.audit import keys, sealing_start, seals
from workflows.models import AuditEvent, Decision, HistoryHead, RemovedRun, Run, Stage
from workflows.system import system

pytestmark = pytest.mark.django_db

OURS: dict[str, Any] = {
    "stage": Stage,
    "decision": Decision,
    "audit event": AuditEvent,
}
NOT_SEALED = {
    "id",  # a number the database gives
    "seal",
    "waits_for_thread",  # of a step in progress only; pages ignore it once the step has ended
}


def actions(run: Run, by: User) -> None:
    """Do some things to a run."""
    system.label(run.pk, "audit", by=by, reason="to be looked at")
    system.label(run.pk, "later", by=by)


@pytest.fixture
def run(alice: User) -> Run:
    """Return a run with steps, decisions and audit events, next to another one."""
    made = sealed_run(
        [
            Step("read", decided_by=alice.pk, comment="well read"),
            Step("weigh", ("first", "second"), {"total": 100.0, "of": [1, 2.5]}),
            Step("publish", (), error="", items=4),
        ],
        by=alice,
    )
    actions(made, alice)
    sealed_run(by=alice)
    return made


def other_value(  # noqa: C901, PLR0911 - one case per kind of column
    field: models.Field[Any, Any], value: Any
) -> Any:
    """Return another value that the column would take."""
    if isinstance(field, models.ForeignKey):
        is_run = field.related_model is Run
        return launch().pk if is_run else User.objects.create_user("mallory").pk
    if isinstance(field, models.UUIDField):
        return uuid4()
    if isinstance(field, models.BooleanField):
        return not value
    if isinstance(field, models.DateTimeField):
        return value + dt.timedelta(microseconds=1)
    if isinstance(field, models.JSONField):
        return {"total": 101, "of": [1, 2.5]}
    if isinstance(field, models.IntegerField | models.FloatField):
        return (value or 0) + 7
    if isinstance(field, models.BinaryField):
        return b"x" * 32
    if field.name == "status":
        return "failed"
    return f"{value}x"


def no_checks(change: Callable[[], Any]) -> None:
    """Do what an attacker does, whom no constraint of the database keeps from it."""
    with connection.constraint_checks_disabled():
        change()


COLUMNS = [
    (kind, field.attname)
    for kind, model in OURS.items()
    for field in model._meta.concrete_fields  # noqa: SLF001
    if field.name not in NOT_SEALED
]


@pytest.mark.parametrize(("kind", "column"), COLUMNS)
def test_a_changed_column_is_named_by_its_row(run: Run, kind: str, column: str) -> None:
    assert found() == []
    row = OURS[kind].objects.filter(run=run).order_by("pk")[1]
    field = row._meta.get_field(column)  # noqa: SLF001
    value = other_value(field, getattr(row, column))
    type(row).objects.filter(pk=row.pk).update(**{column: value})
    message = found()
    assert any(f"{kind} {row.pk}" in one for one in message), message
    # missing in one run and added to another; or reported as deleted without an event
    assert len(message) == 1 or column in {"run_id", "values_digest", "inherited_from"}


@pytest.mark.parametrize("kind", OURS)
def test_a_removed_row_is_detected_at_its_position(run: Run, kind: str) -> None:
    row = OURS[kind].objects.filter(run=run).order_by("pk")[1]
    place = seals.position_of(bytes(row.seal))
    OURS[kind].objects.filter(pk=row.pk).delete()
    (message,) = found()
    assert f"missing: the row at position {place}, after" in message
    assert found_in(run) == [message]


@pytest.mark.parametrize("kind", OURS)
def test_a_row_without_a_seal_was_added(run: Run, kind: str) -> None:
    make: dict[str, Callable[[], Any]] = {
        "stage": lambda: make_stage(run, sequence=2, attempt=9),
        "decision": lambda: make_decision(run, sequence=2, attempt=9),
        "audit event": lambda: make_audit_event(run),
    }
    row = make[kind]()
    (message,) = found()
    assert f"{kind} {row.pk}" in message
    assert "no seal" in message


@pytest.mark.parametrize("kind", OURS)
def test_a_copied_row_was_added(run: Run, kind: str) -> None:
    row = OURS[kind].objects.filter(run=run).order_by("pk")[0]
    row.pk = None
    if kind != "audit event":
        row.attempt = 7
    row.save(force_insert=True)
    assert any(f"{kind} {row.pk}" in one for one in found())


@pytest.mark.parametrize("kind", OURS)
def test_swapped_rows_are_both_named(run: Run, kind: str) -> None:
    first, second = OURS[kind].objects.filter(run=run).order_by("pk")[:2]
    first.seal, second.seal = second.seal, first.seal
    first.save()
    second.save()
    message = found()
    assert any(f"{kind} {first.pk}" in one for one in message)
    assert any(f"{kind} {second.pk}" in one for one in message)


def test_a_row_moved_to_another_run_is_missed_and_named(run: Run) -> None:
    other = Run.objects.exclude(pk=run.pk).get()
    row = run.decisions.order_by("pk")[0]
    Decision.objects.filter(pk=row.pk).update(run=other, attempt=5)
    message = "\n".join(found())
    assert f"run {run.pk}: stage or decision: missing" in message
    assert f"run {other.pk}: decision {row.pk}" in message


def test_an_end_that_was_cut_off_is_missed(run: Run) -> None:
    last = run.stages.order_by("-sequence")[0]
    last.delete()
    (message,) = found()
    assert (
        "stage or decision: missing: the row at position 6, after decision" in message
    )


def test_a_truncated_end_is_detected_even_with_a_restored_head(run: Run) -> None:
    row = run.stages.order_by("-sequence")[0]
    row.delete()
    before = run.decisions.order_by("-pk")[0]
    assert before.seal
    assert run.history_chain_head
    forged = bytes(before.seal)[:4] + bytes(run.history_chain_head)[4:]
    Run.objects.filter(pk=run.pk).update(history_chain_head=forged)
    (message,) = found()
    assert "the head of the chain of its stages and decisions was changed" in message


@pytest.mark.parametrize("column", ["history_chain_head", "audit_chain_head"])
@pytest.mark.parametrize("value", [None, b"", b"\x00" * 20])
def test_a_removed_chain_head_is_detected(
    run: Run, column: str, value: bytes | None
) -> None:
    Run.objects.filter(pk=run.pk).update(**{column: value})
    (message,) = found()
    assert f"run {run.pk}: run: the head of the chain of its" in message


def test_a_run_without_any_history_needs_its_heads() -> None:
    run = launch()
    assert found() == []
    AuditEvent.objects.all().delete()
    Run.objects.filter(pk=run.pk).update(history_chain_head=None, audit_chain_head=None)
    assert len(found()) == 2


def test_seals_recomputed_without_the_key_are_detected(run: Run) -> None:
    """SHA-256 alone would let the one who changes a row mend the chain behind it."""
    key = b"a key of the attacker's own     "
    row = run.decisions.order_by("pk")[0]
    row.reason = "it was told so"
    assert row.seal
    place = seals.position_of(bytes(row.seal))
    facts = seals.decision_fields(
        run.pk,
        row.workflow_name,
        1,
        _as_recorded(row),
        seals.payload_digest(row.values),
    )
    row.seal = seals.seal(key, place, facts)
    row.save()
    assert any(f"decision {row.pk}" in one for one in found())


def _as_recorded(row: Decision) -> Any:
    from workflows.audit.row_adapters import decision_row

    return decision_row(row)


# What people do ------------------------------------------------------------------------


def test_audit_events_of_a_removed_run_still_verify(run: Run, alice: User) -> None:
    system.delete_run(run.pk, by=alice, reason="made by mistake")
    assert found() == []
    left = RemovedRun.objects.get(pk=run.pk)
    assert (left.removed_by_name, left.reason) == ("alice", "made by mistake")
    assert left.launched_by_name == "alice"
    last = AuditEvent.objects.filter(run=run.pk).latest("pk")
    assert (last.action, last.workflow_name) == ("delete", "sum")
    last.delete()
    assert any("missing" in one for one in found())


def test_a_run_that_vanished_is_missed(run: Run) -> None:
    for rows in (run.labels, run.stages, run.decisions):
        rows.all().delete()
    Run.objects.filter(pk=run.pk).delete()
    (message,) = found()
    assert (
        message == f"run {run.pk}: run: it is gone, and no audit event records by whom"
    )


def test_a_removal_that_no_one_did_is_noticed(run: Run) -> None:
    RemovedRun.objects.create(
        id=run.pk,
        workflow_name="sum",
        status="completed",
        created_at=run.created_at,
        removed_by_name="alice",
        audit_chain_head=run.audit_chain_head,
    )
    for rows in (run.labels, run.stages, run.decisions):
        rows.all().delete()
    Run.objects.filter(pk=run.pk).delete()
    assert any("no audit event records by whom" in one for one in found())


def test_rows_of_no_run_are_named(run: Run) -> None:
    row = run.decisions.order_by("pk")[0]
    no_checks(lambda: Decision.objects.filter(pk=row.pk).update(run=uuid.uuid4()))
    message = found()
    no_checks(lambda: Decision.objects.filter(pk=row.pk).delete())
    assert any(
        f"decision {row.pk}" in one and "the run does not exist" in one
        for one in message
    )


def test_an_account_that_is_deleted_is_no_tampering(run: Run, alice: User) -> None:
    alice.delete()
    assert run.decisions.filter(decided_by=None).count() == 3
    assert found() == []


def test_removing_a_link_to_an_existing_account_is_detected(
    run: Run, alice: User
) -> None:
    row = run.audit_events.latest("pk")
    AuditEvent.objects.filter(pk=row.pk).update(actor=None)
    decided = run.decisions.get(decided_by=alice)
    Decision.objects.filter(pk=decided.pk).update(decided_by=None)
    message = found()
    assert any(f"audit event {row.pk}: its actor was changed" in one for one in message)
    assert any(f"decision {decided.pk}" in one for one in message)


def test_what_is_done_to_no_run_is_chained_too(alice: User) -> None:
    view = system.save_view("Mine", "status=failed", by=alice, shared=False)
    system.delete_view(view.pk, by=alice)
    assert found() == []
    first = AuditEvent.objects.earliest("pk")
    AuditEvent.objects.filter(pk=first.pk).update(reason="Yours: ")
    (message,) = found()
    assert f"audit event {first.pk}" in message
    HistoryHead.objects.filter(name="deeds").delete()
    assert any("audit events is missing" in one for one in found())


# Keys and beginnings -------------------------------------------------------------------


def test_a_key_can_be_rotated_while_the_old_one_is_configured(
    alice: User, settings: Any
) -> None:
    run = sealed_run(by=alice)
    settings.AUDIT_KEYS = ["x" * 50]
    actions(run, alice)
    sealed_run(by=alice)
    assert found() == []
    settings.AUDIT_KEYS = ["y" * 50, "x" * 50]
    assert found() == []
    settings.AUDIT_KEYS = []
    assert found() != []


def test_rows_older_than_the_seals_are_distinguished(alice: User) -> None:
    old = make_run()
    make_stage(old)
    make_decision(old)
    make_audit_event(old)
    assert len(found()) == 5  # three rows, two heads
    now = timezone.now()
    HistoryHead.objects.all().delete()
    sealing_start.remember()
    assert found() == []
    system.label(old.pk, "kept", by=alice)
    assert found() == []
    make_stage(old, sequence=2, created_at=now + dt.timedelta(days=1))
    assert len(found()) == 1


@pytest.mark.parametrize("how", ["gone", "moved", "forged"])
def test_the_beginning_may_not_be_moved(run: Run, how: str) -> None:
    row = HistoryHead.objects.get(name=sealing_start.NAME)
    if how == "gone":
        row.delete()
    elif how == "moved":
        row.at += dt.timedelta(days=2)
        row.save()
    else:
        row.at += dt.timedelta(days=2)
        row.head = seals.mac(
            keys.sealing(), f"beginning {seals.microseconds(row.at)}".encode()
        )
        row.save()
    (message,) = found()
    assert message.startswith("history: ")


# The command ---------------------------------------------------------------------------


def test_the_command_reports_an_intact_history(run: Run) -> None:
    out = StringIO()
    call_command("verify_history", stdout=out)
    assert out.getvalue() == "Verified 2 runs with 16 rows: no findings.\n"


def test_the_command_names_rows_and_exits_with_1(run: Run) -> None:
    row = run.stages.order_by("pk")[0]
    Stage.objects.filter(pk=row.pk).update(node_name="burn")
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_history", str(run.pk), stdout=out)
    assert ended.value.code == 1
    assert f"run {run.pk}: stage {row.pk} of step 1: " in out.getvalue()


def test_the_command_reports_an_unknown_run_id(db: None) -> None:
    with pytest.raises(CommandError, match="not found"):
        call_command("verify_history", str(uuid.uuid4()))


def verified(*args: str) -> tuple[int, str]:
    """Return exit code and output of the command."""
    out = StringIO()
    try:
        call_command("verify_history", *args, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("unsealed", [0, 3])
def test_a_missing_start_of_sealing_is_a_sentence(
    run: Run, one: bool, unsealed: int
) -> None:
    HistoryHead.objects.filter(name=sealing_start.NAME).delete()
    for _ in range(unsealed):
        make_audit_event(run)
    code, out = verified(*([str(run.pk)] if one else []))
    assert code == 1
    assert "history: the row that says since when it is sealed is missing" in out
    last = out.splitlines()[-1]
    if unsealed:
        assert last == "3 rows have no seal; it is not known whether sealing had begun."
    else:
        assert last.endswith(": 1 finding.")


@pytest.mark.parametrize("one", [True, False])
def test_without_the_key_nothing_is_verified_and_the_reason_is_reported(
    run: Run, settings: Any, one: bool
) -> None:
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(CommandError, match="Nothing was verified") as ended:
        call_command("verify_history", *([str(run.pk)] if one else []))
    assert ended.value.returncode == 2


def test_a_forged_start_does_not_pass_for_a_missing_key(run: Run) -> None:
    HistoryHead.objects.filter(name=sealing_start.NAME).update(head=b"forged")
    Stage.objects.filter(pk__in=run.stages.values("pk")[:1]).update(node_name="x")
    code, out = verified()
    assert code == 1
    assert "2 findings" in out


def test_an_empty_history_needs_no_key(db: None, settings: Any) -> None:
    HistoryHead.objects.all().delete()
    settings.SECRET_KEY = "another" * 10
    assert verified()[0] == 1  # the start of sealing is missing


def test_a_run_with_findings_is_counted_once(run: Run) -> None:
    sound = verified()[1].splitlines()[-1].partition(":")[0]
    Stage.objects.filter(pk__in=run.stages.values("pk")[:1]).update(node_name="burn")
    assert verified()[1].splitlines()[-1] == f"{sound}: 1 finding."


# Any history ---------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=30)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1e22, 1e23, 100.0, -0.0, 5e-324, 1.7976931348623157e308]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)
MOMENTS = st.datetimes(
    dt.datetime(2026, 12, 1),  # noqa: DTZ001 - hypothesis adds the zone
    dt.datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)
STEPS = st.builds(
    Step,
    node=st.text("abcdefg", min_size=1, max_size=9),
    reasons=st.lists(TEXTS, max_size=3),
    values=st.dictionaries(TEXTS, VALUES, max_size=4),
    duration_ms=st.floats(0, 1e9),
    status=st.sampled_from(["completed", "failed", "interrupted"]),
    error=TEXTS,
    comment=TEXTS,
    created_at=MOMENTS,
)


@given(st.lists(STEPS, max_size=4), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_any_history_verifies_until_a_row_is_changed(
    db: None, steps: list[Step], data: st.DataObject
) -> None:
    run = sealed_run(steps)
    assert found_in(run) == []
    rows: list[Any] = [*run.stages.all(), *run.decisions.all()]
    if not rows:
        return
    row = data.draw(st.sampled_from(rows))
    if data.draw(st.booleans()):
        row.delete()
    else:
        row.attempt += 1
        row.save()
    assert found_in(run) != []
