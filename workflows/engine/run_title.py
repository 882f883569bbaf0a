"""Titles of runs: a template over the stored params that executes no author code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from string import Formatter
from typing import Any

from .errors import DefinitionError

MAX_CHARS = 120
MAX_ITEMS = 3  # of a list that are written out
PATH = re.compile(r"params((?:\.[^.\[\]]+|\[\w+\])+)")
STEP = re.compile(r"\.([^.\[\]]+)|\[(\w+)\]")
# "," and "_" separate thousands; widths are refused: they could fill the memory
FORMAT = re.compile(r"[+]?[,_]?(\.\d{1,2})?[fge%]?")


class RunTitle:
    """A template such as "{params.employee}, {params.amount:,.2f} EUR".

    A field is a path into the params as they are stored: keys after dots, keys or positions
    in brackets. It may have the format of a number.
    """

    def __init__(self, workflow: str, template: str) -> None:
        """Parse the template. Raises DefinitionError."""
        where = f"Workflow “{workflow}”: its run_title “{template}”"
        try:
            parts = list(Formatter().parse(template))
        except ValueError as error:
            raise DefinitionError(f"{where} is not a template: {error}.") from error
        self._parts: list[tuple[str, tuple[str, ...], str]] = []
        for literal, path, spec, conversion in parts:
            if path is None:
                self._parts.append((literal, (), ""))
                continue
            if not PATH.fullmatch(path) or conversion:
                raise DefinitionError(
                    f"{where} has the field “{{{path}}}”. A field is {{params.name}}, "
                    "optionally with the format of a number: {params.amount:,.2f}."
                )
            if not FORMAT.fullmatch(spec or ""):
                raise DefinitionError(
                    f"{where} has the format “{spec}”, which is none of a number without a "
                    "width, such as “,.2f”."
                )
            keys = tuple(key or position for key, position in STEP.findall(path))
            self._parts.append((literal, keys, spec or ""))
        self._where = where

    @property
    def params(self) -> frozenset[str]:
        """The names of the params that appear in the title."""
        return frozenset(keys[0] for _, keys, _ in self._parts if keys)

    def check(self, known: Iterable[str]) -> None:
        """Raise DefinitionError if a param is not among the known ones."""
        names = list(known)
        if unknown := sorted(self.params - set(names)):
            raise DefinitionError(
                f"{self._where} names “params.{unknown[0]}”, and the params are "
                f"{', '.join(names) or 'none'}."
            )

    def render(self, params: Mapping[str, Any]) -> str:
        """Return the title: one line, "" for values that do not exist."""
        return one_line(
            "".join(
                literal + (text_of(_at(params, keys), spec) if keys else "")
                for literal, keys, spec in self._parts
            )
        )


def one_line(text: str) -> str:
    """Return a text as one line of at most MAX_CHARS characters."""
    line = " ".join(text[: 10 * MAX_CHARS].split())
    return line if len(line) <= MAX_CHARS else line[: MAX_CHARS - 1].rstrip() + "…"


def text_of(value: Any, spec: str = "") -> str:
    """Return a JSON value as part of a title."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        more = f" and {len(value) - MAX_ITEMS} more" if len(value) > MAX_ITEMS else ""
        return ", ".join(text_of(item, spec) for item in value[:MAX_ITEMS]) + more
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    try:
        # decimals are stored as text, so that they stay exact
        number = Decimal(value) if isinstance(value, str) and spec else value
        return format(number, spec)
    except (ValueError, ArithmeticError):  # no number, or one without an end
        return value if isinstance(value, str) else "…"


def _at(value: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value
