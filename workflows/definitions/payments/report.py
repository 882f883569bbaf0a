"""Writes the report as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workflows.definitions.payments.matching import Matched

HEADING: Final = ("invoice", "customer", "amount", "paid", "difference", "outcome")
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # begins one in a spreadsheet


def report_csv(matched: Matched) -> str:
    """Return a line for each invoice, then one for each payment that belongs to none."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADING)
    for line in matched.lines:
        writer.writerow(
            (
                _safe(line.invoice.number),
                _safe(line.invoice.customer),
                line.invoice.amount,
                line.paid,
                line.difference,
                line.outcome,
            )
        )
    for payment in matched.unassigned:
        texts = _safe(payment.reference), _safe(payment.payer)
        writer.writerow((*texts, "", payment.amount, "", "not assigned"))
    return text.getvalue()


def _safe(text: str) -> str:
    """Return a text that no spreadsheet evaluates as a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text
