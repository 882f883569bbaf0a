"""How a row of the history is sealed, and how the seals of a run make a chain.

A seal is the row's place in the chain of its run (from 1; 4 bytes) and a MAC (keyed
BLAKE2b, RFC 7693) over all that the row says and that place. The head of a chain is the
number of its seals and a MAC that covers the head before and the newest seal, and so
every seal there ever was.

Whoever changes a row breaks its seal; whoever adds, removes or swaps rows breaks the
places; whoever cuts off the end disagrees with the head. Without the key nobody makes a
seal or a head that fits. Nothing here knows Django or a database.

What is sealed is the same text whichever way a row came back: a list as Python writes it
in ASCII, moments as whole microseconds. JSON has its keys in order and its numbers by
their value, since PostgreSQL's jsonb keeps 1e2 as 100 and orders keys in its own way.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from hashlib import blake2b, sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

PLACE_BYTES: Final = 4
MAC_BYTES: Final = 16
SEAL_BYTES: Final = PLACE_BYTES + MAC_BYTES
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_FLOAT = re.compile(r"\d\.\d|\d[eE][-+]?\d")  # also in a text, which does no harm


def moment(at: dt.datetime) -> int:
    """Return a moment as whole microseconds since 1970, which every database keeps."""
    return (at - EPOCH) // _MICROSECOND


def canonical(value: Any) -> str:
    """Return a JSON value as the one text that stands for it."""
    text = _encode(value)
    return _encode(_by_value(value)) if _FLOAT.search(text) else text


def _by_value(value: Any) -> Any:
    """Return a JSON value in which 1.0, 1e0 and 1 are the same."""
    if isinstance(value, float):
        exact = Decimal(repr(value))
        return int(exact) if exact == exact.to_integral_value() else value
    if isinstance(value, dict):
        return {key: _by_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_by_value(inner) for inner in value]
    return value


def payload_digest(value: Any) -> bytes:
    """Return what stands for a payload in a row's seal: it holds when the payload goes."""
    return sha256(canonical(value).encode()).digest()


EMPTY: Final = payload_digest({})


def payload_digest_of_text(text: str) -> bytes:
    """Return the digest of a payload that is JSON text."""
    return EMPTY if text == "{}" else payload_digest(json.loads(text))


def mac(key: bytes, data: bytes) -> bytes:
    """Return the MAC of some bytes."""
    return blake2b(data, digest_size=MAC_BYTES, key=key).digest()


def seal(key: bytes, place: int, facts: Sequence[Any]) -> bytes:
    """Return the seal of a row at a place, for what `facts` says of it."""
    return place.to_bytes(PLACE_BYTES) + mac(key, ascii((place, facts)).encode())


def fits(key: bytes, sealed: bytes, facts: Sequence[Any]) -> bool:
    """Tell whether a row with this seal says what it said when it was sealed."""
    return compare_digest(seal(key, place_of(sealed), facts), sealed)


def place_of(sealed: bytes) -> int:
    """Return the place that a seal, or how many seals a head, speaks of."""
    return int.from_bytes(sealed[:PLACE_BYTES])


def start(chain: str) -> bytes:
    """Return the head of a chain that holds no seal yet, by the chain's name."""
    named = sha256(chain.encode()).digest()[:MAC_BYTES]
    return (0).to_bytes(PLACE_BYTES) + named


def follow(key: bytes, head: bytes, sealed: bytes) -> bytes:
    """Return the head once this seal has been added."""
    return sealed[:PLACE_BYTES] + mac(key, head + sealed)


def add(key: bytes, head: bytes, facts: Sequence[Any]) -> tuple[bytes, bytes]:
    """Return the seal of a row that comes after this head, and the head after it."""
    sealed = seal(key, place_of(head) + 1, facts)
    return sealed, follow(key, head, sealed)


# What each kind of row says ------------------------------------------------------------


def steps_of(run_id: UUID) -> str:
    """Return the name of the chain of a run's stages and decisions."""
    return f"steps {run_id.hex}"


def audit_chain_of(run_id: UUID | None) -> str:
    """Return the name of the chain of what people did to a run, or to no run."""
    # sealed: "deeds" is hashed into the head of every chain, so it is never renamed
    return f"deeds {run_id.hex}" if run_id else "deeds"


def stage_fields(run_id: UUID, attempt: int, row: Any) -> list[Any]:
    """Return what a stage says that has ended. `row` names its columns as a record does."""
    return [
        "stage", run_id.hex, attempt, row.sequence, row.node, row.iteration, row.tries,
        str(row.status), row.duration_ms, row.items_done, row.items_total, row.error,
        moment(row.created_at),
    ]  # fmt: skip


def decision_fields(
    run_id: UUID, workflow: str, attempt: int, row: Any, values: bytes
) -> list[Any]:
    """Return what a decision says; `values` is the digest of those it read."""
    return [
        "decision", run_id.hex, workflow, attempt, row.sequence, row.edge_index,
        row.from_node, row.to_node, row.predicate, row.result, row.reason,
        values.hex(), row.taken, row.decided_by_id, row.comment, moment(row.created_at),
    ]  # fmt: skip


def audit_event_fields(row: Any) -> list[Any]:
    """Return the sealed fields of an audit event."""
    # sealed: "deed" is part of the text of every seal, so it is never renamed
    return [
        "deed", row.run_id.hex if row.run_id else "", row.workflow_name, row.actor_key,
        row.actor_name, row.address, row.action, row.reason, str(row.status_before),
        str(row.status_after), canonical(row.before), canonical(row.after),
        moment(row.created_at),
    ]  # fmt: skip
