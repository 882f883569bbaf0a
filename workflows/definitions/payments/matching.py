"""Assigns payments to invoices by the numbers in their references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal

from pydantic import BaseModel

from workflows.definitions.payments.tables import Invoice, Payment

Outcome = Literal["paid", "partly paid", "open", "overpaid"]
PAID: Final = "paid"
PARTLY_PAID: Final = "partly paid"
WORD: Final = re.compile(r"[\w/.-]*\w")  # such as INV-17 or 2026/117


class Line(BaseModel):
    """An invoice with what was paid for it."""

    invoice: Invoice
    paid: Decimal
    outcome: Outcome

    @property
    def difference(self) -> Decimal:
        """What is missing; negative if too much was paid."""
        return self.invoice.amount - self.paid


class Matched(BaseModel):
    """All invoices, and the payments that belong to none or to several of them."""

    lines: tuple[Line, ...]
    unassigned: tuple[Payment, ...]

    @property
    def unsettled(self) -> int:
        """The number of invoices that are not fully paid."""
        return sum(line.outcome in {"open", PARTLY_PAID} for line in self.lines)


def match(
    invoices: Sequence[Invoice], payments: Sequence[Payment], tolerance: Decimal
) -> Matched:
    """Return each invoice with the sum of its payments.

    A payment belongs to the invoice whose number is a word of its reference, in any case. A
    difference up to `tolerance` counts as paid.
    """
    known = {invoice.number.casefold() for invoice in invoices}
    sums = dict.fromkeys(known, Decimal("0.00"))
    unassigned = []
    for payment in payments:
        numbers = numbers_in(payment.reference) & known
        if len(numbers) == 1:
            sums[numbers.pop()] += payment.amount
        else:
            unassigned.append(payment)
    lines = [
        _line(invoice, sums[invoice.number.casefold()], tolerance)
        for invoice in invoices
    ]
    return Matched(lines=tuple(lines), unassigned=tuple(unassigned))


def numbers_in(reference: str) -> set[str]:
    """Return what may be the number of an invoice: the words, and the whole reference."""
    folded = reference.casefold()
    return {*WORD.findall(folded), folded.strip()}


def _line(invoice: Invoice, paid: Decimal, tolerance: Decimal) -> Line:
    missing = invoice.amount - paid
    outcome: Outcome = "paid"
    if missing > tolerance:
        outcome = "partly paid" if paid > 0 else "open"
    elif missing < -tolerance:
        outcome = "overpaid"
    return Line(invoice=invoice, paid=paid, outcome=outcome)
