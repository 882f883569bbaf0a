"""Lossless conversion between the values of a type and JSON.

`encode` validates, writes, reads back and compares; a value that would be read back differently
is rejected before anything is stored. It is used for states, params, answers and the params of
children.

The keys in JSON are the aliases of a model, as in its JSON schema. If some field of a type is
read under another alias than it is written (`validation_alias`, `AliasChoices`, `AliasPath`), the
keys are the names of the fields, and both are accepted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import AliasChoices, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .author_code import call_contained
from .errors import ExitRaised, NotSerialisable
from .frozen import Json, freeze
from .value_comparison import difference

MAX_SHOWN_CHARS = 60  # characters of a wrong value in a message
_BY_EITHER = {"by_alias": True, "by_name": True}
_UNWALKED = frozenset({"metadata", "serialization", "default", "cls", "function"})


@dataclass(frozen=True, slots=True)
class _Form:
    """Serialisation options of a type."""

    by_name: bool  # keys are the names of fields instead of their aliases
    from_text: (
        bool  # bytes in an encoding other than UTF-8 are read from JSON text only
    )
    to_text: bool  # infinities are written to JSON text only


class Codec:
    """Writes and reads the values of one type."""

    __slots__ = ("_adapter", "_form")

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter
        self._form: _Form | None = None

    @property
    def by_name(self) -> bool:
        """Whether the keys in JSON are names of fields instead of aliases."""
        return self._resolved_form().by_name

    def schema(self, **options: Any) -> dict[str, Any]:
        """Return the JSON schema of accepted values, with the keys under which they are stored.

        Raises pydantic's errors for a type without a schema.
        """
        return self._adapter.json_schema(by_alias=not self.by_name, **options)

    def read(self, value: Any) -> Any:
        """Return a given or stored value in its type.

        Raises ValidationError and any error of an author's validator.
        """
        form = self._resolved_form()
        options: dict[str, Any] = _BY_EITHER if form.by_name else {}
        if form.from_text and (text := _text_of(value)) is not None:
            return self._adapter.validate_json(text, **options)
        try:
            return self._adapter.validate_python(value, **options)
        except ValidationError as error:
            # a strict field accepts text for a UUID or a date from JSON only
            text = _text_of(value)
            if text is None:
                raise
            try:
                return self._adapter.validate_json(text, **options)
            except ValidationError:
                raise error from None

    def encode(self, value: Any, path: str = "") -> tuple[Json, Any]:
        """Return a value as JSON and as the value that will be read back.

        Raises ValidationError if it is invalid, NotSerialisable if it would be read back
        differently, and any error of an author's validator.
        """
        valid = self.read(value)
        encoded = self._write(valid, path)
        parsed = self._read_back(encoded, valid, path)
        found = difference(valid, parsed, key=self._key)
        if found is None:
            return encoded, parsed
        if typed := self._typed_default(encoded, valid, parsed):
            return typed
        one, other = (valid, parsed) if path else (found.one, found.other)
        why = f"{abbreviate(one)} would come back as {abbreviate(other)}"
        raise NotSerialisable(path or found.path, type(one), why)

    def _typed_default(
        self, encoded: Json, valid: Any, parsed: Any
    ) -> tuple[Json, Any] | None:
        """Return JSON and value if only defaults differ, and only in their type; else None.

        Pydantic does not validate defaults: `price: Decimal = 0` is an int until it is read.
        """
        if difference(valid, parsed, key=self._key, defaults=False):
            return None
        rewritten = self._write(parsed, "")
        reread = self._read_back(rewritten, parsed, "")
        is_stable = difference(parsed, reread) is None
        return (
            (rewritten, reread)
            if is_stable and _equivalent(encoded, rewritten)
            else None
        )

    def _write(self, valid: Any, path: str) -> Json:
        """Return a value as JSON. Raises NotSerialisable."""
        options: dict[str, Any] = {
            "by_alias": not self.by_name,
            "round_trip": True,
            "warnings": False,  # about a type other than the field's: values are compared instead
        }
        try:
            if self._resolved_form().to_text:
                written = json.loads(self._adapter.dump_json(valid, **options))
            else:
                written = self._adapter.dump_python(valid, mode="json", **options)
        except (
            PydanticSerializationError,
            UnicodeDecodeError,
            RecursionError,
        ) as error:
            place, part = _unwritable_part(valid, path)
            raise NotSerialisable(place, type(part), first_line(error)) from error
        if isinstance(valid, set | frozenset):  # in a stable order
            written = sorted(written, key=json.dumps)
        return freeze(written, path)

    def _read_back(self, encoded: Json, valid: Any, path: str) -> Any:
        """Return the value of JSON. Raises NotSerialisable if it cannot be read."""
        try:
            return self.read(encoded)
        except ValidationError as error:
            why = f"it cannot be read back from its JSON ({first_problem(error)})"
            place = path or _place(error)
            raise NotSerialisable(place, _type_at(valid, place, path), why) from error
        except Exception as error:  # of an author's validator, on its own result
            place = path or self.failing_key(encoded)
            why = f"it cannot be read back from its JSON ({error_text(error)})"
            raise NotSerialisable(place, _type_at(valid, place, path), why) from error

    def keys_of(self, model: type[BaseModel]) -> dict[str, str]:
        """Return the names of a model's fields by their keys in JSON."""
        return {self._key(model, name): name for name in model.model_fields}

    def _key(self, model: type[BaseModel], field: str) -> str:
        alias = model.model_fields[field].serialization_alias
        return field if self.by_name or alias is None else alias

    def failing_key(self, encoded: Any) -> str:
        """Return the key of the value on which an author's validator raises; "" if unknown."""
        for key in encoded if isinstance(encoded, Mapping) else ():
            rest = {name: value for name, value in encoded.items() if name != key}
            try:
                call_contained(partial(self.read, rest))
            except ValidationError:
                return str(key)
            except Exception:  # noqa: S112 - another key, or several
                continue
            return str(key)
        return self._failing_alone(encoded)

    def _failing_alone(self, encoded: Any) -> str:
        """Return the first key that raises without the others, as if several keys raise.

        "" if no key does, or if reading an empty object raises as well.
        """
        keys = list(encoded) if isinstance(encoded, Mapping) else []
        if not keys or self._raises({}):
            return ""
        alone = (key for key in keys if self._raises({key: encoded[key]}))
        return str(next(alone, ""))

    def _raises(self, value: Any) -> bool:
        """Return whether reading a value raises anything but a ValidationError."""
        try:
            call_contained(partial(self.read, value))
        except ValidationError:
            return False
        except Exception:  # a validator may raise anything
            return True
        return False

    def _resolved_form(self) -> _Form:
        """Return the serialisation options.

        Computed on first use: models may be completed after the codec was created.
        """
        if self._form is None:
            parts = list(_parts_of(self._adapter.core_schema))
            configs = [part.get("config") or {} for part in parts]
            self._form = _Form(
                by_name=any(
                    part.get("validation_alias") != part.get("serialization_alias")
                    for part in parts
                )
                or any(one.get("validate_by_alias") is False for one in configs),
                from_text=any(
                    one.get("val_json_bytes", "utf8") != "utf8" for one in configs
                ),
                to_text=any(
                    one.get("ser_json_inf_nan") == "strings" for one in configs
                ),
            )
        return self._form


