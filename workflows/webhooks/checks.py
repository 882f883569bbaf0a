"""Checks of what people enter about a webhook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from workflows.errors import InvalidWebhook
from workflows.models import Deduplication, VerificationStyle
from workflows.services import entry_rules
from workflows.webhooks import mapping, signatures
from workflows.webhooks.mapping import BODY, CONSTANT, HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from workflows.webhooks.service import Plan

MAX_ROWS: Final = 100  # of the mapping, and of the filter
MAX_VALUES: Final = 50  # that a condition accepts
MAX_CONSTANT_BYTES: Final = 20_000


def check_plan(workflow: str, plan: Plan) -> None:
    """Raise InvalidWebhook, with messages by field, unless a plan is valid."""
    errors = entry_rules.errors_of(
        {
            "name": entry_rules.name_rule(plan.name),
            "style": entry_rules.choice_rule(plan.style, VerificationStyle.values),
            **entry_rules.launch_rules(workflow, plan.profile, plan.priority),
        }
    )
    for name, text in _problems(plan):
        errors.setdefault(name, []).append(text)
    if errors:
        raise InvalidWebhook(errors)


def require_valid_secret(secret: str, style: str) -> None:
    """Raise InvalidWebhook for a secret that the style cannot use."""
    if problem := signatures.problem_of(secret, style):
        raise InvalidWebhook({"secret": [problem]})


def _problems(plan: Plan) -> Iterator[tuple[str, str]]:
    yield from _problems_of_token(plan)
    yield from _problems_of_key(plan)
    yield from _problems_of_mapping(plan)
    yield from _problems_of_filters(plan)


def _problems_of_token(plan: Plan) -> Iterator[tuple[str, str]]:
    is_name = bool(signatures.HEADER_NAME.fullmatch(plan.token_header))
    if plan.style == VerificationStyle.TOKEN:
        if not is_name:
            yield "token_header", "Enter the name of a header, such as X-Gitlab-Token."
    elif plan.token_header:
        yield "token_header", "Only for a shared token. Leave it empty."


def _problems_of_key(plan: Plan) -> Iterator[tuple[str, str]]:
    kind, place = plan.deduplication, plan.deduplication_field
    if kind not in Deduplication.values:
        yield "deduplication", f"Choose from: {', '.join(Deduplication.values)}."
    elif kind == Deduplication.DELIVERY and plan.style == VerificationStyle.TOKEN:
        yield "deduplication", "A shared token has no delivery ID. Choose another one."
    elif kind == Deduplication.HEADER:
        yield from _problems_of_header("deduplication_field", place, plan)
    elif kind == Deduplication.FIELD:
        yield from _problems_of_path("deduplication_field", place)
    elif place:
        yield "deduplication_field", "Only for a header or a field. Leave it empty."


def _problems_of_header(
    field: str, name: object, plan: Plan
) -> Iterator[tuple[str, str]]:
    if not isinstance(name, str) or not signatures.HEADER_NAME.fullmatch(name):
        yield field, "Enter the name of a header, such as X-GitHub-Event."
    elif signatures.is_secret_header(name, plan.token_header):
        yield field, f"{name} can have a secret: it is not stored. Use another header."


def _problems_of_path(field: str, path: object) -> Iterator[tuple[str, str]]:
    if not isinstance(path, str) or "\x00" in path:
        yield field, "Enter a path, as text."
        return
    try:
        mapping.parse_path(path)
    except ValueError as error:
        yield field, str(error)


def _problems_of_mapping(plan: Plan) -> Iterator[tuple[str, str]]:
    if len(plan.mapping) > MAX_ROWS:
        yield "mapping", f"Enter up to {MAX_ROWS} rows."
    params = [str(row.get("param", "")) for row in plan.mapping]
    for row, param in zip(plan.mapping, params, strict=True):
        if not param.strip():
            yield "mapping", "Each row needs a parameter."
        elif params.count(param) > 1:
            yield "mapping", f"{param}: the parameter has several rows."
        for _, text in _problems_of_row(row, param, plan):
            yield "mapping", f"{param}: {text}"


def _problems_of_row(
    row: Mapping[str, Any], param: str, plan: Plan
) -> Iterator[tuple[str, str]]:
    yield from _problems_of_path("mapping", param)
    yield from _problems_of_source(row, plan, (BODY, HEADER, CONSTANT))


def _problems_of_source(
    row: Mapping[str, Any], plan: Plan, sources: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    source, value = row.get("source"), row.get("value")
    if source not in sources:
        yield "", f"Choose a source from: {', '.join(sources)}."
    elif source == BODY:
        yield from _problems_of_path("", value)
    elif source == HEADER:
        yield from _problems_of_header("", value, plan)
    elif len(json.dumps(value)) > MAX_CONSTANT_BYTES:
        yield "", f"A constant may have up to {MAX_CONSTANT_BYTES:,} bytes."


def _problems_of_filters(plan: Plan) -> Iterator[tuple[str, str]]:
    if len(plan.filters) > MAX_ROWS:
        yield "filters", f"Enter up to {MAX_ROWS} conditions."
    for row in plan.filters:
        for _, text in _problems_of_source(row, plan, (BODY, HEADER)):
            yield "filters", f"{row.get('value', '')}: {text}"
        values = row.get("values")
        if not isinstance(values, list) or not 0 < len(values) <= MAX_VALUES:
            yield "filters", f"{row.get('value', '')}: enter 1 to {MAX_VALUES} values."
        elif not all(_is_comparable(one) for one in values):
            most = mapping.MAX_TEXT_LENGTH
            yield "filters", f"Values are texts of up to {most} characters."


def _is_comparable(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= mapping.MAX_TEXT_LENGTH
        and "\x00" not in value
    )
