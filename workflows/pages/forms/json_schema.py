"""Reading a JSON schema: references resolved, `null` taken out, properties in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.pages.render.text import in_words

MAX_DEPTH = 3  # nested models become fieldsets up to here, JSON below


@dataclass(frozen=True, slots=True)
class Property:
    """One property of a model, ready to become a field or a group of fields."""

    path: str  # dotted, from the root
    title: str
    description: str
    schema: Mapping[str, Any]  # `nullable` is set where null is allowed
    is_required: bool
    default: Any
    has_default: bool = False  # one that is known: `default` may be null

    @property
    def is_nullable(self) -> bool:
        """Tell whether null is a value of it."""
        return bool(self.schema.get("nullable"))


def escaped(name: str) -> str:
    """Return a name as a part of a path: without what separates parts and suffixes."""
    return name.replace("%", "%25").replace(".", "%2E").replace(":", "%3A")


def unescaped(part: str) -> str:
    """Return the name that `escaped` made a part of."""
    return part.replace("%3A", ":").replace("%2E", ".").replace("%25", "%")


def is_free(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema is of objects whose names it does not say."""
    found = _followed(schema, schema)
    shapes = ("additionalProperties", "anyOf", "oneOf")
    return "properties" not in found and any(found.get(shape) for shape in shapes)


def properties(
    root: Mapping[str, Any],
    schema: Mapping[str, Any] | None = None,
    path: str = "",
    default: Any = None,
) -> Iterator[Property]:
    """Yield the properties of an object schema, in the order of the model's fields.

    `default` is that of the object itself: what it says of a property counts more than the
    property's own default.
    """
    whole = default if isinstance(default, Mapping) else {}
    schema = _followed(root, root if schema is None else schema)
    required = set(schema.get("required") or ())
    for name, given in (schema.get("properties") or {}).items():
        found = resolved(root, given)
        part = escaped(name)
        yield Property(
            path=f"{path}.{part}" if path else part,
            title=_title(name, given, found),
            description=given.get("description") or found.get("description") or "",
            schema=found,
            is_required=name in required,
            default=whole.get(name, given.get("default")),
            has_default=name in whole or "default" in given,
        )


def is_group(root: Mapping[str, Any], found: Property) -> bool:
    """Tell whether a property is a nested model that is drawn as a group of fields."""
    depth = found.path.count(".")
    return bool(found.schema.get("properties")) and depth < MAX_DEPTH and bool(root)


def resolved(root: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references and without `null` among its alternatives."""
    schema = _followed(root, given)
    if len(schema.get("allOf") or ()) == 1:
        schema = {**_followed(root, schema["allOf"][0]), **schema}
    kinds = [_followed(root, kind) for kind in schema.get("anyOf") or ()]
    if kinds:
        schema = _of_alternatives(schema, kinds)
    if isinstance(schema.get("items"), dict):
        schema = {**schema, "items": _followed(root, schema["items"])}
    return schema


def _of_alternatives(
    schema: Mapping[str, Any], kinds: list[dict[str, Any]]
) -> dict[str, Any]:
    rest = [kind for kind in kinds if kind.get("type") != "null"]
    merged = {name: value for name, value in schema.items() if name != "anyOf"}
    if len(rest) < len(kinds):
        merged["nullable"] = True
    if len(rest) == 1:
        return {**rest[0], **merged}
    if {kind.get("type") for kind in rest} == {"number", "string"}:
        return {**merged, "type": "string"}  # a Decimal: kept exact as text
    return merged


def _followed(root: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with its `$ref` replaced; what stands beside it counts more."""
    reference = given.get("$ref")
    if not isinstance(reference, str):
        return dict(given)
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    beside = {name: value for name, value in given.items() if name != "$ref"}
    return {**found, **beside}


def _title(name: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return the author's title; pydantic's own, and that of a type, are not one."""
    title = given.get("title") or ""
    if (
        not title
        or title == name.replace("_", " ").title()
        or title == found.get("type")
    ):
        return in_words(name)
    return str(title)
