"""Values of one type as JSON, and back: what is accepted is what will be read.

`encode` validates, writes, reads back and compares; a value that would come back as another is
refused there, before anything is stored. States, params, answers and the params of children all
go through it.

The JSON has a model's aliases as keys, as its JSON schema does. A type in which some field is
read by another alias than it is written by (`validation_alias`, `AliasChoices`, `AliasPath`) has
the names of its fields as keys, and is read by either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, to_jsonable_python

from .compare import difference
from .errors import NotSerialisable
from .frozen import Json, freeze

MAX_SHOWN_CHARS = 60  # characters of a wrong value in a message
_BY_EITHER = {"by_alias": True, "by_name": True}
_UNWALKED = frozenset({"metadata", "serialization", "default", "cls", "function"})


@dataclass(frozen=True, slots=True)
class _Form:
    """How the values of a type are written and read."""

    by_name: bool  # under the names of fields instead of their aliases
    from_text: bool  # bytes in another form than UTF-8 are read from text only
    to_text: bool  # infinities are written as text only


class Codec:
    """Writes and reads the values of one type."""

    __slots__ = ("_adapter", "_form")

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        """Take what checks the type."""
        self._adapter = adapter
        self._form: _Form | None = None

    @property
    def by_name(self) -> bool:
        """Tell whether the keys of its JSON are names of fields instead of aliases."""
        return self._resolved_form().by_name

    def schema(self, **options: Any) -> dict[str, Any]:
        """Return the JSON schema of what is accepted, with the keys that are stored.

        Raises pydantic's errors for a type that has none.
        """
        return self._adapter.json_schema(by_alias=not self.by_name, **options)

    def read(self, value: Any) -> Any:
        """Return a value, given or stored, in its type.

        Raises ValidationError, and whatever a validator of the author's raises.
        """
        form = self._resolved_form()
        options: dict[str, Any] = _BY_EITHER if form.by_name else {}
        if form.from_text and (text := _text_of(value)) is not None:
            return self._adapter.validate_json(text, **options)
        try:
            return self._adapter.validate_python(value, **options)
        except ValidationError as error:
            # a strict field takes text for a UUID or a date from JSON only
            text = _text_of(value)
            if text is None:
                raise
            try:
                return self._adapter.validate_json(text, **options)
            except ValidationError:
                raise error from None

    def encode(self, value: Any, path: str = "") -> tuple[Json, Any]:
        """Return a value as JSON, and as it will be read.

        Raises ValidationError when it does not fit, NotSerialisable when it would not come
        back as it is, and whatever a validator of the author's raises on `value`.
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
        """Return JSON and value where only defaults differ, and only in their type; else None.

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
            "warnings": False,  # of a type that is not the field's: it is compared instead
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
            place, culprit = _unwritable_part(valid, path)
            raise NotSerialisable(place, type(culprit), first_line(error)) from error
        if isinstance(valid, set | frozenset):  # in an order that does not change
            written = sorted(written, key=json.dumps)
        return freeze(written, path)

    def _read_back(self, encoded: Json, valid: Any, path: str) -> Any:
        """Return what JSON is read as. Raises NotSerialisable where it cannot be."""
        try:
            return self.read(encoded)
        except ValidationError as error:
            why = f"it cannot be read back from its JSON ({first_problem(error)})"
            place = path or _place(error)
            raise NotSerialisable(place, _type_at(valid, place, path), why) from error
        except Exception as error:  # a validator of the author's, on its own result
            place = path or self.failing_key(encoded)
            why = f"it cannot be read back from its JSON ({error_text(error)})"
            raise NotSerialisable(place, _type_at(valid, place, path), why) from error

    def keys_of(self, model: type[BaseModel]) -> dict[str, str]:
        """Return the names of a model's fields by the keys that stand for them in JSON."""
        return {self._key(model, name): name for name in model.model_fields}

    def _key(self, model: type[BaseModel], field: str) -> str:
        alias = model.model_fields[field].serialization_alias
        return field if self.by_name or alias is None else alias

    def failing_key(self, encoded: Any) -> str:
        """Return the key without which reading raises nothing but what pydantic says."""
        for key in encoded if isinstance(encoded, Mapping) else ():
            rest = {name: value for name, value in encoded.items() if name != key}
            try:
                self.read(rest)
            except ValidationError:
                return str(key)
            except Exception:  # noqa: S112 - it is not this one, or not alone
                continue
            return str(key)
        return ""

    def _resolved_form(self) -> _Form:
        """Return how values are written and read.

        Found when first needed: models may be completed after this was made.
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
    """Tell whether two JSON values say the same: 0, 0.0 and "0" do, lists in any order."""
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
    """Return JSON as text; None for what is none."""
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return None


def aliases(info: FieldInfo) -> list[str]:
    """Return the keys of an object under which a field is looked for by its aliases."""
    alias = info.validation_alias
    if alias is None:
        return []
    if isinstance(alias, str):
        return [alias]
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [one if isinstance(one, str) else str(one.path[0]) for one in choices]


def plain(value: Any, path: str = "") -> Json:
    """Return what an author's function gave as JSON: models, dates and the like are written.

    Raises NotSerialisable, also for a secret: it would be stored as stars.
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
    """Return the type of the field that a place begins with; of the whole below a path."""
    if path or not place:
        return type(valid)
    first = place.partition(".")[0]
    for key, part in _parts(valid):
        if key == first:
            return type(part)
    return type(valid)


def _unwritable_part(value: Any, path: str) -> tuple[str, Any]:
    """Return the innermost part that cannot be written, with its path."""
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
    """Return the first thing that is wrong, and how many more there are."""
    problems = error.errors(
        include_url=False, include_context=False, include_input=False
    )
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place + ': ' if place else ''}{first['msg']}{more}"


def first_line(error: Exception) -> str:
    """Return the first line of an error, or its type where it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__


def error_text(error: Exception) -> str:
    """Return the type of an error and the first line of it."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def abbreviate(value: Any) -> str:
    """Return a value as it is shown in a message, shortened."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"
