"""What the process of a run and the child process of an isolated node send each other."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .errors import IsolationFailed
from .outcomes import RunOutcome
from .state import State

RESULT: Final = b"R"
ERROR: Final = b"E"
LOG: Final = b"L"
PROGRESS: Final = b"P"

MAX_FRAME_BYTES: Final = 1 << 30
_HEAD_BYTES = 9  # kind and length


@dataclass(frozen=True, slots=True)
class Payload:
    """What a child has to know before it imports code of an author."""

    path: list[str]  # sys.path
    setups: tuple[str, ...]  # functions to call first, `module:name`
    module: str  # of the function
    name: str  # of the function in its module
    memory_bytes: int  # 0 = no limit
    cpu_seconds: int  # 0 = no limit
    key: str
    node: str
    sequence: int
    accepts_runtime: bool
    outcome: RunOutcome | None = None  # for an on_end node


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of a child."""

    kind: bytes
    body: bytes

    def packed(self) -> bytes:
        """Return the frame as bytes."""
        return self.kind + len(self.body).to_bytes(8, "big") + self.body


class Frames:
    """Assembles frames from chunks of bytes."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, chunk: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with this chunk. Raises IsolationFailed."""
        self._bytes += chunk
        while len(self._bytes) >= _HEAD_BYTES:
            length = int.from_bytes(self._bytes[1:_HEAD_BYTES], "big")
            if length > MAX_FRAME_BYTES:
                raise IsolationFailed(
                    "The process of an isolated node sent more than 1 GB at once, or wrote"
                    " into the pipe to the worker."
                )
            end = _HEAD_BYTES + length
            if len(self._bytes) < end:
                return
            frame = Frame(bytes(self._bytes[:1]), bytes(self._bytes[_HEAD_BYTES:end]))
            del self._bytes[:end]
            yield frame


def dump(value: object) -> bytes:
    """Return a value pickled, with states and their secrets. Raises what pickling raises."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def load(content: bytes) -> Any:
    """Return a value that `dump` pickled."""
    return pickle.loads(content)  # noqa: S301 - of author code, which runs here as well


class _Pickler(pickle.Pickler):
    """Pickles states, which can't be pickled otherwise, so that their secrets are not stored."""

    def reducer_override(self, value: object) -> Any:
        """Return how a state is restored."""
        if isinstance(value, State):
            return _restore_state, (
                type(value),
                value.data,
                value.run_id,
                value.checkpoint_node,
                value.sequence,
                value.timestamp,
                dict(value.secrets),
                value.step_failure,
            )
        return NotImplemented


def _restore_state(kind: type[State], data: Any, *place: Any) -> State:
    state = object.__new__(kind)
    run_id, node, sequence, timestamp, secrets, failure = place
    state._initialise(data, run_id, node, sequence, timestamp, {}, {}, failure)
    return state._with_secrets(secrets) if secrets else state
