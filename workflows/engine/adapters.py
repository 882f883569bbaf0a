"""One validator a type: they are costly to make, and params are checked at every launch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter


@functools.lru_cache(maxsize=1_000)
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what checks values of a type."""
    return TypeAdapter(kind)


@functools.lru_cache(maxsize=1_000)
def schema(kind: Any) -> Mapping[str, Any]:
    """Return the JSON schema of a type; nobody changes it."""
    return adapter(kind).json_schema()
