"""What a bundle of a run's history is, and whether one is what was signed. No Django.

A bundle is JSON: the run, its stages, decisions and interventions, each with a hash that
covers the one before and itself, and an Ed25519 signature over the last hash. Whoever has
the file and the public key needs nothing else to tell that no row was changed, removed,
added or moved, and whose installation it is from.
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


class NoBundle(ValueError):
    """The file is no bundle; the message says why."""


@dataclass(slots=True)
class Chain:
    """The hashes of a bundle, one row after the other."""

    head: bytes = START
    length: int = 0

    def hashed(self, row: Mapping[str, Any]) -> str:
        """Return the hash of the next row."""
        self.head = hashlib.sha256(self.head + canonical(dict(row)).encode()).digest()
        self.length += 1
        return self.head.hex()


def statement(told: Mapping[str, Any]) -> bytes:
    """Return what is signed: the head, of which run, and what is said about it."""
    names = ("format", "exported_at", "as_recorded", "findings", "rows", "head", "run")
    signed = {name: told[name] for name in names if name != "run"}
    return canonical({**signed, "run": told["run"]["id"]}).encode()


def read(text: str) -> dict[str, Any]:
    """Return a bundle. Raises NoBundle."""
    try:
        told = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NoBundle(f"It is no JSON that a bundle could be: {error}.") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise NoBundle(f"Its format is not {FORMAT}.")
    missing = _missing(told)
    if missing:
        raise NoBundle(f"It has no {missing}.")
    return told


def _missing(told: dict[str, Any]) -> str:
    """Return the first part that is not there, or not what it should be."""
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
        if not isinstance(told.get(name), kind):
            return name
    rows = [told["run"], *(row for part in PARTS for row in told[part])]
    if not all(
        isinstance(row, dict) and isinstance(row.get("hash"), str) for row in rows
    ):
        return "hash in each of its rows"
    return "" if isinstance(told["run"].get("id"), str) else "id of its run"


def not_as_signed(told: dict[str, Any], public_key: str) -> Iterator[str]:
    """Yield a sentence for whatever is not as it was signed, under this key."""
    head, length = START, 0
    for name, row in _rows(told):
        length += 1
        chain = Chain(head)
        stated = chain.hashed({key: row[key] for key in row if key != "hash"})
        if stated != row["hash"]:
            yield f"{name}: it was changed, or a row before it was removed, added or moved"
        head = _bytes(row["hash"])
    if length != told["rows"]:
        yield f"there are {length} rows, and {told['rows']} were signed"
    if head.hex() != told["head"]:
        yield "the last hash is not the one that was signed: rows are missing or changed"
    yield from _signature(told, public_key)


def _signature(told: dict[str, Any], public_key: str) -> Iterator[str]:
    if told["public_key"] != public_key:
        yield f"it names the key {told['public_key']}, not {public_key}"
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(_bytes(told["signature"]), statement(told))
    except ValueError:
        yield f"{public_key} is no public key"
    except InvalidSignature:
        yield "the signature is not of this key, or not over this"


def _rows(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "run", told["run"]
    for part in PARTS:
        for row in told[part]:
            step = f" of step {row['sequence']}" if "sequence" in row else ""
            yield f"{part.removesuffix('s')} {row.get('id')}{step}", row


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
