"""`manage.py new_workflow NAME`: write a workflow of ten lines, with a test."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.management import BaseCommand, CommandError

from workflows.registry import registry

if TYPE_CHECKING:
    from django.core.management import CommandParser

NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
PACKAGE: Final = "team"  # if WORKFLOW_APPS names none
MAX_NAME_LENGTH: Final = 60
WORKFLOW: Final = '''"""{title}."""

from pydantic import BaseModel

from workflows.engine import State, Workflow, node


class Params(BaseModel):
    """Launch parameters: the form."""

    name: str


class Greeting(State):
    """State of a run: the parameters, and what the nodes add."""

    params: Params
    result: str = ""


@node
def greet(state: Greeting) -> Greeting:
    """Greet the person."""
    return state.set(result=f"Hello {{state.params.name}}!")


{module} = Workflow("{name}", state=Greeting, start=greet, routes={{}})
'''
TEST: Final = '''"""Tests of {name}, in memory: `python -m pytest {package}`."""

from {package}.{module} import {module}
from workflows.engine.testing import run_in_memory


def test_it_greets_the_person() -> None:
    """The result has the name."""
    outcome = run_in_memory({module}, {{"name": "Ada"}})
    assert outcome.state.result == "Hello Ada!"
'''
FOUND: Final = (
    '"""The workflows of this package: servers and workers import this module."""\n'
)
IMPORT: Final = "from {package}.{module} import {module} as {module}\n"


class Command(BaseCommand):
    """Writes only new files, and a line at the end of the package's `workflows.py`."""

    help = "Write a workflow of ten lines with a test, where servers find it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the arguments."""
        parser.add_argument("name", help="small letters, digits and hyphens")
        parser.add_argument(
            "--package",
            help=f"Python package next to manage.py; the first of WORKFLOW_APPS, or {PACKAGE}",
        )

    def handle(self, *, name: str, package: str | None, **_: Any) -> None:
        """Write the files."""
        package = package or next(iter(settings.WORKFLOW_APPS), PACKAGE)
        module = name.replace("-", "_")
        _check(name, module, package)
        folder = Path(settings.BASE_DIR) / package
        title = name.replace("-", " ").capitalize()
        values = {"name": name, "module": module, "package": package, "title": title}
        new = {
            folder / f"{module}.py": WORKFLOW,
            folder / f"test_{module}.py": TEST,
        }
        if taken := [path for path in new if path.exists()]:
            raise CommandError(f"{taken[0]} exists: choose another name.")
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
        for path, text in new.items():
            path.write_text(text.format(**values), encoding="utf-8")
        _register(folder / "workflows.py", IMPORT.format(**values))
        self._report(folder, module, package)

    def _report(self, folder: Path, module: str, package: str) -> None:
        self.stdout.write(
            f"Written: {folder / f'{module}.py'} and its test.\n"
            f"Test it:  .venv/bin/python -m pytest {package}   (after `make test` once)\n"
            "Serve it: make dev"
        )
        if package not in settings.WORKFLOW_APPS:
            self.stdout.write(f"On other servers, set WORKFLOW_APPS={package}.")


def _check(name: str, module: str, package: str) -> None:
    """Raise CommandError for names that cannot be used."""
    if not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise CommandError(
            f"“{name}” can’t be used: begin with a small letter; use small letters, digits"
            " and single hyphens, such as check-invoices."
        )
    if keyword.iskeyword(module) or module == "workflows":
        raise CommandError(f"“{name}” is reserved by Python or Signalbox.")
    if not package.isidentifier() or keyword.iskeyword(package):
        raise CommandError(f"“{package}” is not a name of a package next to manage.py.")
    if registry.find(name) is not None:
        raise CommandError(f"There is a workflow “{name}” already.")


def _register(path: Path, line: str) -> None:
    """Add an import to the module that servers and workers import."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"{FOUND}\n"
    if not text.endswith("\n"):
        text += "\n"
    path.write_text(text + line, encoding="utf-8")
