"""Checks of launch params and approval responses before anything is queued."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from workflows.access import permissions
from workflows.engine.adapters import schema
from workflows.engine.errors import InputInvalid
from workflows.engine.input_validation import check_input, check_launch
from workflows.errors import ApprovalNotFound, InvalidParams
from workflows.models import Agent, Document, RunFile

if TYPE_CHECKING:
    from workflows.access.permissions import Person
    from workflows.registry import AnyWorkflow


def check_params(
    workflow: AnyWorkflow, given: Mapping[str, Any], *, by: Person | None = None
) -> dict[str, Any]:
    """Return the params as JSON with their defaults filled in, as the run will read them.

    Raises InvalidParams, also for an unknown name, which is usually a typing error that a
    default would hide, for a document that does not exist or that `by` may not see, and
    for a value that would not be read back unchanged.
    """
    kind = workflow.params_type
    try:
        params = _with_size_checked(check_launch(workflow, given))
    except InputInvalid as error:
        raise InvalidParams(error.errors) from error
    if kind is not None:
        described = schema(kind)
        _check_documents(described, params, by)
        _check_agents(described, params)
    return params


def check_response(
    workflow: AnyWorkflow, node_name: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an approval's response as JSON. Raises InvalidParams, ApprovalNotFound."""
    node = workflow.graph.all_nodes.get(node_name)
    if node is None:
        raise ApprovalNotFound(node_name)
    return check_answer(getattr(node, "answer_type", None), given, of="The response")


def check_answer(kind: Any, given: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Return a value that a node waits for as JSON. Raises InvalidParams."""
    try:
        return _with_size_checked(check_input(kind, given, what="field", of=of))
    except InputInvalid as error:
        raise InvalidParams(error.errors) from error


def _check_documents(
    described: Mapping[str, Any], params: Mapping[str, Any], by: Person | None
) -> None:
    """Check that the documents at the top level of the params exist and are visible.

    A document is an uploaded one, or a file that a run made.
    """
    for name, part in described.get("properties", {}).items():
        if "'reference': 'document'" not in str(part) or params.get(name) is None:
            continue
        value = params[name]
        wanted = set(value) if isinstance(value, list) else {value}
        if missing := wanted - _visible_ids(wanted, by):
            raise InvalidParams(
                {name: [f"There is no document {pk}." for pk in sorted(missing)]}
            )


def _visible_ids(wanted: Collection[str], by: Person | None) -> set[str]:
    """Return those of the ids that are documents which one may see, all without a person."""
    documents, files = Document.objects.all(), RunFile.objects.all()
    if by is not None:
        documents = permissions.visible_documents(by)
        files = permissions.visible_files(by)
    found = {
        str(pk)
        for rows in (documents, files)
        for pk in rows.filter(pk__in=wanted).values_list("pk", flat=True)
    }
    return found & set(wanted)


def _check_agents(schema: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Check that the agents at the top level of the params exist."""
    for name, part in schema.get("properties", {}).items():
        chosen = params.get(name)
        if part.get("reference") != "agent" or not chosen:
            continue
        if not Agent.objects.filter(name=chosen).exists():
            raise InvalidParams({name: [f"There is no agent “{chosen}”."]})


def _with_size_checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values. Raises InvalidParams above MAX_PARAMS_BYTES."""
    size, limit = len(json.dumps(values)), settings.MAX_PARAMS_BYTES
    if size > limit:
        message = (
            f"The values take {size:,} bytes, and up to {limit:,} are taken. Put what is"
            " long into a document."
        )
        raise InvalidParams({"": [message]})
    return dict(values)
