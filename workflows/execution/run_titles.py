"""Titles of runs, made of their params when they are launched.

People recognise a run by what it is about. The title is data like the params: viewers who may
not read the one do not see the other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from workflows.engine.adapters import schema
from workflows.engine.run_title import one_line, text_of
from workflows.infra.text import clean
from workflows.models import Document

if TYPE_CHECKING:
    from workflows.registry import AnyWorkflow

DOCUMENT, TEXT, NUMBER = "document", "text", "number"
PREFERENCE: Final = (DOCUMENT, TEXT, NUMBER)
NUMBERS: Final = {"integer", "number"}
# texts that distinguish no run for a person, or that are no names
OTHER_TEXTS: Final = {"uuid", "date-time", "date-time-local", "time", "duration"}


def title_of(workflow: AnyWorkflow, params: Mapping[str, Any]) -> str:
    """Return the title of a run with these checked params, "" if they have no name for it."""
    kinds = param_kinds(workflow.params_type) if workflow.params_type else {}
    if workflow.run_title is not None:
        shown = {key: params.get(key) for key in workflow.run_title.params}
        for key, value in shown.items():
            if kinds.get(key) == DOCUMENT:
                shown[key] = _document_names(value)
        return clean(workflow.run_title.render(shown))
    for kind in PREFERENCE:
        for key, found in kinds.items():
            if found == kind and (title := _default(kind, params.get(key))):
                return title
    return ""


def _default(kind: str, value: Any) -> str:
    if kind == DOCUMENT:
        value = _document_names(value)
    fits = not isinstance(value, bool | Mapping)
    return clean(one_line(text_of(value))) if fits else ""


def _document_names(value: Any) -> Any:
    """Return the names of documents in place of their ids; one of them or a list."""
    ids = value if isinstance(value, list) else [value]
    known = [pk for pk in ids if isinstance(pk, str) and _is_id(pk)]
    if not known:
        return None
    rows = Document.objects.filter(pk__in=known).values_list("pk", "name")
    names = {str(pk): name for pk, name in rows}
    found = [names[pk] for pk in known if pk in names]
    return found if isinstance(value, list) else next(iter(found), None)


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@functools.lru_cache(maxsize=1_000)
def param_kinds(params_type: Any) -> Mapping[str, str]:
    """Return DOCUMENT, TEXT or NUMBER for each param of a type that can name a run."""
    properties = schema(params_type).get("properties", {})
    kinds = {key: _kind_of(part) for key, part in properties.items()}
    return {key: kind for key, kind in kinds.items() if kind}


def _kind_of(part: Mapping[str, Any]) -> str:
    if "'reference': 'document'" in str(part):
        return DOCUMENT
    options = [one for one in part.get("anyOf", [part]) if one.get("type") != "null"]
    types = {one.get("type") for one in options}
    if "reference" in part or any("enum" in one or "const" in one for one in options):
        return ""
    if types == {"string"}:
        formats = {one.get("format") for one in options}
        return "" if formats & OTHER_TEXTS else TEXT
    is_number = bool(types & NUMBERS) and types <= {*NUMBERS, "string"}  # or a Decimal
    return NUMBER if is_number else ""
