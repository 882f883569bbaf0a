"""The workflows this installation knows, by name.

They come from our own `definitions/` and from the `workflows.py` of every installed app,
found once when Django is ready. A module-level `Workflow` is registered; so is anything
passed to `register`, for factories. Two workflows cannot share a name.
"""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import re
import sys
import threading
import traceback
from contextlib import contextmanager
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from workflows import definitions
from workflows.engine import Workflow
from workflows.engine.author_code import call_contained
from workflows.engine.errors import (
    DefinitionError,
    ExitRaised,
    NotSerialisable,
    RequestError,
    describe,
)
from workflows.engine.factory import Factory, FactoryWorkflow
from workflows.engine.frozen import freeze
from workflows.engine.value_comparison import difference
from workflows.errors import SubworkflowMissing, WorkflowNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import ModuleType


AnyWorkflow = Workflow[Any] | FactoryWorkflow
"""What can be launched."""


NAME = re.compile(r"[^\W_][^/\x00-\x1f\x7f\ud800-\udfff]{0,99}")


class ModuleRefused(SystemExit):
    """A module of workflows tried to end the process while it was imported.

    The process ends with this sentence and exit code 1.
    """

    def __init__(self, name: str, raised: str, place: str) -> None:
        """Take the module, the description of its error, and the line that raised it."""
        where = f" ({place})" if place else ""
        super().__init__(
            f"Signalbox did not start: the module {name} raised {raised} while it was"
            f" imported{where}. A module of workflows defines them and ends nothing."
        )


class VersionRefused(RequestError):
    """Another version of the file of a workflow cannot be used."""

    status = 422


def _must_have_options(workflow: AnyWorkflow) -> None:
    """Refuse options of a prompt that a run would read in another form than they have here.

    They are stored with each run as JSON. Raises DefinitionError.
    """
    for name, prompt in workflow.prompts.items():
        given = dict(getattr(prompt, "options", {}))
        try:
            found = difference(given, freeze(given))
        except NotSerialisable as error:
            raise DefinitionError(
                f"Workflow “{workflow.name}”: the options of prompt “{name}” are no JSON."
                f" {error}"
            ) from error
        if found:
            raise DefinitionError(
                f"Workflow “{workflow.name}”: the option “{found.path}” of prompt “{name}”"
                f" would be read as {found.other!r}, not as {found.one!r}."
            )


