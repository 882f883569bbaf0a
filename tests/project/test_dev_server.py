"""`make dev`: restarts after a change, and a page for an error in a workflow file."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from project import dev_server
from project.dev_server import Problem, environment, error_page, packages, snapshot

TRACEBACK = """Traceback (most recent call last):
  File "{root}/manage.py", line 38, in <module>
    main()
  File "{root}/workflows/registry.py", line 190, in _imported
    return call_contained(partial(importlib.import_module, name))
  File "{root}/team/workflows.py", line 14, in <module>
    hello = Workflow("hello", state=Greeting, start=greet, routes={{greet: 3}})
  File "{root}/workflows/engine/workflow.py", line 210, in __init__
    raise DefinitionError(message)
  File "{root}/.venv/lib/python3.11/site-packages/pydantic/main.py", line 3, in x
workflows.engine.errors.DefinitionError: Node “greet”: <3> is no route. Use a node.
"""


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_culprit_is_the_last_line_of_the_authors_code(tmp_path: Path) -> None:
    problem = Problem.of(TRACEBACK.format(root=tmp_path), tmp_path)
    assert problem.place == "team/workflows.py, line 14"
    assert problem.message.endswith("Node “greet”: <3> is no route. Use a node.")
    page = problem.page().decode()
    assert "<code>team/workflows.py, line 14</code>" in page
    assert "&lt;3&gt; is no route" in page
    assert "<3>" not in page


def test_an_output_without_a_place_is_shown_as_it_is(tmp_path: Path) -> None:
    problem = Problem.of("Port 8000 is in use.\n", tmp_path)
    assert (problem.message, problem.place) == ("Port 8000 is in use.", "")
    assert Problem.of("", tmp_path).message == "The server ended without a message."


def test_an_error_is_served_until_the_block_ends(tmp_path: Path) -> None:
    problem = Problem.of(TRACEBACK.format(root=tmp_path), tmp_path)
    with error_page(problem, "127.0.0.1", 0) as port:
        address = f"http://127.0.0.1:{port}/runs/"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address)
        with caught.value as answer:
            assert answer.code == 503
            assert "team/workflows.py, line 14" in answer.read().decode()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address)


def test_changes_of_python_files_are_noticed(tmp_path: Path) -> None:
    touch(tmp_path / "team" / "workflows.py")
    touch(tmp_path / "tests" / "test_it.py")
    touch(tmp_path / ".venv" / "x.py")
    touch(tmp_path / "templates" / "home.html")
    before = snapshot(tmp_path)
    assert list(before) == [tmp_path / "team" / "workflows.py"]
    os.utime(tmp_path / "team" / "workflows.py", ns=(1, 1))
    assert snapshot(tmp_path) != before
    touch(tmp_path / "team" / "more.py")
    assert len(snapshot(tmp_path)) == 2


def test_packages_with_workflows_are_installed_unless_they_are_set(
    tmp_path: Path,
) -> None:
    for name in ("team", "workflows", "office"):
        touch(tmp_path / name / "__init__.py")
        touch(tmp_path / name / "workflows.py")
    touch(tmp_path / "loose" / "workflows.py")
    assert packages(tmp_path) == ["office", "team"]
    assert environment({}, tmp_path)["WORKFLOW_APPS"] == "office,team"
    given = {"WORKFLOW_APPS": "team", "DRAIN_SECONDS": "20", "DEBUG": ""}
    assert environment(given, tmp_path) == {**given, "DEBUG": "1"}


def test_a_server_that_cannot_start_leaves_a_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    touch(tmp_path / "manage.py", "import sys\nsys.exit('No room.')\n")
    monkeypatch.setattr(dev_server, "ROOT", tmp_path)
    child = dev_server.Child({"PATH": os.environ["PATH"]})
    child.process.wait(timeout=60)
    assert child.problem is not None
    assert child.problem.message == "No room."
    child.stop()
