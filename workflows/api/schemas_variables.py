"""What requests and responses about variables and secrets contain."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from ninja import Schema
from pydantic import Field

from workflows.api.schemas import NO_NUL, Input
from workflows.services.variables import (
    MAX_DESCRIPTION_LENGTH,
    MAX_VALUE_LENGTH,
)


class VariableIn(Input):
    """A variable or a secret."""

    value: str | None = Field(
        None,
        max_length=MAX_VALUE_LENGTH,
        pattern=NO_NUL,
        description="Of a variable. Everyone who may see variables can read it.",
    )
    secret: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_VALUE_LENGTH,
        pattern=NO_NUL,
        description="Of a secret: encrypted, and never shown again. Null keeps the stored one.",
    )
    description: str = Field("", max_length=MAX_DESCRIPTION_LENGTH, pattern=NO_NUL)
    workflows: list[Annotated[str, Field(max_length=100, pattern=NO_NUL)]] = Field(
        default_factory=list,
        max_length=200,
        description="Names of those whose runs may read it.",
    )


class VariableOut(Schema):
    """A variable or a secret."""

    name: str
    is_secret: bool
    value: str | None = Field(description="Null for a secret.")
    description: str
    workflows: list[str]
    created_at: dt.datetime
    updated_at: dt.datetime
