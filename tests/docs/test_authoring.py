"""Run the code of README.md and of pages for authors, and compare their tables with the code."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import every_event, servers
from tests.support.doc_code import blocks, dead_links, in_place, rows, run, ticked
from workflows import engine
from workflows.engine.error_codes import CODES
from workflows.engine.errors import CheckpointMismatch
from workflows.engine.events import EVENT_TYPES

ROOT = Path(__file__).parents[2]
README, AUTHORING, PATTERNS, COOKBOOK = PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "authoring.md",
    ROOT / "docs" / "patterns.md",
    ROOT / "docs" / "cookbook.md",
)
MANAGE = (sys.executable, "manage.py")
MIN_BLOCKS = 40  # on the author's page: fewer, and something is not found any more
MYPY = """
[mypy]
strict = true
follow_imports = silent
plugins = pydantic.mypy
"""
CONTROLS = {  # a form field with its widget, and its name on the page
    ("ExactTextField", "TextInput"): "single-line text",
    ("ExactTextField", "Textarea"): "multi-line text",
    ("IntegerField", "NumberInput"): "number",
    ("FloatField", "NumberInput"): "number",
    ("BooleanField", "CheckboxInput"): "checkbox",
    ("JsonChoiceField", "RadioSelect"): "choices",
    ("JsonChoicesField", "CheckboxSelectMultiple"): "checkboxes",
    ("LinesField", "Textarea"): "multi-line text, one value per line",
    ("IsoField", "DateInput"): "date",
    ("IsoField", "TimeInput"): "time",
    ("ZonedDateTimeField", "DateTimeZoneInput"): "date and time",
    ("DocumentField", "Select"): "document drop-down",
    ("AgentField", "Select"): "agent drop-down",
    ("DocumentsField", "SelectMultiple"): "document list",
    ("JsonField", "Textarea"): "JSON",
}
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def authoring() -> Iterator[ModuleType]:
    """Yield docs/authoring.md as an executed module; unregister its workflows."""
    from workflows.registry import registry

    known = [workflow.name for workflow in registry.list()]
    yield run(AUTHORING)
    for workflow in registry.list():
        if workflow.name not in known:
            registry.unregister(workflow.name)


def in_a_process(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's directory, and return its output."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


# The code ---------------------------------------------------------------------------


def test_the_authors_page_runs(authoring: ModuleType) -> None:
    assert authoring.paid.status == "completed"
    assert len(blocks(AUTHORING)) >= MIN_BLOCKS


def test_the_readme_runs() -> None:
    assert run(README).outcome.state["result"] == "a six!"


def test_the_page_of_patterns_runs() -> None:
    assert run(PATTERNS).computed.status == "completed"


def test_every_control_flow_pattern_is_listed_once_with_a_verdict() -> None:
    listed = re.findall(
        r"^\| (\d+) \| [^|]+ \| (\w+) \|", PATTERNS.read_text(), re.MULTILINE
    )
    assert sorted(int(number) for number, _ in listed) == list(range(1, 44))
    verdicts = Counter(verdict for _, verdict in listed)
    assert set(verdicts) == {"direct", "way", "no"}
    assert verdicts["direct"] >= 30


def test_the_readmes_workflow_has_ten_lines() -> None:
    code = blocks(README)[0].code
    assert len([line for line in code.splitlines() if line]) == 10


@every_page
def test_pages_declared_free_of_django_do_not_import_it(page: Path) -> None:
    program = (
        "import sys; sys.modules.update(django=None, channels=None, asgiref=None)\n"
        "from pathlib import Path; from tests.support.doc_code import run\n"
        "run(Path(sys.argv[1]), django=False)"
    )
    done = in_a_process(sys.executable, "-c", program, str(page))
    assert done.returncode == 0, done.stderr


@pytest.mark.types
def test_all_code_blocks_pass_the_type_checker(tmp_path: Path) -> None:
    """Check all pages with one call of mypy, with their line numbers."""
    (tmp_path / "mypy.ini").write_text(f"{MYPY}mypy_path = {ROOT}\n")
    for page in PAGES:
        (tmp_path / f"{page.stem}.py").write_text(in_place(page))
    done = in_a_process(
        *(sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-codes"),
        *("--no-pretty", "--config-file", str(tmp_path / "mypy.ini")),
        *("--cache-dir", str(tmp_path / "cache")),
        *(str(tmp_path / f"{page.stem}.py") for page in PAGES),
    )
    output = re.findall(r"(\w+)\.py:(\d+): error: (.*)", done.stdout)
    wanted = [b for page in PAGES for b in blocks(page) if b.kind == "mistyped"]
    assert (done.stderr, done.returncode) == ("", 1 if wanted else 0)
    assert len(output) == len(wanted), done.stdout
    for page, line, text in output:
        at = [b for b in wanted if b.page.stem == page and int(line) in b.lines]
        assert [block.shown for block in at] == [text], f"{page}, line {line}"


def test_the_first_workflow_of_each_page_runs_in_an_app(tmp_path: Path) -> None:
    for page in PAGES:
        app = tmp_path / f"team_{page.stem.lower()}"
        app.mkdir()
        (app / "__init__.py").touch()
        (app / "workflows.py").write_text(blocks(page)[0].code)
    here = {
        "WORKFLOW_APPS": ",".join(sorted(path.name for path in tmp_path.iterdir())),
        "DATA_DIR": str(tmp_path / "var"),
        "DATABASE_URL": "",
        "PYTHONPATH": str(tmp_path),
        "SECRET_KEY": servers.SECRET_KEY,
    }
    (tmp_path / "var").mkdir()
    migrated = servers.migrated_file(Path(os.environ[servers.HOME]))
    shutil.copy(migrated, tmp_path / "var")
    for result, *arguments in (
        ("a six!", "luck"),
        ("Hello Ada!", "hello", "--param", "name=Ada"),
    ):
        done = in_a_process(*MANAGE, "run_workflow", "--wait", *arguments, **here)
        assert done.returncode == 0, done.stderr
        assert result in done.stdout


@pytest.mark.django_db
def test_drawing_of_the_example_matches_the_page(
    authoring: ModuleType,
) -> None:
    from tests.support.factories import make_document
    from workflows.pages.documents import evidence

    document = make_document(pk=authoring.large)
    shown = evidence.read(authoring.pending.pause.show)
    assert shown.document == document
    assert [page.number for page in shown.pages] == [1]
    assert [mark.text for mark in shown.pages[0].marks] == ["the total"]
    assert shown.rest == {"limit": 500.0}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```py\n1\n```", "page.md:2: unknown kind of block “py”."),
        ("```python skip\n1\n```", "page.md:2: unknown kind of block “python skip”."),
        (
            "```python\n1\n```\nand\n```text\n1\n```",
            "page.md:6: unknown kind of block “text”.",
        ),
        ("- so:\n\n  ```python\n  1\n  ```", "page.md:3: the fence must not"),
        ("```python\n1", "page.md:1: the block has no end."),
    ],
)
def test_no_block_is_skipped(tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=re.escape(complaint)):
        blocks(page)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```",
        "```python\nprint(1)\n```\n\n```text\n2\n```",
        "```python raises\n1\n```\n\n```text\nValueError: 2\n```",
        "```python\nasync def test_it() -> None:\n    assert False\n```",
    ],
)
def test_a_page_with_different_output_fails(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError):
        run(page)


@every_page
def test_links_within_a_page_resolve(page: Path) -> None:
    assert dead_links(page) == set()


# The tables -------------------------------------------------------------------------


def documented_codes() -> dict[str, str]:
    """Return every code in docs/authoring.md with its meaning."""
    found = rows(AUTHORING, "Code", "Meaning", "What to do")
    codes = {ticked(code)[0]: meaning for code, meaning, _ in found}
    assert len(codes) == len(found), "a code is there twice"
    assert all(advice.endswith(".") for *_, advice in found)
    return codes


def codes_given_elsewhere() -> set[str]:
    """Return the codes that are assigned outside of the engine, from the source."""
    found = {CheckpointMismatch.code}
    for package in ("execution", "models"):
        for path in (ROOT / "workflows" / package).glob("*.py"):
            for part in ast.walk(ast.parse(path.read_text())):
                found |= _code_in(part)
    return found - {""} - CODES.keys()


def _code_in(part: ast.AST) -> set[str]:
    """Return the strings in `code=…`, `error_code=…` and `code = … or …`."""
    if isinstance(part, ast.keyword):
        is_code = part.arg in {"code", "error_code"}
    else:
        is_code = isinstance(part, ast.Assign) and "code" in map(
            ast.unparse, part.targets
        )
    if not is_code or not isinstance(part, ast.keyword | ast.Assign):
        return set()
    value = part.value
    parts = value.values if isinstance(value, ast.BoolOp) else [value]
    return {str(each.value) for each in parts if isinstance(each, ast.Constant)}


def test_tables_of_error_codes_match_the_code() -> None:
    documented = documented_codes()
    of_the_engine = {code: documented.get(code, "") for code in CODES}
    assert of_the_engine == dict(CODES)
    assert documented.keys() - CODES.keys() == codes_given_elsewhere()


def test_table_of_events_matches_the_code() -> None:
    named = [ticked(event)[0] for event, *_ in rows(AUTHORING, "Event", "When", "Data")]
    assert named == list(EVENT_TYPES)


def test_events_carry_the_documented_data() -> None:
    documented = {}
    for name, _, data in rows(AUTHORING, "Event", "When", "Data"):
        always, _, also = data.partition("; also ")
        documented[ticked(name)[0]] = (set(ticked(always)), set(ticked(also)))
    seen: dict[str, list[set[str]]] = {}
    for event in every_event.events():
        seen.setdefault(event.type, []).append(set(event.data) - _place(event.type))
    message = {}
    for name, keys in seen.items():
        each_time = keys[0].intersection(*keys)
        message[name] = (each_time, keys[0].union(*keys) - each_time)
    assert message == documented


def _place(event: str) -> set[str]:
    """Return the common data of the events of a pattern."""
    patterns = {"chain", "step", "parallel", "worker", "route"}
    return {"node", "sequence"} if event.partition(".")[0] in patterns else set()


@pytest.mark.django_db
def test_launch_form_shows_the_documented_control(
    authoring: ModuleType,
) -> None:
    shown, documented = {}, {}
    for types, words in rows(AUTHORING, "You write", "The form shows"):
        for written in ticked(types):
            documented[written] = words.partition(" (")[0]
            shown[written] = control(eval(written, vars(authoring)))  # noqa: S307 - ours
    assert len(documented) > len(CONTROLS)
    assert shown == documented


def control(kind: Any) -> str:
    """Describe the control that a launch form shows for a type."""
    from pydantic import create_model

    from workflows.pages.forms.schema_form import UPLOAD, SchemaForm

    model = create_model("Params", value=(kind, ...))
    form = SchemaForm(model.model_json_schema())
    name, field = next(iter(form.fields.items()))
    if "." in name:
        return "field group"
    shown = CONTROLS[type(field).__name__, type(field.widget).__name__]
    return f"{shown}, with an upload" if name + UPLOAD in form.fields else shown


def test_table_of_the_runtime_is_complete() -> None:
    from workflows.runtime import protocols

    calls = " ".join(call for call, _ in rows(AUTHORING, "Call", "Gives"))
    there = {"key", "cancelled", "scheduled_for", "now", "outcome"}
    there |= {"progress", "result_of"}  # and `get`, as of documents
    there |= {"variables", "secrets"}
    for part in ("Documents", "Images", "Agents", "Profiles", "Logger"):
        methods = vars(getattr(protocols, part))
        there |= {name for name in methods if not name.startswith("_")}
    assert set(re.findall(r"\.(\w+)[(`[]", calls)) == there


def test_table_of_runtime_errors_is_complete() -> None:
    from workflows import runtime

    given = {name: getattr(runtime, name) for name in runtime.__all__}
    kinds = {
        n for n, e in given.items() if isinstance(e, type) and issubclass(e, Exception)
    }
    named = {ticked(error)[0] for error, _ in rows(AUTHORING, "Error", "Meaning")}
    assert named == kinds - {"ProviderError"}


def test_table_of_options_is_complete() -> None:
    from workflows.engine.testing import Options

    named = [ticked(option)[0] for option, _ in rows(AUTHORING, "Option", "Meaning")]
    assert sorted(named) == sorted(Options.__annotations__)


@pytest.mark.parametrize(
    "name", ["parallel", "chain", "conditional", "approval", "subworkflow"]
)
def test_signature_of_a_pattern_matches_the_code(name: str) -> None:
    written = re.search(rf"^`{name}\((.*?)\)`", AUTHORING.read_text(), re.MULTILINE)
    assert written is not None
    scope: dict[str, Any] = {}
    exec(f"def documented({written[1]}): ...", scope)  # noqa: S102 - our own page
    documented = inspect.signature(scope["documented"]).parameters
    there = inspect.signature(getattr(engine, name)).parameters
    message = {name: (one.kind, one.default) for name, one in documented.items()}
    assert message == {
        n: (there[n].kind, there[n].default) for n in documented if n in there
    }
    left_out = there.keys() - documented.keys()
    assert left_out <= {"config", "cpus"}
