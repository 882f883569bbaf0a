"""Predicates: pure conditions on a state that explain their result.

`evaluate` returns an `Evaluation`: the result, the reason as text with the values filled in, and
exactly the keys read. Reasons are generated; a template may replace them.

    @predicate("confidence {s.confidence:.0%}, threshold {s.params.threshold:.0%}")
    def is_confident(state: Review) -> bool: ...

    key("confidence").at_least(0.8) & ~was_rejected
"""

from __future__ import annotations

import functools
import inspect
import logging
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NoReturn, TypeAlias, TypeVar, overload

from workflows.engine.errors import (
    DefinitionError,
    ExitRaised,
    PredicateFailed,
    describe,
)
from workflows.engine.frozen import FrozenDict, Json
from workflows.engine.state import State

from .format import format_value

logger = logging.getLogger(__name__)

S_contra = TypeVar("S_contra", bound=State, contravariant=True)
S = TypeVar("S", bound=State)

ABSENT = FrozenDict({"absent": True})
"""Marks a key in an evaluation's `values` that was read and is not in the state."""

ResultParts: TypeAlias = (
    "tuple[bool, str, tuple[Evaluation, ...]]"  # result, reason, parts
)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a predicate for a state, with its reason."""

    result: bool
    name: str
    reason: str  # as text, with the values filled in
    values: Mapping[str, Json] = field(
        default_factory=dict
    )  # by top-level key; see ABSENT
    parts: tuple[Evaluation, ...] = ()  # the evaluated parts of a combinator


class Predicate(ABC, Generic[S_contra]):
    """A named condition. Combine with `&`, `|` and `~`."""

    precedence: ClassVar[int] = 3  # of its name in combined names; “or” 1, “and” 2

    def __init__(self, name: str) -> None:
        """`name` is a phrase that fits after “if”."""
        self.name = name

    @staticmethod
    def of(function: Callable[[Any], bool]) -> Predicate[Any]:
        """Return a function of the state as a predicate. Raises DefinitionError."""
        return (
            function if isinstance(function, Predicate) else FunctionPredicate(function)
        )

    @abstractmethod
    def __call__(self, state: S_contra) -> bool:
        """Return the result without a reason; errors of the predicate pass."""

    def evaluate(self, state: S_contra) -> Evaluation:
        """Return the result with its reason. Raises PredicateFailed with the keys read so far."""
        reads: dict[str, None] = {}
        try:
            result, reason, parts = self._result(state.watched(reads))
        except _PartFailed as failed:
            reason, parts, error = failed.parts[-1].reason, failed.parts, failed.cause
        except Exception as raised:
            reason = f"{self.name} raised {_error_label(raised)}"
            parts, error = (), raised
        except BaseException as raised:
            error = ExitRaised(raised)
            error.__cause__ = raised
            reason, parts = f"{self.name} raised {error}", ()
        else:
            return Evaluation(result, self.name, reason, _read(state, reads), parts)
        evaluation = Evaluation(False, self.name, reason, _read(state, reads), parts)
        raise PredicateFailed(evaluation) from error

    @abstractmethod
    def _result(self, state: Any) -> ResultParts: ...

    def negated_reason(self, state: Any, evaluation: Evaluation) -> str:  # noqa: ARG002
        """Return the reason for the negated predicate."""
        return evaluation.reason

    def __and__(self: Predicate[S], other: Predicate[S]) -> Predicate[S]:
        """Both."""
        return all_of(self, other)

    def __or__(self: Predicate[S], other: Predicate[S]) -> Predicate[S]:
        """One of both, or both."""
        return any_of(self, other)

    def __invert__(self: Predicate[S]) -> Predicate[S]:
        """The opposite."""
        return not_(self)

    def __bool__(self) -> NoReturn:
        """Raise TypeError: `one and other` would silently ignore one of them."""
        raise TypeError(
            f"The predicate “{self.name}” is neither true nor false by itself. Combine predicates"
            " with &, | and ~ in place of `and`, `or` and `not`; ask `is None` for presence."
        )

    def __repr__(self) -> str:
        """Show the name."""
        return f"<predicate {self.name}>"


def _error_label(error: BaseException) -> str:
    name, text = type(error).__name__, describe(error)
    return name if text == name else f"{name}: {text}"


def _read(state: State, reads: Mapping[str, None]) -> dict[str, Json]:
    data = state.unwatched().data
    return {key: data.get(key, ABSENT) for key in reads}


class _PartFailed(Exception):
    """A part of a combinator failed; `parts` are those evaluated, the failed one last."""

    def __init__(
        self, parts: tuple[Evaluation, ...], cause: BaseException | None
    ) -> None:
        super().__init__()
        self.parts = parts
        self.cause = cause


# Functions --------------------------------------------------------------------------


class FunctionPredicate(Predicate[S_contra]):
    """A function of the state; the reason is its template, else the values it read."""

    def __init__(
        self,
        function: Callable[[Any], bool],
        template: str = "",
        name: str = "",
        otherwise: str = "",
    ) -> None:
        """Raises DefinitionError for an unsuitable function or an invalid template."""
        name = name or getattr(function, "__name__", type(function).__name__)
        name = "lambda" if name == "<lambda>" else name
        super().__init__(name)
        _check_function(function, name)
        _check_template(template, name)
        _check_template(otherwise, name)
        self.function = function
        self.template = template
        self.otherwise = otherwise or template  # the reason for a false result
        functools.update_wrapper(self, function, updated=())

    def __call__(self, state: S_contra) -> bool:
        """Return the result of the function as a bool."""
        return bool(self.function(state))

    def _result(self, state: Any) -> ResultParts:
        reads: dict[str, None] = {}
        result = bool(self.function(state.watched(reads)))
        source = state.unwatched()
        return (
            result,
            self._render_template(source, result=result)
            or self._default_reason(source, reads, result=result),
            (),
        )

    def _render_template(self, state: State, *, result: bool) -> str:
        """Return the filled-in template; "" if it does not fit, which must not fail the run."""
        template = self.template if result else self.otherwise
        try:
            return template.format(s=state)
        except BaseException as error:  # raised by author code, as nothing is awaited
            logger.warning(
                "The template of predicate “%s” does not fit the state (%s): %s",
                self.name,
                _error_label(error),
                template,
            )
            return ""

    def _default_reason(
        self, state: State, reads: Mapping[str, None], *, result: bool
    ) -> str:
        summary = f"{self.name} is {'true' if result else 'false'}"
        values = [
            f"{key} {_format_value(value)}"
            for key, value in _read(state, reads).items()
        ]
        return f"{summary}: {', '.join(values)}" if values else summary


def _format_value(value: Json) -> str:
    return "is absent" if value is ABSENT else format_value(value)


def _check_function(function: Callable[..., Any], name: str) -> None:
    why = ""
    if not callable(function):
        why = "a predicate is a function of the state"
    elif inspect.iscoroutinefunction(function):
        why = "a predicate waits for nothing, so it cannot be async; do that in a node before it"
    else:
        try:
            inspect.signature(function).bind(None)
        except TypeError:
            why = "a predicate takes the state and nothing else"
        except ValueError:  # some built-ins have no signature
            why = ""
    if why:
        raise DefinitionError(
            f"{function!r} cannot be the predicate “{name}”: {why}.",
            code="predicate.function",
        )


def _check_template(template: str, name: str) -> None:
    try:
        places = [part[1] for part in string.Formatter().parse(template)]
    except ValueError as error:
        raise DefinitionError(
            f"The template of predicate “{name}” is not well formed ({error}): {template!r}.",
            code="predicate.function",
        ) from error
    for place in places:
        if place is not None and place.replace("[", ".").partition(".")[0] != "s":
            raise DefinitionError(
                f"The template of predicate “{name}” has “{{{place}}}”; it knows the state only,"
                " as “{s.…}”.",
                code="predicate.function",
            )


@overload
def predicate(
    template: str = "", /, *, name: str = "", otherwise: str = ""
) -> Callable[[Callable[[S], bool]], FunctionPredicate[S]]: ...
@overload
def predicate(function: Callable[[S], bool], /) -> FunctionPredicate[S]: ...
def predicate(given: Any = "", /, *, name: str = "", otherwise: str = "") -> Any:
    """Turn a function of the state into a predicate with its name.

    `template` is the reason as text; `{s.…}` are values of the state. `otherwise` is the reason
    for a false result; by default the template is used for both.
    """
    if isinstance(given, str):
        return functools.partial(
            FunctionPredicate, template=given, name=name, otherwise=otherwise
        )
    return FunctionPredicate(given)


# Combinators ------------------------------------------------------------------------


class _Always(Predicate[S_contra]):
    def __call__(self, state: S_contra) -> bool:  # noqa: ARG002
        return True

    def _result(self, state: Any) -> ResultParts:  # noqa: ARG002
        return True, "always", ()


always: Predicate[State] = _Always("always")


class Not(Predicate[S_contra]):
    """True if its part is false."""

    def __init__(self, part: Predicate[S_contra]) -> None:
        super().__init__(f"not {_parenthesized(part, 3)}")
        self.part = part

    def __call__(self, state: S_contra) -> bool:
        """Return the negated result of the part."""
        return not self.part(state)

    def _result(self, state: Any) -> ResultParts:
        (inner,), result = _evaluate_parts((self.part,), state, stops_at=None)
        return not result, self.part.negated_reason(state.unwatched(), inner), (inner,)

    def negated_reason(self, state: Any, evaluation: Evaluation) -> str:  # noqa: ARG002
        """Return the reason of the part: a double negation."""
        return evaluation.parts[0].reason


class AllOf(Predicate[S_contra]):
    """True if every part is; stops at the first false one. True without parts."""

    precedence = 2

    def __init__(self, parts: tuple[Predicate[S_contra], ...]) -> None:
        """`parts` are evaluated in order."""
        super().__init__(
            " and ".join(_parenthesized(part, 3) for part in parts) or "always"
        )
        self.parts = parts

    def __call__(self, state: S_contra) -> bool:
        """Return whether every part is true."""
        return all(part(state) for part in self.parts)

    def _result(self, state: Any) -> ResultParts:
        parts, last = _evaluate_parts(self.parts, state, stops_at=False)
        return last is not False, _joined(parts) or "no conditions", parts


class AnyOf(Predicate[S_contra]):
    """True if any part is; stops at the first true one. False without parts."""

    precedence = 1

    def __init__(self, parts: tuple[Predicate[S_contra], ...]) -> None:
        """`parts` are evaluated in order."""
        super().__init__(
            " or ".join(_parenthesized(part, 2) for part in parts) or "never"
        )
        self.parts = parts

    def __call__(self, state: S_contra) -> bool:
        """Return whether any part is true."""
        return any(part(state) for part in self.parts)

    def _result(self, state: Any) -> ResultParts:
        parts, last = _evaluate_parts(self.parts, state, stops_at=True)
        return last is True, _joined(parts) or "there is nothing to choose from", parts


def not_(part: Predicate[S]) -> Predicate[S]:
    """Return the negation of a predicate."""
    return part.part if isinstance(part, Not) else Not(part)


def all_of(*parts: Predicate[S]) -> Predicate[S]:
    """Return a predicate that is true if every part is; always true without parts."""
    return AllOf(tuple(map(Predicate.of, parts)))


def any_of(*parts: Predicate[S]) -> Predicate[S]:
    """Return a predicate that is true if any part is; never true without parts."""
    return AnyOf(tuple(map(Predicate.of, parts)))


def _evaluate_parts(
    parts: tuple[Predicate[Any], ...], state: Any, *, stops_at: bool | None
) -> tuple[tuple[Evaluation, ...], bool | None]:
    """Return the evaluations up to the first result `stops_at`, and the last result."""
    evaluated: list[Evaluation] = []
    for part in parts:
        try:
            evaluated.append(part.evaluate(state))
        except PredicateFailed as error:
            raise _PartFailed(
                (*evaluated, error.evaluation), error.__cause__
            ) from error
        if evaluated[-1].result is stops_at:
            break
    return tuple(evaluated), evaluated[-1].result if evaluated else None


def _joined(parts: tuple[Evaluation, ...]) -> str:
    return "; ".join(part.reason for part in parts)


def _parenthesized(part: Predicate[Any], tightness: int) -> str:
    return part.name if part.precedence >= tightness else f"({part.name})"
