"""What people and programs give to a run, checked before anything is queued."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from pydantic import BaseModel, ValidationError

from workflows import access
from workflows.engine.adapters import adapter, schema
from workflows.engine.errors import NotSerialisable
from workflows.engine.frozen import freeze
from workflows.errors import ApprovalNotFound, InvalidParams
from workflows.models import Agent, Document

if TYPE_CHECKING:
    from workflows.access import Person
    from workflows.registry import Known


def check_params(
    workflow: Known, given: Mapping[str, Any], *, by: Person | None = None
) -> dict[str, Any]:
    """Return the params as JSON with their defaults filled in.

    Raises InvalidParams, also for a name the workflow does not know, which is most often
    a slip of the pen that a default would hide, and for a document that is not there, or
    that `by` may not see.
    """
    kind = workflow.params_type
    _refuse_unknown(workflow, given)
    params = _checked(kind, given)
    if kind is not None:
        described = schema(kind)
        _refuse_missing_documents(described, params, by)
        _refuse_missing_agents(described, params)
    return params


def check_answer(
    workflow: Known, node_name: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an answer as JSON. Raises InvalidParams, ApprovalNotFound."""
    node = workflow.graph.nodes.get(node_name)
    if node is None:
        raise ApprovalNotFound(node_name)
    return _checked(getattr(node, "answer_type", None), given)


def _refuse_unknown(workflow: Known, given: Mapping[str, Any]) -> None:
    kind = workflow.params_type
    if kind is None or not issubclass(kind, BaseModel):
        return
    fields = kind.model_fields
    known = {*fields, *(info.alias for info in fields.values() if info.alias)}
    if kind.model_config.get("extra") == "allow":
        return
    if unknown := [name for name in given if name not in known]:
        there_is = f"It takes {', '.join(fields)}." if fields else "It takes none."
        raise InvalidParams(
            {
                name: [f"{workflow.name} has no parameter “{name}”. {there_is}"]
                for name in unknown
            }
        )


def _refuse_missing_documents(
    described: Mapping[str, Any], params: Mapping[str, Any], by: Person | None
) -> None:
    """Look up every document that is named at the top level of the params."""
    for name, part in described.get("properties", {}).items():
        if "'reference': 'document'" not in str(part) or params.get(name) is None:
            continue
        value = params[name]
        wanted = set(value) if isinstance(value, list) else {value}
        seen = Document.objects.all() if by is None else access.documents_seen(by)
        found = seen.filter(pk__in=wanted).values_list("pk", flat=True)
        if missing := wanted - {str(pk) for pk in found}:
            raise InvalidParams(
                {name: [f"There is no document {one}." for one in sorted(missing)]}
            )


def _refuse_missing_agents(
    schema: Mapping[str, Any], params: Mapping[str, Any]
) -> None:
    """Look up every agent that is named at the top level of the params."""
    for name, part in schema.get("properties", {}).items():
        chosen = params.get(name)
        if part.get("reference") != "agent" or not chosen:
            continue
        if not Agent.objects.filter(name=chosen).exists():
            raise InvalidParams({name: [f"There is no agent “{chosen}”."]})


def _checked(kind: type | None, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if kind is None:
            return _sized(freeze(dict(given)))
        checks = adapter(kind)
        value = checks.validate_python(dict(given))
        told = checks.dump_python(value, mode="json")
        _must_be_numbers(checks.dump_python(value), "")
        return _sized(freeze(told))
    except ValidationError as error:
        raise InvalidParams(_messages(error)) from error
    except NotSerialisable as error:
        raise InvalidParams({error.path.split(".")[0]: [str(error)]}) from error
    except (ValueError, RecursionError) as error:  # what pydantic cannot write
        sentence = f"These values cannot be kept as JSON: {error}."
        raise InvalidParams({"": [sentence]}) from error


def _must_be_numbers(value: Any, path: str) -> None:
    """Raise NotSerialisable for what is no number: pydantic would write it as null."""
    if isinstance(value, float):
        freeze(value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _must_be_numbers(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            _must_be_numbers(item, f"{path}.{index}" if path else str(index))


def _sized(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values. Raises InvalidParams for more than a row should hold."""
    size, most = len(json.dumps(values)), settings.MAX_PARAMS_BYTES
    if size > most:
        sentence = (
            f"The values take {size:,} bytes, and up to {most:,} are taken. Put what is"
            " long into a document."
        )
        raise InvalidParams({"": [sentence]})
    return dict(values)


def _messages(error: ValidationError) -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        place = [str(part) for part in problem["loc"]]
        field, inner = (place[0], ".".join(place[1:])) if place else ("", "")
        text = problem["msg"].removeprefix("Value error, ")
        messages.setdefault(field, []).append(f"{inner}: {text}" if inner else text)
    return messages
