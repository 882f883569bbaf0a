"""The exceptions of the engine; the first docstring line is the default message.

The codes are in error_codes.py. A message contains the problem, the place and, unless
obvious, the remedy.

    WorkflowError
    ├─ DefinitionError          a mistake in a workflow, raised while its graph is built
    │  └─ ConfigurationError    an invalid limit or interval, or an unregistered name
    ├─ RequestError             a mistake of the caller (subclasses are in workflows/errors.py)
    │  ├─ LimitKeyInvalid       the function `key` of the limits of a workflow failed
    │  ├─ ResponseRefused       this person may not respond to the approval (run in memory)
    │  └─ InputInvalid          invalid input of a workflow: messages by field
    └─ RunError                 a failure of a run, stored with the run
       ├─ ExecutionError        one attempt ended: code, node, path, state
       ├─ ResumeError           a run cannot be resumed: code, run ID
       ├─ NotSerialisable       a value that cannot be stored: path, type
       ├─ CheckpointNotFound    the run has no checkpoint
       ├─ CheckpointMismatch    a stored state does not fit the State class
       ├─ StateError            an unknown field of a State class, or an invalid value
       ├─ PredicateFailed       a predicate raised: edge, evaluation
       ├─ NodeTimedOut          a try took too long; also a TimeoutError
       │  └─ NodeSilent         a try reported no progress within its heartbeat
       ├─ ResourceFailed        a resource of the workflow could not be opened
       ├─ ProcessDied           the process of an isolated node ended: node, end
       │  └─ LimitExceeded      it exceeded its memory or CPU time
       ├─ IsolationFailed       a node could not be isolated, or its result not returned
       ├─ ExitRaised            author code raised something other than an Exception
       ├─ AnswerInvalid         a response does not fit its form
       ├─ ApprovalExpired       an approval expired without a default response
       ├─ ApprovalNotRequested  a function of an approval failed: node
       ├─ EventExpired          an event did not arrive in time, without a default value
       ├─ SubworkflowFailed     the child run did not complete
       └─ PatternError          ChainError, ParallelError (ItemError each), ConditionalError,
                                BranchesFailed

    Signal (BaseException)      control flow, which a node's `except Exception` does not catch
    ├─ Cancelled                the run was cancelled
    ├─ DeadlinePassed           the run passed its deadline
    ├─ Paused                   the run waits for a person, a time, an event or another run
    └─ Superseded               this attempt no longer owns the run
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from .error_codes import CODES

if TYPE_CHECKING:
    from .predicates import Edge, Evaluation
    from .process_limits import ProcessEnd
    from .state import State


HINTS: Mapping[str, str] = {
    "max_iterations": "Give the loop an end, or raise the limit in the configuration.",
    "dead_end": "Give it an edge, or make it an exit.",
    "no_transition": "End its edges with one without a condition (`otherwise`).",
}
"""The remedy for an `ExecutionError`, by code, where its cause does not suggest one."""


class WorkflowError(Exception):
    """A workflow is declared wrongly, or an operation on it failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle message and attributes instead of arguments, so that process pools work."""
        return _restore, (type(self), self.args), self.__dict__


class DefinitionError(WorkflowError):
    """The workflow is declared wrongly."""

    def __init__(self, message: str | None = None, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class ConfigurationError(DefinitionError):
    """The configuration is invalid."""


class RequestError(WorkflowError):
    """The request cannot be processed."""

    status: ClassVar[int] = 400  # HTTP


class ResponseRefused(RequestError):
    """This person may not respond to the approval."""

    status = 403


class LimitKeyInvalid(RequestError):
    """The function that makes the key of the limits failed."""

    status = 409

    def __init__(self, workflow: str, problem: str) -> None:
        """`problem` completes the sentence about the function."""
        super().__init__(
            f"Not launched: the function `key` of the limits of “{workflow}” {problem}."
        )


class InputInvalid(RequestError):
    """Some values are no valid input of the workflow."""

    status = 422

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        """`errors` are the messages by field; the key "" is for the input as a whole."""
        super().__init__(
            " ".join(
                f"{field}: {' '.join(messages)}" if field else " ".join(messages)
                for field, messages in errors.items()
            )
        )
        self.errors = errors


class RunError(WorkflowError):
    """The run failed."""


class ExecutionError(RunError):
    """An attempt of the run ended before an exit."""

    def __init__(
        self,
        code: str,
        *,
        node: str = "",
        path: Sequence[str] = (),
        state: State | None = None,
        limit: int | None = None,
    ) -> None:
        self.code = code
        self.node = node
        self.path = tuple(path)  # the nodes that ran in this attempt, in order
        self.state = state  # the last complete state
        self.limit = limit
        super().__init__(code)

    def __str__(self) -> str:
        """Return node, message and cause."""
        what = CODES.get(self.code, self.code)
        if self.limit is not None:
            what = f"{what} ({self.limit})"
        if self.__cause__ is not None:
            return f"At “{self.node}”: {what}: {describe(self.__cause__)}"
        hint = HINTS.get(self.code, "")
        return f"At “{self.node}”: {what}. {hint}".rstrip()

    @property
    def is_cancelled(self) -> bool:
        """Whether the cause is a cancellation, at any point of the run."""
        return self.code == "cancelled" or caused_by(self, Cancelled)

    @property
    def is_deadline(self) -> bool:
        """Whether the cause is the deadline of the run."""
        return self.code == "deadline" or caused_by(self, DeadlinePassed)


class ResumeError(RunError):
    """The run cannot be resumed."""

    def __init__(
        self,
        code: str,
        run_id: str = "",
        *,
        node: str = "",
        state: State | None = None,
    ) -> None:
        self.code = code
        self.run_id = run_id
        self.node = node
        self.state = state  # the stored state, if it was loaded
        at = f" at “{node}”" if node else ""
        super().__init__(
            f"Run {run_id} cannot be resumed{at}: {CODES.get(code, code)}."
        )

    def __str__(self) -> str:
        """Return message and cause."""
        return _with_cause(super().__str__(), self)


class NotSerialisable(RunError):
    """A value cannot be stored in a checkpoint."""

    def __init__(self, path: str, kind: type, why: str = "") -> None:
        self.path = path  # keys and indices, e.g. pages.3.author
        self.type = kind
        where = f"“{path}”" if path else "the top of the state"
        reason = why or "a state holds JSON values, and this is none"
        super().__init__(
            f"The {kind.__name__} at {where} cannot be stored: {reason.rstrip('.')}."
        )


class CheckpointNotFound(RunError):
    """There is no checkpoint of that run."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"There is no checkpoint of run {run_id}.")


