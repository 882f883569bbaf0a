"""Predicates: pure conditions on a state that explain their result, and the edges that use them.

core.py     Predicate, Evaluation, functions as predicates, and / or / not
keys.py     comparisons of one key of the state
edges.py    edges between nodes
failures.py conditions on the failure of a step
format.py   values in the text of a reason
wording.py  the result of a condition as text
"""

from __future__ import annotations

from .core import (
    ABSENT,
    Evaluation,
    FunctionPredicate,
    Predicate,
    all_of,
    always,
    any_of,
    not_,
    predicate,
)
from .edges import Edge
from .failures import FailurePredicate, FailureTest
from .keys import Key, key, key_equals, key_exists

__all__ = [
    "ABSENT",
    "Edge",
    "Evaluation",
    "FailurePredicate",
    "FailureTest",
    "FunctionPredicate",
    "Key",
    "Predicate",
    "all_of",
    "always",
    "any_of",
    "key",
    "key_equals",
    "key_exists",
    "not_",
    "predicate",
]