def _parts_of(schema: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a core schema."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Mapping):
            yield part
            waiting += [value for name, value in part.items() if name not in _UNWALKED]
        elif isinstance(part, list | tuple):
            waiting += part


def _equivalent(one: Json, other: Json) -> bool:
    """Return whether two JSON values are equivalent: 0, 0.0 and "0" are, lists in any order."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            _equivalent(part, other[key]) for key, part in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(
            sorted(one, key=json.dumps), sorted(other, key=json.dumps), strict=False
        )
        return len(one) == len(other) and all(_equivalent(*pair) for pair in pairs)
    return bool(one == other) or str(one) == str(other)


def _text_of(value: Any) -> str | None:
    """Return a value as JSON text; None if it is not JSON."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None


def aliases(info: FieldInfo) -> list[str]:
    """Return the keys under which a field is read by its aliases."""
    alias = info.validation_alias
    if alias is None:
        return []
    if isinstance(alias, str):
        return [alias]
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [one if isinstance(one, str) else str(one.path[0]) for one in choices]


def plain(value: Any, path: str = "") -> Json:
    """Return the result of an author's function as JSON, including models, dates and the like.

    Raises NotSerialisable, also for a secret, which would be stored as asterisks.
    """
    if isinstance(value, BaseModel):
        return Codec(TypeAdapter(type(value))).encode(value, path)[0]
    if isinstance(value, Mapping):
        return freeze(
            {key: plain(part, _join(path, key)) for key, part in value.items()}, path
        )
    if isinstance(value, list | tuple):
        return freeze(
            [plain(part, _join(path, index)) for index, part in enumerate(value)], path
        )
    if hasattr(value, "get_secret_value"):
        raise NotSerialisable(path, type(value), "a secret is never stored")
    try:
        return freeze(to_jsonable_python(value), path)
    except (PydanticSerializationError, UnicodeDecodeError) as error:
        raise NotSerialisable(path, type(value), first_line(error)) from error


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _place(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])


def _type_at(valid: Any, place: str, path: str) -> type:
    """Return the type of the field at the start of a path, or that of the whole value."""
    if path or not place:
        return type(valid)
    first = place.partition(".")[0]
    for key, part in _parts(valid):
        if key == first:
            return type(part)
    return type(valid)


def _unwritable_part(value: Any, path: str) -> tuple[str, Any]:
    """Return the innermost part that cannot be serialised, with its path."""
    for key, part in _parts(value):
        try:
            to_jsonable_python(part)
        except (PydanticSerializationError, UnicodeDecodeError, RecursionError):
            return _unwritable_part(part, _join(path, key))
    return path, value


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            if name in value.__dict__:
                yield info.serialization_alias or name, getattr(value, name)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from enumerate(value)


def first_problem(error: ValidationError) -> str:
    """Return the first problem of an error and the number of further ones."""
    problems = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place + ': ' if place else ''}{first['msg']}{more}"


def first_line(error: Exception) -> str:
    """Return the first line of an error, or its type if it has no message."""
    return str(error).partition("\n")[0] or type(error).__name__


def error_text(error: Exception) -> str:
    """Return the type and the first line of an error."""
    line = str(error).partition("\n")[0]
    if isinstance(error, ExitRaised):  # its message names the type that was raised
        return line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def abbreviate(value: Any) -> str:
    """Return the shortened repr of a value, for messages."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"
