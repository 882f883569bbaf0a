"""The code in README.md and docs/authoring.md runs, and their tables say what the code does.

A page is one program: its python blocks run from top to bottom in one module, and so do
the tests that they define. A block's first line says more where there is more to say:

    ```python            runs; a `text` block right below is what it prints
    ```python raises     raises; the `text` block below is the error
    ```python mistyped   runs, but mypy refuses it; the `text` block below is why
    ```python django     runs too, but needs Django

mypy checks all blocks with --strict. Another word, or a `text` block alone, is an error.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from workflows.engine.codes import CODES
from workflows.engine.events import EVENT_TYPES

if TYPE_CHECKING:
    from django.forms import Form
    from django.forms.boundfield import BoundField

ROOT = Path(__file__).parent.parent
README, AUTHORING = PAGES = (ROOT / "README.md", ROOT / "docs" / "authoring.md")
KINDS = {"", "raises", "mistyped", "django"}
FENCE = re.compile(r"^( *)```(.*)$")


# Reading a page ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of code on a page."""

    page: Path
    line: int  # of its first line of code, from 1
    kind: str  # one of KINDS
    code: str
    shown: str | None  # the `text` block right below it

    @property
    def lines(self) -> range:
        """Return the lines of the page it takes up."""
        return range(self.line, self.line + self.code.count("\n") + 1)


@dataclass(frozen=True, slots=True)
class Fenced:
    """Whatever stands between two fences."""

    line: int
    info: str
    text: str
    follows: bool  # nothing but empty lines between it and the one before


def fenced(page: Path) -> Iterator[Fenced]:
    """Yield all that stands between fences. Raises ValueError for an odd fence."""
    opened, info, follows, inside = 0, "", False, list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and fence[1]:
            raise ValueError(f"{page.name}:{number}: a block begins at the margin.")
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
        raise ValueError(f"{page.name}:{opened}: a block has no end.")


def blocks(page: Path) -> list[Block]:
    """Return the code of a page in order. Raises ValueError for what it cannot place."""
    found: list[Block] = []
    for each in fenced(page):
        language, _, kind = each.info.partition(" ")
        if language == "python" and kind in KINDS:
            found.append(Block(page, each.line, kind, each.text, None))
        elif language == "text" and each.follows and found and not found[-1].shown:
            last = found.pop()
            found.append(Block(page, last.line, last.kind, last.code, each.text))
        elif language != "sh" or kind:
            raise ValueError(f"{page.name}:{each.line}: what is “{each.info}”?")
    return found


def rows(page: Path, *header: str) -> list[list[str]]:
    """Return the cells of every table of a page that has this header."""
    found, at = [], -1
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        at = (0 if cells == list(header) else at + (at >= 0)) if "|" in line else -1
        if at > 1:  # below the header and its line
            found.append(cells)
    return found


