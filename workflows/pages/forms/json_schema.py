"""Properties of a JSON schema, in order, with references and `null` resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.pages.render.text import readable_name

MAX_DEPTH = 3  # of fieldsets; models nested more deeply become JSON fields


@dataclass(frozen=True, slots=True)
class Property:
    """A property of a model, which becomes a field or a group of fields."""

    path: str  # dotted, from the root
    title: str
    description: str
    schema: Mapping[str, Any]  # `nullable` is set where null is allowed
    is_required: bool
    default: Any
    has_default: bool = False  # distinguishes a default of null from none

    @property
    def is_nullable(self) -> bool:
        """Return whether null is allowed."""
        return bool(self.schema.get("nullable"))


def escaped(name: str) -> str:
    """Return a name as a part of a path, with separators escaped."""
    return name.replace("%", "%25").replace(".", "%2E").replace(":", "%3A")


def unescaped(part: str) -> str:
    """Return the name of a part of a path; the inverse of `escaped`."""
    return part.replace("%3A", ":").replace("%2E", ".").replace("%25", "%")


def is_free(schema: Mapping[str, Any]) -> bool:
    """Return whether a schema describes objects without declared properties."""
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

    Values of `default`, the default of the object itself, override the defaults of its
    properties.
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
    """Return whether a property is a nested model that is shown as a group of fields."""
    depth = found.path.count(".")
    return bool(found.schema.get("properties")) and depth < MAX_DEPTH and bool(root)


def elements(root: Mapping[str, Any], found: Property) -> Mapping[str, Any] | None:
    """Return the schema of the elements of a list of models, None for another property."""
    if found.schema.get("type") != "array" or "prefixItems" in found.schema:
        return None
    element = resolved(root, found.schema.get("items") or {})
    is_shallow = found.path.count(".") + 1 < MAX_DEPTH
    return element if element.get("properties") and is_shallow else None


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
    """Return a schema with its `$ref` replaced; sibling keywords override it."""
    reference = given.get("$ref")
    if not isinstance(reference, str):
        return dict(given)
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    siblings = {name: value for name, value in given.items() if name != "$ref"}
    return {**found, **siblings}


def _title(name: str, given: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return the author's title; the name for display if the title is pydantic's."""
    title = given.get("title") or ""
    if (
        not title
        or title == name.replace("_", " ").title()
        or title == found.get("type")
    ):
        return readable_name(name)
    return str(title)