class CheckpointMismatch(RunError):
    """A stored state does not fit what reads it."""

    code: ClassVar[str] = "checkpoint_mismatch"


class StateError(RunError):
    """A State class does not accept a field or its value."""


class PredicateFailed(RunError):
    """A predicate raised."""

    def __init__(self, evaluation: Evaluation, edge: Edge | None = None) -> None:
        self.evaluation = evaluation
        self.edge = edge
        where = f" of {edge.source} → {edge.target}" if edge else ""
        super().__init__(
            f"The predicate “{evaluation.name}”{where} failed: {evaluation.reason}."
        )


class NodeTimedOut(RunError, TimeoutError):
    """A try of a node took longer than its timeout."""

    def __init__(self, node: str, seconds: float) -> None:
        self.node = node
        self.seconds = seconds
        super().__init__(f"“{node}” did not finish within {seconds:g} s.")


class NodeSilent(NodeTimedOut):
    """A try of a node reported no progress for longer than its heartbeat."""

    def __init__(self, node: str, seconds: float) -> None:
        super().__init__(node, seconds)
        self.args = (f"“{node}” reported no progress for {seconds:g} s.",)


class ResourceFailed(RunError):
    """A resource that the workflow declares could not be opened."""


class ProcessDied(RunError):
    """The process of an isolated node ended before it returned a result."""

    def __init__(self, message: str, end: ProcessEnd | None = None) -> None:
        super().__init__(message)
        self.end = end  # None: its exit was not observed


class LimitExceeded(ProcessDied):
    """An isolated node exceeded its memory or CPU time."""


class IsolationFailed(RunError):
    """A node could not be executed in a child process."""


class ExitRaised(RunError):
    """Author code raised something other than an Exception, such as SystemExit.

    The cause is the original exception. It is never retried, as the code meant to exit.
    """

    def __init__(self, raised: BaseException) -> None:
        name, text = type(raised).__name__, describe(raised)
        super().__init__(name if text == name else f"{name}: {text}")


class AnswerInvalid(RunError):
    """An answer does not fit its form."""

    def __init__(self, node: str, error: Exception) -> None:
        self.node = node
        super().__init__(
            f"The answer to “{node}” does not fit its form: {describe(error)}"
        )


