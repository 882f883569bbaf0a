"""Reconcile payments: which invoices are paid, from two tables, with a report as CSV."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from workflows.definitions.payments import (
    Invoice,
    Matched,
    Payment,
    TableInvalid,
    match,
    read_invoices,
    read_payments,
    report_csv,
)
from workflows.engine import (
    State,
    Workflow,
    all_of,
    approval,
    branches,
    event,
    node,
    otherwise,
    predicate,
    when,
    when_failed,
)
from workflows.runtime import DocumentRef, Runtime

WAIT = timedelta(days=14)  # for the next payment
CORRECT = timedelta(days=30)
MAX_TABLE_CHARS = 400_000  # of each table, within MAX_PARAMS_BYTES
MULTILINE: dict[str, Any] = {"format": "multiline"}


class Tables(BaseModel):
    """The two tables; also the form in which a person corrects them."""

    invoices: str = Field(
        max_length=MAX_TABLE_CHARS,
        title="Invoices",
        description="A heading line with number, amount and, optionally, customer; then a "
        "line for each invoice. Paste a CSV file, or cells from a spreadsheet.",
        json_schema_extra=MULTILINE,
    )
    payments: str = Field(
        "",
        max_length=MAX_TABLE_CHARS,
        title="Payments",
        description="A heading line with reference, amount and, optionally, payer. The "
        "reference contains the number of the invoice.",
        json_schema_extra=MULTILINE,
    )


class Params(Tables):
    """Launch parameters."""

    account: str = Field(
        "main",
        min_length=1,
        max_length=60,
        title="Account",
        description="Payments that arrive later are events “payment-received” with this "
        "key.",
    )
    tolerance: Decimal = Field(
        Decimal("0.00"),
        ge=0,
        max_digits=8,
        decimal_places=2,
        title="Tolerance",
        description="An invoice counts as paid if no more than this is missing.",
    )
    wait: bool = Field(
        default=True,
        title="Wait for late payments",
        description="While invoices are open, wait up to 14 days for each next payment.",
    )


class Read(BaseModel):
    """The tables as they were read."""

    invoices: list[Invoice]
    payments: list[Payment]


class Result(BaseModel):
    """Result of the run."""

    report: DocumentRef
    invoices: int
    settled: int
    open_amount: Decimal  # that is missing, over all invoices
    unassigned: int  # payments of no invoice, or of several


class Reconciliation(State):
    """State of the run."""

    params: Params
    corrected: Tables | None = None  # in place of those of the params
    read: Read | None = None
    late: tuple[Payment, ...] = ()  # arrived while the run waited
    newest: Payment | None = None
    matched: Matched | None = None
    result: Result | None = None

    @property
    def tables(self) -> Tables:
        """The tables to read."""
        return self.corrected or self.params

    @property
    def progress(self) -> str:
        """How many invoices are settled, as a text."""
        lines = self.matched.lines if self.matched else ()
        settled = len(lines) - (self.matched.unsettled if self.matched else 0)
        return f"{settled} of {len(lines)} invoices are settled"

    @property
    def problem(self) -> str:
        """Why a table cannot be read, without the branch that read it."""
        message = self.failure.message if self.failure else ""
        return message.partition("”: ")[2] or message


@node
def read_invoice_table(state: Reconciliation) -> list[Invoice]:
    """Read the invoices."""
    return read_invoices(state.tables.invoices)


@node
def read_payment_table(state: Reconciliation) -> list[Payment]:
    """Read the payments."""
    text = state.tables.payments
    return read_payments(text) if text.strip() else []


@node
def match_payments(state: Reconciliation, runtime: Runtime) -> Reconciliation:
    """Assign the payments to the invoices."""
    read = state.read or Read(invoices=[], payments=[])
    payments = [*read.payments, *state.late]
    matched = match(read.invoices, payments, state.params.tolerance)
    for payment in matched.unassigned:
        runtime.logger.warning("Not assigned: %s.", payment.reference)
    return state.set(matched=matched)


@node
def add_payment(state: Reconciliation) -> Reconciliation:
    """Add the payment that arrived."""
    newest = () if state.newest is None else (state.newest,)
    return state.set(late=(*state.late, *newest), newest=None)


@node
async def write_report(state: Reconciliation, runtime: Runtime) -> Reconciliation:
    """Write the report, and sum up."""
    matched = state.matched or Matched(lines=(), unassigned=())
    report = await runtime.documents.add("reconciliation.csv", report_csv(matched))
    missing = [max(line.difference, Decimal("0.00")) for line in matched.lines]
    result = Result(
        report=report,
        invoices=len(matched.lines),
        settled=len(matched.lines) - matched.unsettled,
        open_amount=sum(missing, Decimal("0.00")),
        unassigned=len(matched.unassigned),
    )
    return state.set(result=result)


@predicate("{s.progress}")
def has_open_invoices(state: Reconciliation) -> bool:
    """Whether an invoice is not fully paid."""
    return state.matched is not None and state.matched.unsettled > 0


@predicate("late payments are waited for: {s.params.wait}")
def waits(state: Reconciliation) -> bool:
    """Whether the run waits for payments."""
    return state.params.wait


read_tables = branches(
    {"invoices": read_invoice_table, "payments": read_payment_table},
    into="read",
    name="read_tables",
)
correct_tables = approval(
    "{s.problem} Correct the table.",
    answer=Tables,
    into="corrected",
    initial=lambda s: Tables(invoices=s.tables.invoices, payments=s.tables.payments),
    within=CORRECT,
    name="correct_tables",
)
wait_for_payment = event(
    "payment-received",
    answer=Payment,
    into="newest",
    key=lambda s: s.params.account,
    within=WAIT,
    name="wait_for_payment",
)

reconcile_payments = Workflow(
    "reconcile-payments",
    title="Reconcile payments",
    description="Compares invoices with payments from two tables, waits for late "
    "payments, and writes a report as CSV. Needs no language model.",
    state=Reconciliation,
    run_title="{params.account}",
    start=read_tables,
    routes={
        read_tables: [
            when_failed(correct_tables, on=TableInvalid),
            otherwise(match_payments),
        ],
        correct_tables: read_tables,
        match_payments: [
            when(all_of(has_open_invoices, waits), wait_for_payment),
            otherwise(write_report),
        ],
        wait_for_payment: [when_failed(write_report), otherwise(add_payment)],
        add_payment: match_payments,
    },
)
