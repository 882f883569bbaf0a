"""Patterns: chain, parallel and conditional, each a plain function and a node."""

from __future__ import annotations

from .branches import branches
from .chain import ChainResult, chain, fold
from .conditional import conditional, route
from .parallel import ParallelResult, map  # noqa: A004 - the pattern's name
from .parallel_node import parallel

__all__ = [
    "ChainResult",
    "ParallelResult",
    "branches",
    "chain",
    "conditional",
    "fold",
    "map",
    "parallel",
    "route",
]
