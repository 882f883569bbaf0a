"""Format and verification of signed bundles of a run's history. No Django.

A bundle is JSON: the run, its stages, decisions and audit events (under the key
"interventions"), each with a hash over the previous hash and the row, and an Ed25519
signature over the last hash. The file and the public key suffice to verify that no row was
changed, removed, added or moved, and which installation signed it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from workflows.audit.seals import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMAT: Final = "signalbox-history/1"
# keys of the JSON, fixed by FORMAT: bundles that were signed have to verify
PARTS: Final = ("stages", "decisions", "interventions")
START: Final = hashlib.sha256(FORMAT.encode()).digest()


class InvalidBundle(ValueError):
    """The file is not a bundle."""


@dataclass(slots=True)
class Chain:
    """The running hash of a bundle."""

    head: bytes = START
    length: int = 0

    def hashed(self, row: Mapping[str, Any]) -> str:
        """Return the hash of the next row."""
        self.head = hashlib.sha256(self.head + canonical(dict(row)).encode()).digest()
        self.length += 1
        return self.head.hex()


def statement(bundle: Mapping[str, Any]) -> bytes:
    """Return the signed bytes: the head, the run id and the metadata."""
    names = ("format", "exported_at", "as_recorded", "findings", "rows", "head", "run")
    signed = {name: bundle[name] for name in names if name != "run"}
    return canonical({**signed, "run": bundle["run"]["id"]}).encode()


def read(text: str) -> dict[str, Any]:
    """Return a bundle. Raises InvalidBundle."""
    try:
        bundle = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidBundle(f"Not valid JSON for a bundle: {error}.") from error
    if not isinstance(bundle, dict) or bundle.get("format") != FORMAT:
        raise InvalidBundle(f"The bundle's format is not {FORMAT}.")
    missing = _missing(bundle)
    if missing:
        raise InvalidBundle(f"The bundle has no {missing}.")
    return bundle


def _missing(bundle: dict[str, Any]) -> str:
    """Return the name of the first part that is missing or has another type."""
    kinds: dict[str, type] = {
        "run": dict,
        **dict.fromkeys(PARTS, list),
        "exported_at": str,
        "as_recorded": bool,
        "findings": list,
        "rows": int,
        "head": str,
        "signature": str,
        "public_key": str,
    }
    for name, kind in kinds.items():
        if not isinstance(bundle.get(name), kind):
            return name
    rows = [bundle["run"], *(row for part in PARTS for row in bundle[part])]
    if not all(
        isinstance(row, dict) and isinstance(row.get("hash"), str) for row in rows
    ):
        return "hash in each of its rows"
    return "" if isinstance(bundle["run"].get("id"), str) else "id of its run"


def not_as_signed(bundle: dict[str, Any], public_key: str) -> Iterator[str]:
    """Yield a message for each deviation from what was signed with this key."""
    head, length = START, 0
    for name, row in _rows(bundle):
        length += 1
        chain = Chain(head)
        stated = chain.hashed({key: row[key] for key in row if key != "hash"})
        if stated != row["hash"]:
            yield f"{name}: it was changed, or a row before it was removed, added or moved"
        head = _bytes(row["hash"])
    if length != bundle["rows"]:
        yield f"the bundle has {length} rows, but {bundle['rows']} were signed"
    if head.hex() != bundle["head"]:
        yield "the last hash is not the signed one: rows are missing or changed"
    yield from _signature(bundle, public_key)


def _signature(bundle: dict[str, Any], public_key: str) -> Iterator[str]:
    if bundle["public_key"] != public_key:
        yield f"it names the key {bundle['public_key']}, not {public_key}"
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(_bytes(bundle["signature"]), statement(bundle))
    except ValueError:
        yield f"{public_key} is not a public key"
    except InvalidSignature:
        yield "the signature does not match this key and content"


def _rows(bundle: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "run", bundle["run"]
    for part in PARTS:
        for row in bundle[part]:
            step = f" of step {row['sequence']}" if "sequence" in row else ""
            yield f"{part.removesuffix('s')} {row.get('id')}{step}", row


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name in an object")
    return members


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
