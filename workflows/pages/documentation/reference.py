"""The reference of the author's API: every public name, from signatures and docstrings."""

from __future__ import annotations

import enum
import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

INTRODUCTION: Final = """# Author reference

Every public name of the modules that workflows import, with the types of its arguments.
[Writing a workflow](authoring.md) explains them in order.
"""
MODULES: Final = (
    "workflows.engine",
    "workflows.runtime",
    "workflows.runtime.errors",
    "workflows.engine.testing",
)
MAX_VALUE_CHARS: Final = 200
QUOTED_TYPE: Final = re.compile(r"(: |-> )'([^']*)'")  # annotations are kept as text


def text() -> str:
    """Return the reference as Markdown."""
    return "\n".join([INTRODUCTION, *_modules()])


def _modules() -> Iterator[str]:
    written: set[int] = set()  # ids of objects: a name is described where it is first
    for name in MODULES:
        module = import_module(name)
        yield f"## {name}\n"
        yield _doc(module)
        for public in public_names(module):
            found = getattr(module, public)
            if id(found) not in written:
                written.add(id(found))
                yield from _entry(public, found)


def public_names(module: ModuleType) -> list[str]:
    """Return the public names of a module: `__all__`, or what it defines."""
    if (declared := getattr(module, "__all__", None)) is not None:
        return sorted(declared, key=str.lower)
    defined = (
        name
        for name, found in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(found) or inspect.isfunction(found))
        and found.__module__ == module.__name__
    )
    return sorted(defined, key=str.lower)


def _entry(name: str, found: Any) -> Iterator[str]:
    yield f"### {name}\n"
    if inspect.isclass(found):
        yield from _class(name, found)
    elif callable(found):
        yield _code(f"{name}{_signature(found)}")
        yield _doc(found)
    else:
        yield _code(f"{name} = {repr(found)[:MAX_VALUE_CHARS]}")


def _class(name: str, found: type) -> Iterator[str]:
    bases = ", ".join(base.__name__ for base in found.__bases__ if base is not object)
    yield _code(f"class {name}({bases})" if bases else f"class {name}")
    yield _doc(found)
    if issubclass(found, enum.Enum):
        yield ", ".join(f"`{one.name}`" for one in found) + "\n"
        return
    for member, value in sorted(vars(found).items()):
        if not member.startswith("_") and (described := _member(member, value)):
            yield described


def _member(name: str, value: Any) -> str:
    """Return the item of a method or property in the list of a class; "" for data."""
    if isinstance(value, property):
        head = name
    elif inspect.isfunction(value):
        head = f"{name}{_signature(value)}"
    elif isinstance(value, (classmethod, staticmethod)):
        head = f"{name}{_signature(value.__func__)}"
    else:
        return ""
    first = (inspect.getdoc(value) or "").partition("\n\n")[0]
    return f"- `{head}`  \n  {' '.join(first.split())}\n"


def _signature(found: Any) -> str:
    try:
        return QUOTED_TYPE.sub(r"\1\2", str(inspect.signature(found)))
    except (TypeError, ValueError):
        return "(…)"


def _doc(found: Any) -> str:
    """Return the docstring, which is plain text with code in backticks or indented."""
    own = found.__doc__ if inspect.isclass(found) else inspect.getdoc(found)
    return f"{inspect.cleandoc(own or '')}\n"


def _code(line: str) -> str:
    return f"```python\n{line}\n```\n"
