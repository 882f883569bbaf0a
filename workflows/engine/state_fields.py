"""The typed fields of a State class, resolved on first use.

Annotations may refer to names that are defined later in the module, or locally around the class.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .errors import CheckpointMismatch, DefinitionError, StateError
from .frozen import FrozenDict, Json
from .round_trip import first_problem
from .typed_field import TypedField


@dataclass(frozen=True, slots=True)
class Declared:
    """A field as written in a class body, with an unresolved annotation."""

    annotation: Any
    default: Any  # PydanticUndefined without one; may be a FieldInfo
    module: str
    owner: type  # the class that declares it
    local: Mapping[str, Any]  # names around the class, for its annotation


class FieldReader:
    """Descriptor that reads a field of a state."""

    __slots__ = ("_default", "_name")

    def __init__(self, name: str, default: Any) -> None:
        self._name = name
        self._default = default

    def __get__(self, state: Any, owner: type) -> Any:
        """Return the field of a state, or the default when accessed on the class."""
        if state is not None:
            return state[self._name]
        if self._default is PydanticUndefined or isinstance(self._default, FieldInfo):
            raise AttributeError(f"“{self._name}” is a field of {owner.__name__}s.")
        return self._default


class Fields:
    """The fields of one class, inherited ones first."""

    def __init__(self, owner: type, declared: Mapping[str, Declared]) -> None:
        self._owner = owner
        self.declared = dict(declared)
        self._resolved: dict[str, TypedField] = {}

    @classmethod
    def of(cls, owner: Any, state: type, local: Mapping[str, Any]) -> Fields:
        """Return the fields of a new class and install their descriptors.

        Raises DefinitionError for invalid field names.
        """
        inherited: dict[str, Declared] = {}
        for base in reversed(owner.__mro__[1:]):
            fields = base.__dict__.get("_fields")
            if isinstance(fields, Fields):
                inherited.update(fields.declared)
        own = _own_declarations(owner, local)
        _check_field_names(owner, own, inherited, state)
        for name, field in own.items():
            setattr(owner, name, FieldReader(name, field.default))
        return cls(owner, {**inherited, **own})

    # -- values -----------------------------------------------------------------------

    def complete(self, given: Mapping[str, Any]) -> tuple[FrozenDict, dict[str, Any]]:
        """Return the content as JSON with defaults, in order, and the parsed values.

        Raises StateError for an unknown, missing or invalid field.
        """
        encoded, parsed = self.check(given)
        fields = self._fields()
        content = {
            n: encoded[n] if n in encoded else f.default() for n, f in fields.items()
        }
        return FrozenDict(content), parsed

    def check(self, given: Mapping[str, Any]) -> tuple[dict[str, Json], dict[str, Any]]:
        """Return given values as JSON and as parsed values, without computing defaults.

        Raises as `complete`.
        """
        encoded, parsed = self.encode(given)
        fields = self._fields()
        missing = [n for n, f in fields.items() if n not in encoded and f.is_required]
        if missing:
            raise StateError(
                f"{self._owner.__name__} needs {_listed(missing)}: no default is declared."
            )
        return encoded, parsed

    def encode(
        self, values: Mapping[str, Any]
    ) -> tuple[dict[str, Json], dict[str, Any]]:
        """Return values as JSON and as parsed values. Raises StateError, NotSerialisable."""
        fields = self._fields()
        encoded, parsed = {}, {}
        for name, value in values.items():
            if name not in fields:
                raise StateError(self.unknown(name))
            encoded[name], parsed[name] = fields[name].encode(value)
        return encoded, parsed

    def encode_items(self, name: str, values: Iterable[Any]) -> list[Json] | None:
        """Return additional list items as JSON; None if the whole list must be validated."""
        field = self._fields().get(name)
        if field is None:
            raise StateError(self.unknown(name))
        return field.encode_items(values)

    def parse(self, name: str, value: Json) -> Any:
        """Return the typed value of a field's JSON. Raises CheckpointMismatch."""
        try:
            return self._fields()[name].parse(value)
        except ValidationError as error:
            raise CheckpointMismatch(self._unreadable_field(name, error)) from error

    def parse_all(self, data: Json) -> dict[str, Any]:
        """Return the typed values of stored data. Raises CheckpointMismatch with all problems."""
        name = self._owner.__name__
        if not isinstance(data, FrozenDict):
            raise CheckpointMismatch(
                f"The stored state is {type(data).__name__} and no object, so it is no {name}."
            )
        fields = self._fields()
        wrong = [
            f"it has “{key}”, which {name} has not" for key in data if key not in fields
        ]
        wrong += [f"it lacks “{key}”" for key in fields if key not in data]
        parsed = {}
        for key in [key for key in fields if key in data]:
            try:
                parsed[key] = fields[key].parse(data[key])
            except ValidationError as error:
                wrong.append(self._unreadable_field(key, error))
        if wrong:
            raise CheckpointMismatch(
                f"The stored state does not fit {name}: {'; '.join(wrong)}. Give the workflow a"
                " migration of its state, or launch a new run."
            )
        return parsed

    # -- declarations -----------------------------------------------------------------

    def infos(self) -> dict[str, FieldInfo]:
        """Return the pydantic declaration of each field."""
        return {name: field.info for name, field in self._fields().items()}

    def unknown(self, name: str) -> str:
        """Return the error message for an unknown field."""
        near = difflib.get_close_matches(name, self.declared, 1)
        if near:
            hint = f"Is it “{near[0]}”?"
        else:
            hint = f"It has {_listed(list(self.declared)) or 'none'}."
        return f"{self._owner.__name__} has no field “{name}”. {hint}"

    def _fields(self) -> dict[str, TypedField]:
        if not self._resolved and self.declared:
            # assigned when complete: threads may do this concurrently, with the same result
            self._resolved = {
                name: TypedField(field.owner.__qualname__, name, _info(name, field))
                for name, field in self.declared.items()
            }
        return self._resolved

    def _unreadable_field(self, name: str, error: ValidationError) -> str:
        return f"its “{name}” cannot be read ({first_problem(error)})"


