"""One typed field of a State class: validated on write, stored as JSON, parsed on read.

Guarantee: `parse` returns the value that `encode` accepted, with its type. A value that would be
read back differently (a subclass, an ambiguous union) is rejected.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .errors import DefinitionError, NotSerialisable, StateError
from .frozen import Json, freeze
from .round_trip import Codec, abbreviate, first_problem

PLAIN_TYPES: frozenset[Any] = frozenset(
    {str, int, float, bool, NoneType}
)  # are their own JSON


class TypedField:
    """Writes and reads one field of a State class."""

    __slots__ = (
        "_codec",
        "_default",
        "_item",
        "info",
        "name",
        "owner",
        "plain",
    )

    def __init__(self, owner: str, name: str, info: FieldInfo) -> None:
        """Raises DefinitionError for a type that pydantic cannot handle."""
        self.owner = owner
        self.name = name
        self.info = info
        self.plain = _plain_types(info)
        self._default: tuple[Json, ...] = ()  # its JSON, computed on first use
        self._item: TypedField | None = None  # one item of a list, created on first use
        bare = copy.copy(info)
        bare.default, bare.default_factory = PydanticUndefined, None
        whole: Any = Annotated[info.annotation, bare]
        try:
            self._codec = Codec(TypeAdapter(whole))
        except PydanticUserError as error:
            raise DefinitionError(
                f"The type of field “{name}” of {owner} cannot be kept in a state:"
                f" {str(error).partition(chr(10))[0]}",
                code="state.field_type",
            ) from error

    @property
    def is_required(self) -> bool:
        """Whether the field has no default."""
        return self.info.is_required()

    def default(self) -> Json:
        """Return the default as JSON. Raises DefinitionError if it is invalid."""
        if self._default:
            return self._default[0]
        value = self.info.get_default(call_default_factory=True, validated_data={})
        try:
            encoded, _ = self.encode(value)
        except (StateError, NotSerialisable) as error:
            raise DefinitionError(
                f"The default of field “{self.name}” of {self.owner} does not fit: {error}",
                code="state.default",
            ) from error
        if self.info.default_factory is None:
            self._default = (encoded,)
        return encoded

    def encode(self, value: Any) -> tuple[Json, Any]:
        """Return a value as JSON and as the value that will be read back.

        Raises StateError if it is invalid, NotSerialisable if it would be read back differently.
        """
        if type(value) in self.plain:
            return freeze(value, self.name), value
        try:
            return self._codec.encode(value, self.name)
        except ValidationError as error:
            raise StateError(self._misfit(value, error)) from error

    def encode_items(self, values: Iterable[Any]) -> list[Json] | None:
        """Return additional items as JSON; None if the whole list must be validated.

        Raises as `encode`.
        """
        origin, items = get_origin(self.info.annotation), get_args(self.info.annotation)
        is_list = origin is list or (origin is tuple and items[1:] == (...,))
        if not is_list or self.info.metadata:
            return None
        if self._item is None:
            info = FieldInfo.from_annotation(items[0])
            self._item = TypedField(self.owner, self.name, info)
        return [self._item.encode(value)[0] for value in values]

    def parse(self, value: Json) -> Any:
        """Return the typed value of this field's JSON. Raises ValidationError."""
        if type(value) in self.plain:
            return value
        return self._codec.read(value)

    def _misfit(self, value: Any, error: ValidationError) -> str:
        what = f"“{self.name}” of {self.owner} cannot be {abbreviate(value)}"
        return f"{what}: {first_problem(error)}."


def _plain_types(info: FieldInfo) -> frozenset[type]:
    """Return the types whose values need no validation and equal their JSON."""
    if info.metadata or info.discriminator:
        return frozenset()
    is_union = get_origin(info.annotation) in {Union, UnionType}
    parts = get_args(info.annotation) if is_union else (info.annotation,)
    return PLAIN_TYPES.intersection(parts)
