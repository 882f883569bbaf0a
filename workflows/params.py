"""What people and programs give to a run, checked before anything is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from workflows.engine.errors import NotSerialisable
from workflows.engine.frozen import freeze
from workflows.errors import ApprovalNotFound, InvalidParams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.registry import Known


def check_params(workflow: Known, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params as JSON with their defaults filled in. Raises InvalidParams."""
    return _checked(workflow.params_type, given)


def check_answer(
    workflow: Known, node_name: str, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return an answer as JSON. Raises InvalidParams, ApprovalNotFound."""
    node = workflow.graph.nodes.get(node_name)
    if node is None:
        raise ApprovalNotFound(node_name)
    return _checked(getattr(node, "answer_type", None), given)


def _checked(model: type[BaseModel] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if model is None:
            return dict(freeze(dict(given)))
        # JSON mode of validation: what comes from a form or an API is JSON
        data = model.model_validate(dict(given)).model_dump(mode="json")
        return dict(freeze(data))
    except ValidationError as error:
        raise InvalidParams(_messages(error)) from error
    except NotSerialisable as error:
        raise InvalidParams({error.path.split(".")[0]: [str(error)]}) from error


def _messages(error: ValidationError) -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        place = [str(part) for part in problem["loc"]]
        field, inner = (place[0], ".".join(place[1:])) if place else ("", "")
        text = problem["msg"].removeprefix("Value error, ")
        messages.setdefault(field, []).append(f"{inner}: {text}" if inner else text)
    return messages
