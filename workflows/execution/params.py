"""What people and programs give to a run, checked before anything is queued."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from workflows.access import permissions
from workflows.engine.adapters import schema
from workflows.engine.errors import InputInvalid
from workflows.engine.inputs import check_input, check_launch
from workflows.errors import ApprovalNotFound, InvalidParams
from workflows.models import Agent, Document

if TYPE_CHECKING:
    from workflows.access.permissions import Person
    from workflows.registry import AnyWorkflow


def check_params(
    workflow: AnyWorkflow, given: Mapping[str, Any], *, by: Person | None = None
) -> dict[str, Any]:
    """Return the params as JSON with their defaults filled in, as the run will read them.

    Raises InvalidParams, also for a name the workflow does not know, which is most often
    a slip of the pen that a default would hide, for a document that is not there, or
    that `by` may not see, and for a value that would not be read back as it is.
    """
    kind = workflow.params_type
    try:
        params = _sized(check_launch(workflow, given))
    except InputInvalid as error:
        raise InvalidParams(error.errors) from error
    if kind is not None:
        described = schema(kind)
        _refuse_missing_documents(described, params, by)
        _refuse_missing_agents(described, params)
    return params


def check_answer(
    workflow: AnyWorkflow, node_name: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an answer as JSON. Raises InvalidParams, ApprovalNotFound."""
    node = workflow.graph.nodes.get(node_name)
    if node is None:
        raise ApprovalNotFound(node_name)
    try:
        answer = check_input(
            getattr(node, "answer_type", None), given, what="field", of="The answer"
        )
        return _sized(answer)
    except InputInvalid as error:
        raise InvalidParams(error.errors) from error


def _refuse_missing_documents(
    described: Mapping[str, Any], params: Mapping[str, Any], by: Person | None
) -> None:
    """Look up every document that is named at the top level of the params."""
    for name, part in described.get("properties", {}).items():
        if "'reference': 'document'" not in str(part) or params.get(name) is None:
            continue
        value = params[name]
        wanted = set(value) if isinstance(value, list) else {value}
        seen = (
            Document.objects.all() if by is None else permissions.visible_documents(by)
        )
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
