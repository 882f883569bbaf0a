"""A store that records every call and fails as a case defines."""

from __future__ import annotations

import builtins
from typing import Any

from workflows.engine import State
from workflows.engine.errors import CheckpointNotFound


class StoreFailed(Exception):
    """The failure of the store that a case defines."""


class RecordingStore:
    """Stores states as objects, or as text if the store of the case serialises."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.serialises = spec["kind"] != "memory"
        self.calls: builtins.list[dict[str, Any]] = []  # of the current step
        self.saved: builtins.list[State] = []  # in all
        self._states: dict[str, State | str] = {}

    def save(self, state: State) -> None:
        """Save a state; saves of the initial one are not recorded, as in the reference."""
        if state.sequence:
            call = {
                "call": "save",
                "node": state.checkpoint_node,
                "run_id": state.run_id,
            }
            self.calls.append(call)
            self.saved.append(state)
            if len(self.saved) in self._failing_saves():
                self._fail(call)
        self._states[state.run_id] = state.to_json() if self.serialises else state

    def _failing_saves(self) -> builtins.list[int]:
        """Return the numbers of failing saves, from 1; a case has one number or several."""
        given = self.spec.get("fail_save_on") or []
        return given if isinstance(given, builtins.list) else [given]

    def load(self, run_id: str) -> State:
        call = {"call": "load", "run_id": run_id}
        self.calls.append(call)
        if self.spec.get("fail_load"):
            self._fail(call)
        if run_id not in self._states:
            call["error"] = "not found"
            raise CheckpointNotFound(run_id)
        return self._state(run_id)

    def delete(self, run_id: str) -> None:
        call = {"call": "delete", "run_id": run_id}
        self.calls.append(call)
        if self.spec.get("fail_delete"):
            self._fail(call)
        self._states.pop(run_id, None)

    def list(self) -> builtins.list[str]:
        return sorted(self._states)

    def content(self) -> dict[str, State]:
        """Return the checkpoints by run id, without initial states."""
        states = {run_id: self._state(run_id) for run_id in self._states}
        return {run_id: state for run_id, state in states.items() if state.sequence}

    def _state(self, run_id: str) -> State:
        stored = self._states[run_id]
        return State.from_json(stored) if isinstance(stored, str) else stored

    def _fail(self, call: dict[str, Any]) -> None:
        call["error"] = self.spec.get("message", "the store failed")
        raise StoreFailed(call["error"])
