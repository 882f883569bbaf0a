"""`manage.py new_workflow`: the files that it writes, and the names that it refuses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from workflows.engine.testing import run_in_memory
from workflows.registry import Registry

Write = Callable[..., str]


@pytest.fixture
def write(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Write]:
    """Return a function that calls the command in an empty directory."""
    settings.BASE_DIR, settings.WORKFLOW_APPS = tmp_path, ()
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def call(name: str, **options: str) -> str:
        out = StringIO()
        call_command("new_workflow", name, stdout=out, **options)
        return out.getvalue()

    yield call
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"new_team", "office"}:
            del sys.modules[name]


def test_the_workflow_is_found_and_its_test_passes(
    write: Write, tmp_path: Path
) -> None:
    text = write("say-hello", package="new_team")
    write("say-more", package="new_team")
    assert "make dev" in text
    assert "WORKFLOW_APPS=new_team" in text
    registry = Registry()
    registry.add_module(importlib.import_module("new_team.workflows"))
    assert [one.name for one in registry.list()] == ["say-hello", "say-more"]
    test = importlib.import_module("new_team.test_say_hello")
    test.test_it_greets_the_person()
    outcome = run_in_memory(test.say_hello, {"name": "Ada"})
    assert outcome.state.result == "Hello Ada!"
    code = (tmp_path / "new_team" / "say_hello.py").read_text()
    lines = [line for line in code.splitlines() if line and '"""' not in line]
    assert len(lines) <= 14


def test_an_existing_module_keeps_its_workflows(
    write: Write, tmp_path: Path, settings: Settings
) -> None:
    settings.WORKFLOW_APPS = ("office",)
    (tmp_path / "office").mkdir()
    (tmp_path / "office" / "workflows.py").write_text("number = 3")
    text = write("greet")
    assert "WORKFLOW_APPS" not in text
    module = importlib.import_module("office.workflows")
    assert module.number == 3
    assert module.greet.name == "greet"


@pytest.mark.parametrize(
    "name",
    ["Hello", "a b", "../x", "class", "workflows", "x" * 61, "-x", "classify-document"],
)
def test_a_name_that_cannot_be_used_is_refused(
    write: Write, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CommandError):
        write(name, package="new_team")
    with pytest.raises(CommandError):
        write("fine", package="../x")
    assert not list(tmp_path.iterdir())


def test_existing_files_are_kept(write: Write, tmp_path: Path) -> None:
    write("greet", package="new_team")
    path = tmp_path / "new_team" / "greet.py"
    path.write_text("mine")
    with pytest.raises(CommandError, match="exists"):
        write("greet", package="new_team")
    assert path.read_text() == "mine"