def ticked(text: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


# Running it -------------------------------------------------------------------------


def run(page: Path, *, django: bool = True) -> ModuleType:
    """Run a page from top to bottom; the module in which it ran."""
    module = ModuleType(f"page_{page.stem.lower()}")
    sys.modules[module.__name__] = module  # where types look names up
    tested: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in blocks(page):
            if django or block.kind != "django":
                _run_block(block, module)
                _run_tests(module, tested)
    return module


def _run_block(block: Block, module: ModuleType) -> None:
    """Run one block as if it stood alone at its place on the page."""
    where = f"{block.page.name}:{block.line}"
    code = compile("\n" * (block.line - 1) + block.code, str(block.page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if block.kind == "raises":
            shown = _raised(code, module, where)
        else:
            exec(code, vars(module))  # noqa: S102 - our own documentation
            shown = printed.getvalue().rstrip("\n")
    if block.kind != "mistyped" and (shown or block.shown is not None):
        assert shown.split("\n") == (block.shown or "").split("\n"), where


def _raised(code: Any, module: ModuleType, where: str) -> str:
    try:
        exec(code, vars(module))  # noqa: S102 - our own documentation
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{where}: nothing was raised")


def _run_tests(module: ModuleType, tested: set[str]) -> None:
    """Run the tests that a page defines, as pytest would."""
    for name, test in list(vars(module).items()):
        if name.startswith("test_") and name not in tested:
            tested.add(name)
            result = test()
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result


@pytest.fixture(scope="module")
def authoring() -> Iterator[ModuleType]:
    """Give docs/authoring.md as a module that has run, its workflows not registered."""
    from workflows.registry import registry

    known = [workflow.name for workflow in registry.list()]
    yield run(AUTHORING)
    for workflow in registry.list():
        if workflow.name not in known:
            registry.unregister(workflow.name)


def test_the_authors_page_runs(authoring: ModuleType) -> None:
    assert authoring.paid.status == "completed"
    assert len(blocks(AUTHORING)) > 30


def test_the_readme_runs() -> None:
    assert run(README).outcome.state["result"] == "a six!"


def test_the_readmes_workflow_has_ten_lines() -> None:
    code = blocks(README)[0].code
    assert len([line for line in code.splitlines() if line]) <= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_needs_no_django_where_it_says_so(page: Path) -> None:
    program = (
        "import sys; sys.modules.update(django=None, channels=None)\n"
        "from pathlib import Path; from tests.test_authoring import run\n"
        "run(Path(sys.argv[1]), django=False)"
    )
    done = _in_a_process(sys.executable, "-c", program, str(page))
    assert done.returncode == 0, done.stderr


def _in_a_process(
    *command: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_types_of_all_blocks_are_right(tmp_path: Path) -> None:
    """Give all pages to mypy at once, each line where it stands on its page."""
    settings = "[mypy]\nstrict = true\nfollow_imports = silent\nplugins = pydantic.mypy\n"
    (tmp_path / "mypy.ini").write_text(f"{settings}mypy_path = {ROOT}\n")
    found = {page: blocks(page) for page in PAGES}
    for page, code in found.items():
        (tmp_path / f"{page.stem.lower()}.py").write_text(_in_place(code))
    done = _in_a_process(
        *(sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-codes"),
        *("--config-file", str(tmp_path / "mypy.ini")),
        *("--cache-dir", str(tmp_path / "cache"), "--no-pretty"),
        *sorted(str(path) for path in tmp_path.glob("*.py")),
    )
    said = re.findall(r"(\w+)\.py:(\d+): error: (.*)", done.stdout)
    wanted = [b for code in found.values() for b in code if b.kind == "mistyped"]
    assert done.stderr == ""
    assert sorted(text for *_, text in said) == sorted(b.shown or "" for b in wanted)
    for stem, line, text in said:
        at = [b for b in wanted if b.page.stem.lower() == stem and int(line) in b.lines]
        assert [block.shown for block in at] == [text], f"{stem}, line {line}"


def _in_place(code: list[Block]) -> str:
    """Return blocks as one file, with empty lines in place of the text between them."""
    lines: list[str] = []
    for block in code:
        lines += [""] * (block.line - 1 - len(lines))
        lines += block.code.split("\n")
    return "\n".join(lines) + "\n"


# As an author would do it -----------------------------------------------------------


def test_the_first_workflow_of_each_page_runs_in_an_app(tmp_path: Path) -> None:
    for page in PAGES:
        app = tmp_path / f"team_{page.stem.lower()}"
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "workflows.py").write_text(blocks(page)[0].code)
    here = {
        "APPS": ",".join(sorted(path.name for path in tmp_path.iterdir())),
        "DATA_DIR": str(tmp_path / "var"),
        "PYTHONPATH": str(tmp_path),
        "DATABASE_URL": "",
    }
    manage = (sys.executable, "manage.py")
    migrated = _in_a_process(*manage, "migrate", "--verbosity=0", **here)
    assert migrated.returncode == 0, migrated.stderr
    for name, *param, result in (
        ("luck", "a six!"),
        ("hello", "--param", "name=Ada", "Hello Ada!"),
    ):
        done = _in_a_process(*manage, "run_workflow", name, *param, "--wait", **here)
        assert done.returncode == 0, done.stderr
        assert result in done.stdout


# The tables -------------------------------------------------------------------------


def documented_codes() -> dict[str, str]:
    """Return every code on the author's page with its meaning."""
    found = rows(AUTHORING, "Code", "Meaning", "What to do")
    codes = {ticked(code)[0]: meaning for code, meaning, _ in found}
    assert len(codes) == len(found), "a code is there twice"
    assert all(advice.endswith(".") for *_, advice in found)
    return codes


def test_the_tables_of_error_codes_are_those_of_the_code() -> None:
    documented = documented_codes()
    of_the_engine = {code: documented.get(code, "") for code in CODES}
    assert of_the_engine == dict(CODES)
    assert documented.keys() - CODES.keys() == codes_given_elsewhere() - CODES.keys()


def codes_given_elsewhere() -> set[str]:
    """Return the codes that runs are given outside of the engine, found in its source."""
    found = {"checkpoint_mismatch"}  # CheckpointMismatch.code
    places = [*(ROOT / "workflows").glob("execution/*.py")]
    places += (ROOT / "workflows").glob("models/*.py")
    for path in places:
        for part in ast.walk(ast.parse(path.read_text())):
            if isinstance(part, ast.keyword) and part.arg in {"code", "error_code"}:
                found |= _texts(part.value)
            elif isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "code":
                found |= _texts(part.value)
    return found - {""}


def _texts(value: ast.expr) -> set[str]:
    """Return the texts that an expression may be."""
    parts = value.values if isinstance(value, ast.BoolOp) else [value]
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    return {constant for constant in constants if isinstance(constant, str)}


def test_a_checkpoint_that_does_not_fit_has_the_code_that_is_documented() -> None:
    from workflows.engine.errors import CheckpointMismatch

    assert CheckpointMismatch.code in documented_codes()


def test_the_table_of_events_is_that_of_the_code() -> None:
    named = [ticked(event)[0] for event, *_ in rows(AUTHORING, "Event", "When", "Data")]
    assert named == list(EVENT_TYPES)


def test_events_carry_the_data_that_the_table_says() -> None:
    documented = {}
    for event, _, data in rows(AUTHORING, "Event", "When", "Data"):
        always, _, also = data.partition("; also ")
        documented[ticked(event)[0]] = (set(ticked(always)), set(ticked(also)))
    seen: dict[str, list[set[str]]] = {}
    for event in _a_tour_of_all_events():
        seen.setdefault(event.type, []).append(set(event.data) - _place_of(event.type))
    told = {
        event: (set.intersection(*keys), set.union(*keys) - set.intersection(*keys))
        for event, keys in seen.items()
    }
    assert told == documented


def _place_of(event: str) -> set[str]:
    """Return what events of a pattern carry besides their own data."""
    patterns = {"chain", "step", "parallel", "worker", "route"}
    return {"node", "sequence"} if event.partition(".")[0] in patterns else set()


def _a_tour_of_all_events() -> list[Any]:
    """Return the events of runs that meet everything: failures, retries, a resume."""
    from workflows.engine import Cancellation, Graph, State
    from workflows.engine.testing import run_in_memory

    tour = ModuleType("tour")
    exec(TOUR, vars(tour))  # noqa: S102 - stands below
    events = [*run_in_memory(tour.whole, {"items": [1, 2]}).events]
    for workflow in (tour.asking, tour.breaking, tour.failing, tour.unknown):
        events += run_in_memory(workflow, {"items": [1, 2]}).events
    recorder = tour.Recorder()
    graph = Graph("resumed", tour.KEPT, recorder, tour.store)
    state: State = tour.resumable.factory(graph, None, {"items": [1, 2]})
    for walk in (graph.execute(state.stamped(run_id="r")), graph.resume("r")):
        with contextlib.suppress(Exception):
            asyncio.run(walk)
    assert Cancellation  # the tour's module uses it
    return events + recorder.events


TOUR = ""
