"""Conditions on the failure of a step, for the edges of its failure route."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from workflows.engine.errors import DefinitionError
from workflows.engine.failures import Failure
from workflows.engine.state import State

from .core import Evaluation, Predicate, ResultParts

Kinds: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
FailureTest: TypeAlias = Kinds | Callable[[Failure], bool]


class FailurePredicate(Predicate[State]):
    """Whether a step failed with one of some errors; without any, whether it failed at all."""

    def __init__(self, on: FailureTest | None = None) -> None:
        """Raises DefinitionError unless `on` is classes of errors or a function."""
        self.kinds: tuple[
            type[BaseException], ...
        ] = ()  # () without `on`, or a function
        self.function: Callable[[Failure], bool] | None = None
        if on is None:
            name = "failed"
        elif _are_errors(on):
            self.kinds = on if isinstance(on, tuple) else (on,)  # type: ignore[assignment]
            name = f"failed with {' or '.join(kind.__name__ for kind in self.kinds)}"
        elif isinstance(on, type | tuple) or not callable(on):
            raise DefinitionError(
                f"when_failed(on={on!r}) names no errors: give a class of exceptions, such as"
                " ConnectionError, a tuple of them, or a function of the failure."
            )
        else:
            self.function = on
            own_name = getattr(on, "__name__", type(on).__name__)
            name = f"failed, and {'lambda' if own_name == '<lambda>' else own_name}"
        super().__init__(name)

    def __call__(self, state: State) -> bool:
        """Return whether the last step failed as wanted."""
        return self._result(state)[0]

    def evaluate(self, state: State) -> Evaluation:
        """Return the result with the failure as the value that was read."""
        evaluation = super().evaluate(state)
        failure = state.step_failure
        shown = {} if failure is None else {"failure": failure.shown()}
        return replace(evaluation, values=shown)

    def covers(self, other: FailurePredicate) -> bool:
        """Return whether it is met by every failure that meets another one."""
        if self.function is not None:
            return self is other
        if not self.kinds:
            return True
        return bool(other.kinds) and all(
            any(issubclass(kind, own) for own in self.kinds) for kind in other.kinds
        )

    def _result(self, state: Any) -> ResultParts:
        failure: Failure | None = state.step_failure
        if failure is None:
            return False, "no step has failed", ()
        if self.function is not None:
            result = bool(self.function(failure))
            return result, f"{failure.text}; {self.name} is {str(result).lower()}", ()
        result = not self.kinds or failure.is_any(self.kinds)
        return result, failure.text + self._comment(failure, result=result), ()

    def _comment(self, failure: Failure, *, result: bool) -> str:
        """Return what the reason says of the wanted classes, unless it is obvious."""
        names = [kind.__name__ for kind in self.kinds]
        if not result:
            return f"; this is no {' or '.join(names)}"
        if not names or failure.type in names:
            return ""
        return f"; this is {' or '.join(names)}, or caused by it"


def _are_errors(on: object) -> bool:
    kinds = on if isinstance(on, tuple) else (on,)
    return bool(kinds) and all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
    )
