"""Variables and secrets over the API: list, define and delete them; pages are in Django admin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import InvalidVariable, VariableNotFound
from workflows.execution import variables
from workflows.models import Variable
from workflows.models.variables import NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.registry import Registry

MAX_NAME_LENGTH: Final = 60  # characters
MAX_VALUE_LENGTH: Final = 20_000  # characters
MAX_DESCRIPTION_LENGTH: Final = 200  # characters
MAX_VARIABLES: Final = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be stored: a value, or a secret; with neither, the stored secret stays."""

    value: str | None = None
    secret: str | None = None
    description: str = ""
    workflows: Sequence[str] = field(default_factory=tuple)  # that may read it


def visible_variables(user: User) -> QuerySet[Variable]:
    """Return the variables that a person may see: all or none."""
    rows = Variable.objects.order_by("name")
    return rows if permissions.can_view_variables(user) else rows.none()


def define(
    name: str, plan: Plan, *, by: User, registry: Registry
) -> tuple[Variable, bool]:
    """Add or replace a variable; return it, and whether it is new.

    Raises NotAllowed, InvalidVariable.
    """
    permissions.require(permissions.can_manage_variables(by), "change variables")
    with transaction.atomic():
        row = Variable.objects.select_for_update().filter(name=name).first()
        is_new = row is None
        row = row or Variable(name=name)
        _check(row, plan, registry, is_new=is_new)
        verb = "add" if is_new else "change"
        if plan.secret is not None:
            row.is_secret, row.secret = True, variables.encrypted(plan.secret)
        if plan.value is not None:
            row.value = plan.value
        row.description = plan.description
        row.workflows = sorted(set(plan.workflows))
        try:
            with audit_events.changing(f"{verb} variable", row, by=by):
                row.save()
        except IntegrityError as error:
            text = "It was defined by someone else at the same time. Try again."
            raise InvalidVariable({"name": [text]}) from error
    variables.forget()
    return row, is_new


def delete(name: str, *, by: User, reason: str) -> None:
    """Delete a variable: runs that read it fail.

    Raises NotAllowed, VariableNotFound, ReasonMissing.
    """
    permissions.require(permissions.can_manage_variables(by), "change variables")
    with transaction.atomic():
        row = Variable.objects.select_for_update().filter(name=name).first()
        if row is None:
            raise VariableNotFound
        audit_events.require_reason(reason, by=by)
        text = f"{name}: {reason}"
        with audit_events.changing("delete variable", row, by=by, reason=text):
            Variable.objects.filter(pk=row.pk).delete()
    variables.forget()


def _check(row: Variable, plan: Plan, registry: Registry, *, is_new: bool) -> None:
    """Raise InvalidVariable if a plan does not fit."""
    is_secret = row.is_secret  # False for a new one
    known = {*(one.name for one in registry.list()), *row.workflows}
    unknown = sorted(set(plan.workflows) - known)
    given = (plan.value, plan.secret)
    rules = {
        "name": (_is_name(row.name), str(NAME.message)),
        "value": (
            plan.value is None or not is_secret,
            "A secret cannot be turned into a variable: delete it first.",
        ),
        "secret": (
            plan.secret is None or is_new or is_secret,
            "A variable cannot be turned into a secret: delete it first.",
        ),
        "": (
            given.count(None) == 1 or (is_secret and given == (None, None)),
            "Enter either a value or a secret.",
        ),
        "workflows": (not unknown, f"Unknown workflows: {', '.join(unknown)[:200]}."),
    }
    errors = {one: [text] for one, (is_valid, text) in rules.items() if not is_valid}
    if is_new and Variable.objects.count() >= MAX_VARIABLES:
        errors[""] = [f"There are {MAX_VARIABLES} variables already. Delete one first."]
    if errors:
        raise InvalidVariable(errors)


def _is_name(text: str) -> bool:
    try:
        NAME(text)
    except ValidationError:
        return False
    return len(text) <= MAX_NAME_LENGTH
