"""Predicates: pure questions to a state that explain themselves, and the edges that ask them.

core.py     Predicate, Evaluation, functions as predicates, and / or / not
keys.py     one key of the state compared with something
edges.py    the way from node to node
words.py    values in the words of a reason
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
from .keys import Key, key, key_equals, key_exists

__all__ = [
    "ABSENT",
    "Edge",
    "Evaluation",
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