class ApprovalExpired(RunError):
    """An approval expired, and no response is declared for expiry."""

    def __init__(self, node: str, within: timedelta | None, votes: int = 0) -> None:
        self.node = node
        self.within = within  # None if a function decides it
        time = f" within {within}" if within else ""
        who = f"Too few persons ({votes})" if votes else "No one"
        super().__init__(
            f"{who} responded to “{node}”{time}, and no response is declared for expiry."
        )


class ApprovalNotRequested(RunError):
    """A function of an approval failed, or returned a wrong value."""

    def __init__(self, node: str, why: str) -> None:
        self.node = node
        super().__init__(f"The approval “{node}” was not requested: {why}.")


class EventExpired(RunError):
    """No message arrived in time, and no value is declared for expiry."""

    def __init__(self, node: str, waited_for: str, within: timedelta | None) -> None:
        self.node = node
        self.within = within
        time = f" within {within}" if within else ""
        super().__init__(
            f"“{node}” received no {waited_for}{time}, and no value is declared for expiry."
        )


class SubworkflowFailed(RunError):
    """The child run did not complete."""


class PatternError(RunError):
    """A pattern failed."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class ChainError(PatternError):
    """A chain stopped at one of its steps."""

    def __init__(
        self, code: str, *, step: int, item: Any, state: Any, result: Any = None
    ) -> None:
        self.step_index = step  # from 0
        self.item = item
        self.state = state  # the accumulator before the step
        self.result = result  # the ChainResult of the completed steps
        what = "was cancelled before" if code.endswith("cancelled") else "failed at"
        super().__init__(code, f"The chain {what} step {step + 1}.")

    def __str__(self) -> str:
        """Return message and cause."""
        return _with_cause(super().__str__(), self)


@dataclass(frozen=True, slots=True)
class ItemError:
    """One item of a parallel node that failed."""

    index: int  # from 0
    item: Any
    cause: BaseException

    @property
    def message(self) -> str:
        """The message of the cause."""
        return describe(self.cause)


class ParallelError(PatternError):
    """Items of a parallel node failed, or it was cancelled."""

    def __init__(
        self,
        code: str,
        *,
        errors: Sequence[ItemError] = (),
        results: Sequence[Any] = (),
    ) -> None:
        self.errors = tuple(errors)
        self.results = tuple(results)
        super().__init__(code, summary(self.errors) or "The items were cancelled.")


class ConditionalError(PatternError):
    """A conditional node found no route, or its handler failed."""

    _MESSAGES: ClassVar[Mapping[str, str]] = {
        "conditional.predicate": "The route could not be chosen.",
        "conditional.handler": "The handler of route “{route}” failed.",
        "conditional.unknown_route": "No handler is called “{route}”, and there is no default.",
        "conditional.cancelled": "The run was cancelled before the route was followed.",
        "conditional.unknown_observer": "The observer it names is not registered.",
    }

    def __init__(self, code: str, *, route: str = "", state: Any = None) -> None:
        self.route = route
        self.state = state
        super().__init__(code, self._MESSAGES[code].format(route=route))

    def __str__(self) -> str:
        """Return message and cause."""
        return _with_cause(super().__str__(), self)


class BranchesFailed(PatternError):
    """Too many branches of a node failed. The cause is the error of the first one."""

    def __init__(
        self, failed: Mapping[str, BaseException], branches: int, need: int
    ) -> None:
        self.failed = dict(failed)  # by branch, in the order of the failures
        causes = "; ".join(f"“{name}”: {describe(e)}" for name, e in failed.items())
        are = "is" if need == 1 else "are"
        needed = "" if need == branches else f", and {need} {are} needed"
        super().__init__(
            "branches.failed",
            f"{len(failed)} of {branches} branches failed{needed}: {causes}",
        )
        self.__cause__ = next(iter(failed.values()))


class Signal(BaseException):
    """Control flow that an `except Exception` of a node does not catch."""

    def __init__(self, message: object = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class Cancelled(Signal):
    """A cancellation of the run was requested."""


class DeadlinePassed(Signal):
    """The run passed its deadline."""


class Superseded(Signal):
    """This attempt does not end the run: another attempt has it, or will have it."""


@dataclass(slots=True)
class ChildRuns:
    """The child runs for which a node waits, one per element."""

    params: list[Any]  # as stored, by element
    limit: int  # so many at once
    need: int | None = None  # so many have to complete; None: all
    fail_fast: bool = False

    @property
    def needed(self) -> int:
        """The number of runs that have to complete."""
        return len(self.params) if self.need is None else self.need


class Paused(Signal):
    """The run waits. The runner sets node, sequence and state."""

    again: ClassVar[bool] = False  # the node was paused from outside and will run again

    def __init__(  # noqa: PLR0913 - everything that a page shows of a wait
        self,
        kind: str,
        *,
        question: str = "",
        form: Mapping[str, Any] | None = None,
        until: datetime | None = None,
        on_expiry: Any = None,
        groups: Sequence[str] = (),
        show: Mapping[str, Any] | None = None,
        workflow: str = "",
        params: Mapping[str, Any] | None = None,
        initial: Any = None,
        not_by: str = "",
        votes: int = 1,
        veto: Any = None,
        escalation: tuple[datetime, str] | None = None,
        event: str = "",
        key: str = "",
        children: ChildRuns | None = None,
        parts: Sequence[Paused] = (),
    ) -> None:
        super().__init__(kind)
        self.kind = kind  # of `nodes.Kind`
        self.question = question
        self.form = form  # JSON schema of the response
        self.until = until  # when the wait ends or the question expires
        self.on_expiry = on_expiry  # the default response; None: the node fails
        self.groups = tuple(groups)  # who may respond; empty: anyone
        self.show = show or {}  # data to show to the person
        self.workflow, self.params = workflow, params or {}  # of the child run
        self.initial = initial  # the response with which the form begins, as JSON
        self.not_by = not_by  # who may not: "launcher", "previous", or "" (all may)
        self.votes, self.veto = votes, veto  # how many respond; what ends the vote
        self.escalation = escalation  # when it goes to which group; None: never
        self.event, self.key = event, key  # the name of the event, and its key
        self.children = children  # in place of `params`, if there are several
        self.parts = tuple(parts)  # the waits of which the first one counts
        self.node, self.sequence = "", 0
        self.state: State | None = None  # before the node


def _restore(kind: type[WorkflowError], args: tuple[Any, ...]) -> WorkflowError:
    error = kind.__new__(kind, *args)
    error.args = args  # `__new__` of OSError does not set them
    return error


_CLASS_NAME: Any = type.__dict__["__name__"]


def class_name(value: object) -> str:
    """Return the name of a value's class, independent of an author's metaclass."""
    name: str = _CLASS_NAME.__get__(type(value))
    return name


def describe(error: BaseException) -> str:
    """Return the message of an error, or its type if it has none or formatting raises."""
    try:
        if isinstance(error, ValidationError):
            return _problems(error)
        return str(error) or class_name(error)
    except BaseException:  # whatever the text of an author's error raises
        return f"{class_name(error)}, whose text cannot be read"


def _problems(error: ValidationError) -> str:
    """Return the messages of pydantic, without documentation links and input values."""
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) + ': ' if one['loc'] else ''}{one['msg']}"
        for one in error.errors(include_url=False, include_input=False)
    )


def format_traceback(error: BaseException) -> str:
    """Return the traceback of an error with its causes, or one line if formatting raises."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException as failure:  # an author's error may do anything
        return f"{describe(error)} (no traceback: {type(failure).__name__})"


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, nearest first, each once, as a chain may be circular."""
    visited = {id(error)}
    cause = error.__cause__
    while cause is not None and id(cause) not in visited:
        yield cause
        visited.add(id(cause))
        cause = cause.__cause__


def caused_by(error: BaseException, kind: type[BaseException]) -> bool:
    """Return whether the engine's own errors wrap an error of this kind.

    Causes of an author's error do not count.
    """
    for cause in causes(error):
        if isinstance(cause, kind):
            return True
        if isinstance(cause, ExitRaised) or not isinstance(cause, WorkflowError):
            return False
    return False


def summary(errors: Sequence[ItemError]) -> str:
    """Return the failures in one line: most frequent first, ties by first index."""
    if not errors:
        return ""
    counts = Counter(error.message for error in errors)
    first = {error.message: error.index for error in reversed(errors)}
    order = sorted(counts, key=lambda message: (-counts[message], first[message]))
    text = "; ".join(
        f"{message} (item {first[message]}"
        + (f" and {counts[message] - 1} more)" if counts[message] > 1 else ")")
        for message in order
    )
    items = "1 item" if len(errors) == 1 else f"{len(errors)} items"
    return f"{items} failed: {text}"


def _with_cause(text: str, error: BaseException) -> str:
    cause = error.__cause__
    if cause is None or any(
        each.__cause__ is error for each in (error, *causes(error))
    ):
        return text  # a circular chain of causes would recurse without end
    return f"{text} {describe(cause)}"
