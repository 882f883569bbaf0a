"""Reads invoices and payments from CSV, or from rows that were copied in a spreadsheet."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from pydantic import BaseModel, Field

from workflows.runtime import Invalid

DELIMITERS: Final = "\t;,"
MAX_ROWS: Final = 20_000
MAX_TEXT_CHARS: Final = 200
AMOUNT: Final = re.compile(r"-?\d{1,12}([.,]\d{1,2})?")
EXAMPLE: Final = "1234.50"
NUMBER, REFERENCE, TOTAL = "number", "reference", "amount"
HEADINGS: Final = {  # of a column, by its name here
    NUMBER: ("number", "invoice"),
    REFERENCE: ("reference", "purpose"),
    TOTAL: ("amount", "total"),
    "customer": ("customer", "name"),
    "payer": ("payer", "name"),
}

Row = dict[str, str]  # by name of the column


class TableInvalid(Invalid):
    """A table cannot be read; the message names the line."""


class Invoice(BaseModel):
    """A row of the invoices."""

    number: str
    amount: Decimal
    customer: str = ""


class Payment(BaseModel):
    """A row of the payments, or a payment that arrives later."""

    reference: str = Field(max_length=MAX_TEXT_CHARS)
    amount: Decimal = Field(max_digits=14, decimal_places=2)
    payer: str = Field("", max_length=MAX_TEXT_CHARS)


def read_invoices(text: str) -> list[Invoice]:
    """Return the invoices. Raises TableInvalid, also for a number that is there twice."""
    found: dict[str, Invoice] = {}
    for line, row in _rows("invoices", text, NUMBER, "customer"):
        number = row[NUMBER]
        if number.casefold() in found:
            raise _invalid("invoices", line, f"the invoice {number} is listed twice")
        found[number.casefold()] = Invoice(
            number=number,
            amount=_amount("invoices", line, row[TOTAL]),
            customer=row["customer"],
        )
    if not found:
        raise TableInvalid("There are no invoices: the table has only a heading.")
    return list(found.values())


def read_payments(text: str) -> list[Payment]:
    """Return the payments, perhaps none. Raises TableInvalid."""
    return [
        Payment(
            reference=row[REFERENCE],
            amount=_amount("payments", line, row[TOTAL]),
            payer=row["payer"],
        )
        for line, row in _rows("payments", text, REFERENCE, "payer")
    ]


def _rows(table: str, text: str, key: str, optional: str) -> Iterator[tuple[int, Row]]:
    """Yield the number and the columns of each line that is not empty."""
    lines = text.strip().splitlines()
    if not lines:
        raise TableInvalid(f"There are no {table}: enter a table with a heading line.")
    delimiter = max(DELIMITERS, key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        places = _places(table, next(reader), key, optional)
        for cells in reader:
            if reader.line_num > MAX_ROWS:
                raise TableInvalid(f"The {table} have more than {MAX_ROWS:,} lines.")
            if any(cell.strip() for cell in cells):
                yield reader.line_num, _row(table, reader.line_num, cells, places)
    except csv.Error as error:
        raise _invalid(table, reader.line_num, str(error)) from error


def _places(table: str, heading: list[str], key: str, optional: str) -> dict[str, int]:
    """Return the position of each column; that of an optional one may be missing."""
    names = [name.strip().casefold() for name in heading]
    places = {
        column: names.index(name)
        for column in (optional, key, TOTAL)
        for name in HEADINGS[column]
        if name in names
    }
    if missing := [column for column in (key, TOTAL) if column not in places]:
        raise TableInvalid(
            f"The {table} have no column “{missing[0]}”. Their heading is: "
            f"{', '.join(heading)[:MAX_TEXT_CHARS]}."
        )
    return places


def _row(table: str, line: int, cells: list[str], places: dict[str, int]) -> Row:
    row = {"customer": "", "payer": ""}
    for column, place in places.items():
        cell = cells[place].strip() if place < len(cells) else ""
        if len(cell) > MAX_TEXT_CHARS:
            limit = f"is longer than {MAX_TEXT_CHARS} characters"
            raise _invalid(table, line, f"the {column} {limit}")
        if not cell and column not in row:
            raise _invalid(table, line, f"the {column} is missing")
        row[column] = cell
    return row


def _amount(table: str, line: int, text: str) -> Decimal:
    if not AMOUNT.fullmatch(text):
        what = f"the amount “{text}” is not a number such as {EXAMPLE}"
        raise _invalid(table, line, what)
    return Decimal(text.replace(",", ".")).quantize(Decimal("0.01"))


def _invalid(table: str, line: int, what: str) -> TableInvalid:
    return TableInvalid(f"Line {line} of the {table}: {what}.")
