"""Shows the errors that a service found in the values of a valid form."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.forms import BaseForm

    from workflows.engine.errors import InputInvalid


def add_service_errors(
    form: BaseForm, error: InputInvalid, names: Mapping[str, str] | None = None
) -> None:
    """Add the messages at their fields, those of other fields to the whole form.

    `names` has the fields of the form by the names of the service, where they differ.
    """
    for name, texts in error.errors.items():
        field = (names or {}).get(name, name)
        form.add_error(field if field in form.fields else None, list(texts))
