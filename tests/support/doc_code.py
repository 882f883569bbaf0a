"""Reads code blocks and tables of a documentation page, and runs the code.

A page is one program: its python blocks run from top to bottom in one module, and so do
the tests that they define. The info string of a block defines how it is run:

    ```python            runs; a `text` block directly below is its output
    ```python raises     raises; the `text` block below is the error
    ```python mistyped   runs, but mypy rejects it; the `text` block below is the message
    ```python django     runs and needs Django
    ```sh                is not run

Any other block is an error, and so is a `text` block without code: no block is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

KINDS = {"", "raises", "mistyped", "django"}
FENCE = re.compile(r"^( *)```(.*)$")


# Reading ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A python block of a page."""

    page: Path
    line: int  # of its first line of code, from 1
    kind: str  # one of KINDS
    code: str
    shown: str | None = None  # the `text` block directly below it

    @property
    def where(self) -> str:
        """Return file and line in the format that editors open."""
        return f"{self.page.name}:{self.line}"

    @property
    def lines(self) -> range:
        """Return the line numbers of the block."""
        return range(self.line, self.line + self.code.count("\n") + 1)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A code block between two fences."""

    line: int
    info: str  # the text after the opening fence
    text: str
    follows: bool  # only empty lines are between it and the previous block


def blocks(page: Path) -> list[Block]:
    """Return the python blocks of a page in order. Raises ValueError for unknown blocks."""
    found: list[Block] = []
    for each in fenced(page):
        language, _, kind = each.info.partition(" ")
        if language == "python" and kind in KINDS:
            found.append(Block(page, each.line, kind, each.text))
        elif each.info == "text" and each.follows and found and not found[-1].shown:
            found[-1] = replace(found[-1], shown=each.text)
        elif each.info != "sh":
            raise ValueError(
                f"{page.name}:{each.line}: unknown kind of block “{each.info}”."
            )
    return found


def fenced(page: Path) -> Iterator[Fenced]:
    """Yield all code blocks. Raises ValueError for an invalid fence."""
    opened, info, follows, inside = 0, "", False, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and fence[1]:
            raise ValueError(f"{page.name}:{number}: the fence must not be indented.")
        if fence and not opened:
            opened, info, inside = number, fence[2], []
        elif fence:
            yield Fenced(opened + 1, info, "\n".join(inside), follows)
            opened, follows = 0, True
        elif opened:
            inside.append(line)
        elif line.strip():
            follows = False
    if opened:
        raise ValueError(f"{page.name}:{opened}: the block has no end.")


def rows(page: Path, *header: str) -> list[list[str]]:
    """Return the cells of every table of a page that has this header."""
    found: list[list[str]] = []
    at = -1  # number of the line within such a table; the header is 0
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if cells == list(header):
            at = 0
        elif at >= 0 and line.startswith("|"):
            at += 1
        else:
            at = -1
        if at > 1:  # below the header and its separator
            found.append(cells)
    return found


def ticked(text: str) -> list[str]:
    """Return all texts between backticks."""
    return re.findall(r"`([^`]+)`", text)


def dead_links(page: Path) -> set[str]:
    """Return the anchors that a page links to and does not define."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    there = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
    return set(re.findall(r"\]\(#([^)]+)\)", text)) - there


# Running ----------------------------------------------------------------------------


def run(page: Path, *, django: bool = True) -> ModuleType:
    """Run a page from top to bottom; return the module in which it ran.

    Raises AssertionError with the position of a block whose output differs from the page.
    """
    module = ModuleType(f"page_{page.stem.lower()}")
    sys.modules[module.__name__] = module  # needed to resolve type annotations
    tested: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks(page):
            if django or block.kind != "django":
                _run_block(block, module)
                _run_tests(module, tested)
    return module


def _run_block(block: Block, module: ModuleType) -> None:
    # Leading newlines make tracebacks show the line numbers of the page.
    code = compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        raised = _raised(code, module) if block.kind == "raises" else None
        if block.kind != "raises":
            exec(code, vars(module))  # noqa: S102 - our own documentation
    shown = printed.getvalue().rstrip("\n") if raised is None else raised
    wanted = "" if block.kind == "mistyped" else block.shown or ""
    assert shown.split("\n") == wanted.split("\n"), block.where


def _raised(code: Any, module: ModuleType) -> str:
    try:
        exec(code, vars(module))  # noqa: S102 - our own documentation
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def _run_tests(module: ModuleType, tested: set[str]) -> None:
    """Run each test that a page defines once."""
    for name, test in list(vars(module).items()):
        if name.startswith("test_") and name not in tested:
            tested.add(name)
            result = test()
            if inspect.iscoroutine(result):
                asyncio.run(result)


def in_place(page: Path) -> str:
    """Return the code of a page as one module, with empty lines in place of prose."""
    lines: list[str] = []
    for block in blocks(page):
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.split("\n")
    return "\n".join(lines) + "\n"