class Registry:
    """Name → workflow; safe to use from any thread."""

    def __init__(self) -> None:
        """Start empty."""
        self._workflows: dict[str, AnyWorkflow] = {}
        self._modules: dict[str, str] = {}
        self._importing = ""  # the module that `discover` imports
        self._lock = threading.RLock()

    def register(self, workflow: AnyWorkflow) -> AnyWorkflow:
        """Add a workflow, and those that its nodes launch, unless they are given by name.

        Raises DefinitionError for a name that is taken, or cannot be.
        """
        waiting = [workflow]
        while waiting:
            each = waiting.pop()
            self._add(each)
            waiting += [ref.workflow for ref in each.children if ref.workflow]
        return workflow

    def _add(self, workflow: AnyWorkflow) -> None:
        if not NAME.fullmatch(workflow.name):
            raise DefinitionError(
                f"A workflow cannot be called “{workflow.name[:200]}”: its name is part of"
                " addresses and rows. Use up to 100 characters, begin with a letter or"
                " digit, and use no slash and no control characters."
            )
        _must_have_options(workflow)
        with self._lock:
            known = self._workflows.setdefault(workflow.name, workflow)
            self._modules.setdefault(workflow.name, self._importing)
        if known is not workflow:
            raise DefinitionError(
                f"Two workflows are called “{workflow.name}”. Give one another name."
            )

    def register_factory(self, name: str, factory: Factory) -> FactoryWorkflow:
        """Add a plain factory under a name. Raises DefinitionError when it is taken."""
        workflow = FactoryWorkflow(name, factory)
        self.register(workflow)
        return workflow

    def asks_reason(self, name: str, action: str) -> bool:
        """Return whether people have to give a reason for an action on a workflow or its runs.

        They have to for one that is not installed: nothing says that they need not.
        """
        workflow = self._workflows.get(name)
        asked = None if workflow is None else workflow.reasons_for
        return asked is None or action in asked

    def unregister(self, name: str) -> None:
        """Unregister a workflow, if it is registered."""
        with self._lock:
            self._workflows.pop(name, None)
            self._modules.pop(name, None)

    def module_of(self, name: str) -> str:
        """Return the module that `discover` found a workflow in, "" for any other."""
        with self._lock:
            return self._modules.get(name, "")

    def is_shipped(self, name: str) -> bool:
        """Return whether a workflow is one of our own `definitions/`."""
        return self.module_of(name).startswith(f"{definitions.__name__}.")

    def get(self, name: str) -> AnyWorkflow:
        """Return the workflow of this name. Raises WorkflowNotFound."""
        with self._lock:
            workflow = self._workflows.get(name)
        if workflow is None:
            raise WorkflowNotFound(name, known=[known.name for known in self.list()])
        return workflow

    def find(self, name: str) -> AnyWorkflow | None:
        """Return the workflow of this name, None when it is not registered here."""
        with self._lock:
            return self._workflows.get(name)

    def list(self) -> builtins.list[AnyWorkflow]:
        """Return all workflows, by name."""
        with self._lock:
            return sorted(self._workflows.values(), key=lambda known: known.name)

    def add_module(self, module: ModuleType) -> None:
        """Register every workflow a module defines at its top level."""
        for value in list(vars(module).values()):
            if isinstance(value, Workflow):
                self.register(value)

    def discover(self) -> None:
        """Import our definitions and every installed app's `workflows.py`."""
        for found in pkgutil.iter_modules(definitions.__path__):
            self._discover_module(f"{definitions.__name__}.{found.name}")
        for config in apps.get_app_configs():
            if config.module is not None and module_has_submodule(
                config.module, "workflows"
            ):
                self._discover_module(f"{config.name}.workflows")
        for workflow in self.list():
            self._check_children(workflow)

    def _discover_module(self, name: str) -> None:
        self._importing = name
        try:
            self.add_module(_imported(name))
        finally:
            self._importing = ""

    def _check_children(self, workflow: AnyWorkflow) -> None:
        """Raise DefinitionError if nodes launch unknown workflows, or give invalid params."""
        try:
            self.check_children(workflow)
        except SubworkflowMissing as error:
            raise DefinitionError(str(error)) from error
        for reference in workflow.children:
            reference.check_params(workflow.name, self.get(reference.name))

    def check_children(self, workflow: AnyWorkflow) -> None:
        """Raise SubworkflowMissing if a node launches a workflow that is not registered."""
        for reference in workflow.children:
            if self.find(reference.name) is None:
                raise SubworkflowMissing(workflow.name, reference.node, reference.name)

    @contextmanager
    def _apart(self) -> Iterator[Mapping[str, AnyWorkflow]]:
        """Register what the block registers in a registry of its own, and yield that.

        Other threads wait meanwhile.
        """
        with self._lock:
            kept, self._workflows = self._workflows, {}
            try:
                yield self._workflows
            finally:
                self._workflows = kept

    def load_version(self, name: str, path: Path) -> AnyWorkflow:
        """Return the workflow of this name from another version of its file.

        The registered workflows stay as they are. The file is imported as a module beside that of
        the registered workflow, so that its relative imports work. Raises WorkflowNotFound if no
        such workflow is registered, VersionRefused if the file cannot be imported or has none.
        """
        module = _module_of(self.get(name))
        package = module.rpartition(".")[0]
        own = f"{package}{'.' if package else ''}_version_{next(_versions)}"
        with self._apart() as registered, _refusing(path):
            self.add_module(_executed(own, path))
            known = dict(registered)
        if name not in known:
            others = ", ".join(known) or "none"
            raise VersionRefused(f"{path} has no workflow “{name}”. It has: {others}.")
        return known[name]


_versions = count(1)


def _module_of(workflow: AnyWorkflow) -> str:
    """Return the name of the module that defines a workflow, as far as it is known."""
    made: Any = getattr(workflow, "state_type", None) or workflow.factory
    return getattr(made, "__module__", None) or ""


def _executed(name: str, path: Path) -> ModuleType:
    """Import a file under a name. Raises any Exception of its code."""
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise VersionRefused(f"{path} is no Python file.")
    module = module_from_spec(spec)
    sys.modules[name] = module  # where the types of fields are looked up
    call_contained(partial(spec.loader.exec_module, module))
    return module


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Raise VersionRefused for any error of a file."""
    try:
        yield
    except VersionRefused:
        raise
    except Exception as error:
        raise VersionRefused(
            f"{path} cannot be imported: {type(error).__name__}: {describe(error)}"
        ) from error


def _imported(name: str) -> ModuleType:
    """Import a module of workflows. Raises ModuleRefused if it would end the process."""
    try:
        return call_contained(partial(importlib.import_module, name))
    except ExitRaised as error:
        raise ModuleRefused(name, str(error), _place(error)) from error


def _place(error: ExitRaised) -> str:
    """Return the file and line where it was raised."""
    raised = error.__cause__
    frames = traceback.extract_tb(raised.__traceback__) if raised else ()
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""


registry = Registry()