def _own_declarations(owner: type, local: Mapping[str, Any]) -> dict[str, Declared]:
    return {
        name: Declared(
            annotation,
            owner.__dict__.get(name, PydanticUndefined),
            owner.__module__,
            owner,
            local,
        )
        for name, annotation in inspect.get_annotations(owner).items()
        if not _is_class_variable(annotation)
    }


def _check_field_names(
    owner: type,
    own: Mapping[str, Declared],
    inherited: Mapping[str, Declared],
    state: type,
) -> None:
    for name in own:
        if name == "failure":  # a field of this name is older than `State.failure`
            continue
        if name.startswith("_") or hasattr(state, name):
            why = (
                "every state has that" if hasattr(state, name) else "it begins with “_”"
            )
            raise DefinitionError(
                f"{owner.__name__} cannot have a field “{name}”: {why}. Choose another name.",
                code="state.field_name",
            )
    for name in inherited.keys() & owner.__dict__.keys():
        if name not in own:
            raise DefinitionError(
                f"{owner.__name__} gives the field “{name}” a new value without a type: write"
                f" `{name}: … = …` to declare it again.",
                code="state.field_name",
            )


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or get_origin(annotation) is ClassVar


class _Annotated:
    """An object with one annotation, for `get_type_hints`."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.__annotations__ = {name: annotation}


def _info(name: str, field: Declared) -> FieldInfo:
    """Return a field with its type resolved. Raises DefinitionError."""
    module = sys.modules.get(field.module)
    local = {**field.local, field.owner.__name__: field.owner}
    try:
        hints = get_type_hints(
            _Annotated(name, field.annotation),
            {} if module is None else vars(module),
            local,
            include_extras=True,
        )
    except Exception as error:
        raise DefinitionError(
            f"The type of field “{name}” of {field.owner.__name__} cannot be found: {error}."
            " Define or import it in the module of the class, not for type checkers only.",
            code="state.field_type",
        ) from error
    if field.default is PydanticUndefined:
        return FieldInfo.from_annotation(hints[name])
    return FieldInfo.from_annotated_attribute(hints[name], field.default)


def _listed(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
