"""Invoices and payments: read from CSV, matched, and written as a report."""

from workflows.definitions.payments.matching import (
    PARTLY_PAID,
    Line,
    Matched,
    match,
)
from workflows.definitions.payments.report import report_csv
from workflows.definitions.payments.tables import (
    Invoice,
    Payment,
    TableInvalid,
    read_invoices,
    read_payments,
)

__all__ = [
    "PARTLY_PAID",
    "Invoice",
    "Line",
    "Matched",
    "Payment",
    "TableInvalid",
    "match",
    "read_invoices",
    "read_payments",
    "report_csv",
]
