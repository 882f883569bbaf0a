"""Seals of rows, and the chain of the seals of a run. No Django, no database.

A seal is the position of the row in its chain (from 1; 4 bytes) and a MAC (keyed BLAKE2b,
RFC 7693) over the fields of the row and the position. The head of a chain is the number
of its seals and a MAC over the previous head and the newest seal, and thereby over every
seal of the chain.

Changing a row breaks its seal; adding, removing or swapping rows breaks the positions;
cutting off the end contradicts the head. Seals and heads cannot be forged without the key.

The sealed text does not depend on the database: it is the ASCII representation of a
Python list, with times as whole microseconds. JSON has sorted keys and numbers by value,
since PostgreSQL's jsonb stores 1e2 as 100 and reorders keys. The sealed texts, including
"deed" and "deeds", are a format: a change would invalidate existing histories.
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

POSITION_BYTES: Final = 4
MAC_BYTES: Final = 16
SEAL_BYTES: Final = POSITION_BYTES + MAC_BYTES
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
_FLOAT = re.compile(
    r"\d\.\d|\d[eE][-+]?\d"
)  # also matches in strings, which is harmless


def microseconds(at: dt.datetime) -> int:
    """Return a time as microseconds since 1970, the precision of every database."""
    return (at - EPOCH) // _MICROSECOND


def canonical(value: Any) -> str:
    """Return the canonical text of a JSON value."""
    text = _encode(value)
    return _encode(_by_value(value)) if _FLOAT.search(text) else text


def _by_value(value: Any) -> Any:
    """Replace integral floats by integers, so that 1.0, 1e0 and 1 are equal."""
    if isinstance(value, float):
        exact = Decimal(repr(value))
        return int(exact) if exact == exact.to_integral_value() else value
    if isinstance(value, dict):
        return {key: _by_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_by_value(inner) for inner in value]
    return value


def payload_digest(value: Any) -> bytes:
    """Return the digest that represents a payload in a seal, also after its deletion."""
    return sha256(canonical(value).encode()).digest()


EMPTY: Final = payload_digest({})


def payload_digest_of_text(text: str) -> bytes:
    """Return the digest of a payload that is JSON text."""
    return EMPTY if text == "{}" else payload_digest(json.loads(text))


def mac(key: bytes, data: bytes) -> bytes:
    """Return the MAC of `data`."""
    return blake2b(data, digest_size=MAC_BYTES, key=key).digest()


def seal(key: bytes, position: int, fields: Sequence[Any]) -> bytes:
    """Return the seal of a row with these fields at a position."""
    return position.to_bytes(POSITION_BYTES) + mac(
        key, ascii((position, fields)).encode()
    )


def fits(key: bytes, sealed: bytes, fields: Sequence[Any]) -> bool:
    """Return whether a seal matches the fields of its row."""
    return compare_digest(seal(key, position_of(sealed), fields), sealed)


def position_of(sealed: bytes) -> int:
    """Return the position of a seal, or the number of seals of a head."""
    return int.from_bytes(sealed[:POSITION_BYTES])


def start(chain: str) -> bytes:
    """Return the head of an empty chain, by its name."""
    named = sha256(chain.encode()).digest()[:MAC_BYTES]
    return (0).to_bytes(POSITION_BYTES) + named


def follow(key: bytes, head: bytes, sealed: bytes) -> bytes:
    """Return the head after adding a seal."""
    return sealed[:POSITION_BYTES] + mac(key, head + sealed)


def add(key: bytes, head: bytes, fields: Sequence[Any]) -> tuple[bytes, bytes]:
    """Return the seal of the next row, and the new head."""
    sealed = seal(key, position_of(head) + 1, fields)
    return sealed, follow(key, head, sealed)


# Sealed fields ------------------------------------------------------------------------


def steps_of(run_id: UUID) -> str:
    """Return the name of the chain of a run's stages and decisions."""
    return f"steps {run_id.hex}"


def audit_chain_of(run_id: UUID | None) -> str:
    """Return the name of the chain of audit events of a run, or of those without one."""
    # sealed: "deeds" is hashed into the head of every chain, so it is never renamed
    return f"deeds {run_id.hex}" if run_id else "deeds"


DEFAULT: Final = ("node", None, None)  # kind, undoes and branch of most stages


def stage_fields(run_id: UUID, attempt: int, row: Any) -> list[Any]:
    """Return the sealed fields of an ended stage (a StageRow)."""
    return [
        "stage", run_id.hex, attempt, row.sequence, row.node, row.iteration, row.tries,
        str(row.status), row.duration_ms, row.items_done, row.items_total, row.error,
        microseconds(row.created_at),
        # stages older than closings and branches were sealed without these
        *_place(row),
    ]  # fmt: skip


def _place(row: Any) -> list[Any]:
    if row.inherited_from is not None:
        place = [str(row.kind), row.undoes, row.branch]
        return [*place, "inherited", row.inherited_from.hex]
    if (row.kind, row.undoes, row.branch) == DEFAULT:
        return []
    branch = [] if row.branch is None else [row.branch]
    return [str(row.kind), row.undoes, *branch]


def decision_fields(
    run_id: UUID, workflow: str, attempt: int, row: Any, values: bytes
) -> list[Any]:
    """Return the sealed fields of a decision; `values` is the digest of its values."""
    return [
        "decision", run_id.hex, workflow, attempt, row.sequence, row.edge_index,
        row.from_node, row.to_node, row.predicate, row.result, row.reason,
        values.hex(), row.taken, row.decided_by_id, row.comment, microseconds(row.created_at),
        # most decisions are evaluated by the run that has them
        *(_source(row) if row.kind or row.inherited_from else []),
    ]  # fmt: skip


def _source(row: Any) -> list[str]:
    inherited = row.inherited_from
    return [str(row.kind or ""), "" if inherited is None else inherited.hex]


def audit_event_fields(row: Any) -> list[Any]:
    """Return the sealed fields of an audit event."""
    # sealed: "deed" is part of the text of every seal, so it is never renamed
    return [
        "deed", row.run_id.hex if row.run_id else "", row.workflow_name, row.actor_key,
        row.actor_name, row.address, row.action, row.reason, str(row.status_before),
        str(row.status_after), canonical(row.before), canonical(row.after),
        microseconds(row.created_at),
        # rows older than API tokens were sealed without it
        *([row.token_name] if row.token_name else []),
    ]  # fmt: skip
