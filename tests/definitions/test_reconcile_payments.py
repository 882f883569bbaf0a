"""Reconcile payments: in memory, and whole on a database with events and a correction."""

from __future__ import annotations

import asyncio
import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.support.workers import ended, reaches, working
from workflows.definitions.payments import (
    Invoice,
    Payment,
    TableInvalid,
    match,
    read_invoices,
    read_payments,
    report_csv,
)
from workflows.definitions.reconcile_payments import (
    Tables,
    correct_tables,
    reconcile_payments,
    wait_for_payment,
)
from workflows.engine import Answer
from workflows.engine.testing import run_in_memory
from workflows.infra.database_threads import run_in_db
from workflows.models import EventWait, Run, RunFile
from workflows.runtime import FakeRuntime
from workflows.system import system

INVOICES = "number,amount,customer\nINV-1,10.50,Ada\nINV-2,20.00,Ben\n"
PAYMENTS = "reference,amount,payer\nfor inv-1,10.50,Ada\n"
LATE = Payment(reference="INV-2", amount=Decimal("20.00"))
READ = ["read_invoice_table", "read_payment_table", "read_tables"]


def run(
    runtime: FakeRuntime | None = None, *, answers: Any = None, **params: Any
) -> Any:
    return run_in_memory(
        reconcile_payments,
        {"invoices": INVOICES, "payments": PAYMENTS, **params},
        runtime=runtime or FakeRuntime(),
        answers=answers or {},
    )


def lines_of(content: bytes | str) -> list[dict[str, str]]:
    text = content.decode() if isinstance(content, bytes) else content
    return list(csv.DictReader(io.StringIO(text)))


# In memory ----------------------------------------------------------------------------------


def test_all_invoices_paid_give_a_report_at_once() -> None:
    runtime = FakeRuntime()
    outcome = run(runtime, payments=f"{PAYMENTS}INV-2,20,\n")
    assert outcome.path == [*READ, "match_payments", "write_report"]
    (report,) = runtime.documents.made
    result = outcome.state.result
    assert (result.report, result.invoices, result.settled) == (report.id, 2, 2)
    assert (result.open_amount, result.unassigned) == (Decimal(0), 0)
    assert [line["outcome"] for line in lines_of(report.content)] == ["paid", "paid"]


def test_open_invoices_wait_for_payments_of_the_account() -> None:
    outcome = run(account="giro")
    assert outcome.status == "waiting"
    assert outcome.decisions[-1].reason.startswith("1 of 2 invoices are settled")
    outcome = run(answers={wait_for_payment: LATE})
    assert outcome.path[-4:] == [
        "wait_for_payment",
        "add_payment",
        "match_payments",
        "write_report",
    ]
    assert outcome.state.result.settled == 2


def test_part_payments_lead_back_to_the_wait() -> None:
    half = Payment(reference="INV-2", amount=Decimal("10.00"))
    answers = iter([half, half])
    outcome = run(answers={wait_for_payment: lambda _: next(answers)})
    assert outcome.path.count("wait_for_payment") == 2
    assert outcome.state.result.settled == 2


def test_a_wait_that_expires_ends_with_a_report_of_what_is_open() -> None:
    outcome = run(answers={wait_for_payment: Answer(expired=True)})
    assert outcome.status == "completed", outcome.error
    assert outcome.state.result.open_amount == Decimal("20.00")


def test_a_run_that_does_not_wait_reports_open_invoices() -> None:
    outcome = run(wait=False)
    assert outcome.path == [*READ, "match_payments", "write_report"]
    assert outcome.state.result.settled == 1


def test_a_table_that_cannot_be_read_is_corrected_in_a_form_that_begins_with_it() -> (
    None
):
    broken = INVOICES.replace("20.00", "twenty")
    outcome = run(invoices=broken)
    assert outcome.pause.node == "correct_tables"
    assert outcome.pause.question == (
        "Line 3 of the invoices: the amount “twenty” is not a number such as 1234.50."
        " Correct the table."
    )
    assert outcome.pause.initial == {"invoices": broken, "payments": PAYMENTS}
    corrected = Tables(invoices=INVOICES, payments=PAYMENTS)
    outcome = run(invoices=broken, wait=False, answers={correct_tables: corrected})
    assert outcome.status == "completed", outcome.error
    assert outcome.path.count("read_tables") == 1
    assert outcome.state.result.invoices == 2


# Tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_tables_have_any_usual_delimiter_and_order_of_columns(delimiter: str) -> None:
    text = 'Total|Name|Invoice|x\r\n"1,5"|Ada|7|\r\n\r\n2|""|8\r\n'
    assert read_invoices(text.replace("|", delimiter)) == [
        Invoice(number="7", amount=Decimal("1.50"), customer="Ada"),
        Invoice(number="8", amount=Decimal("2.00")),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (" ", "There are no invoices: enter a table with a heading line."),
        ("number,amount", "There are no invoices: the table has only a heading."),
        ("a,b\n1,2", "The invoices have no column “number”. Their heading is: a, b."),
        ("number,amount\n,2", "Line 2 of the invoices: the number is missing."),
        ("number,amount\n1", "Line 2 of the invoices: the amount is missing."),
        ("number,amount\n1,1\n1,2", "Line 3 of the invoices: the invoice 1 is listed"),
        ("number;amount\n1;1,234.5", "the amount “1,234.5” is not a number such as"),
        ("number,amount\n1,-", "the amount “-” is not a number such as 1234.50"),
        ("number,amount\n1,1e9", "the amount “1e9” is not a number"),
        ('number,amount\n"1,2', "Line 2 of the invoices: unexpected end of data"),
        (f"number,amount\n{'x' * 201},2", "the number is longer than 200 characters"),
        ("number,amount\n" + "1,1\n" * 20_001, "is listed twice"),
    ],
)
def test_a_table_that_cannot_be_read_names_line_and_reason(
    text: str, complaint: str
) -> None:
    with pytest.raises(TableInvalid) as raised:
        read_invoices(text)
    assert complaint in str(raised.value)


def test_a_table_has_a_limit_of_lines() -> None:
    with pytest.raises(TableInvalid, match="more than 20,000 lines"):
        read_payments("reference,amount\n" + "x,1\n" * 20_000)


def test_payments_belong_to_the_invoice_whose_number_is_a_word_of_the_reference() -> (
    None
):
    invoices = [
        Invoice(number=number, amount=Decimal(10))
        for number in ("A-1", "A-11", "2026/7", "lot 5")
    ]
    references = ("your a-1!", "A-11, thanks", "(2026/7)", "LOT 5", "A-1 A-11", "")
    payments = [
        Payment(reference=text, amount=Decimal(n))
        for n, text in zip((10, 4, 12, 10, 1, 1), references, strict=True)
    ]
    matched = match(invoices, payments, Decimal(0))
    assert [line.outcome for line in matched.lines] == [
        "paid",
        "partly paid",
        "overpaid",
        "paid",
    ]
    assert [payment.reference for payment in matched.unassigned] == ["A-1 A-11", ""]
    assert matched.unsettled == 1


def test_a_small_difference_counts_as_paid_within_the_tolerance() -> None:
    invoices = [Invoice(number="1", amount=Decimal("10.00"))]
    payments = [Payment(reference="1", amount=Decimal("9.95"))]
    assert match(invoices, payments, Decimal("0.05")).unsettled == 0
    assert match(invoices, payments, Decimal("0.04")).unsettled == 1


def test_no_cell_of_the_report_is_a_formula() -> None:
    invoices = [Invoice(number="A", amount=Decimal(1), customer="=HYPERLINK(1)")]
    payments = [Payment(reference="@SUM(1)", amount=Decimal(-1), payer="+1")]
    text = report_csv(match(invoices, payments, Decimal(0)))
    first, second = lines_of(text)
    assert first["customer"] == "'=HYPERLINK(1)"
    assert (second["invoice"], second["customer"]) == ("'@SUM(1)", "'+1")


# On a database ------------------------------------------------------------------------------


@pytest.fixture
def person(transactional_db: None, settings: Any, tmp_path: Path) -> User:
    """Someone who launches and responds."""
    from tests.support.factories import make_user

    settings.MEDIA_ROOT = tmp_path
    settings.POLL_INTERVAL_SECONDS = 0.05
    return make_user("treasurer")


async def test_a_correction_and_a_late_payment_lead_to_a_report_that_can_be_downloaded(
    person: User,
) -> None:
    broken = INVOICES.replace("20.00", "twenty")
    params = {"invoices": broken, "payments": PAYMENTS, "account": "giro"}
    launched = await run_in_db(system.execute, "reconcile-payments", params, by=person)
    async with working():
        await reaches(launched.pk, "waiting")
        tables = {"invoices": INVOICES, "payments": PAYMENTS}
        await run_in_db(system.respond, launched.pk, tables, by=person, comment="typo")
        await until_it_waits_for_an_event(launched)
        sent = await run_in_db(
            system.send,
            "payment-received",
            "giro",
            LATE.model_dump(mode="json"),
            by=person,
        )
        run = await ended(launched.pk)
    assert [run_id for one in sent for run_id in one.runs] == [launched.pk]
    assert run.status == "completed", run.error_message
    file = await run_in_db(RunFile.objects.get, run=run)
    assert run.result["result"] == {
        "report": str(file.pk),
        "invoices": 2,
        "settled": 2,
        "open_amount": "0.00",
        "unassigned": 0,
    }
    content = await asyncio.to_thread(Path(file.file.path).read_bytes)
    assert [line["outcome"] for line in lines_of(content)] == ["paid", "paid"]


async def until_it_waits_for_an_event(run: Run) -> None:
    """Return when the run waits for the event of its account."""
    from tests.support.workers import until

    def is_waiting(row: Run) -> bool:
        waits = EventWait.objects.filter(run=row, key="giro")
        return row.status == "waiting" and waits.exists()

    await until(run.pk, is_waiting)
