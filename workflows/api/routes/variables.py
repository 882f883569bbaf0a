"""Variables and secrets that nodes read. The value of a secret is in no response."""

from __future__ import annotations

from typing import Annotated, Any

from ninja import Query, Router
from ninja import Status as Reply
from ninja.params import functions as param_functions

from workflows.access import permissions
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_variables import VariableIn, VariableOut
from workflows.models import Variable
from workflows.registry import registry
from workflows.services import variables
from workflows.services.variables import MAX_NAME_LENGTH, Plan

router = Router(tags=["variables"])
Name = Annotated[str, param_functions.Path(max_length=MAX_NAME_LENGTH)]


@router.get("", response={200: list[VariableOut], **errors(403)})
def list_variables(request: ApiRequest) -> Any:
    """List the variables and secrets, by name."""
    permissions.require(permissions.can_view_variables(request.user), "view variables")
    rows = variables.visible_variables(request.user)
    return [_variable(row) for row in rows]


@router.put("/{variable}", response={200: VariableOut, 201: VariableOut, **errors(403)})
def define_variable(request: ApiRequest, variable: Name, body: VariableIn) -> Any:
    """Add or replace a variable or a secret; attempts that begin later read it."""
    plan = Plan(**body.model_dump())
    row, is_new = variables.define(variable, plan, by=request.user, registry=registry)
    return Reply(201 if is_new else 200, _variable(row))


@router.delete("/{variable}", response={204: None, **errors(403, 404)})
def delete_variable(request: ApiRequest, variable: Name, query: Query[Reason]) -> Any:
    """Delete a variable or a secret. Nodes that read it fail."""
    variables.delete(variable, by=request.user, reason=query.reason)
    return Reply(204, None)


def _variable(row: Variable) -> VariableOut:
    return VariableOut(
        name=row.name,
        is_secret=row.is_secret,
        value=None if row.is_secret else row.value,
        description=row.description,
        workflows=row.workflows,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
