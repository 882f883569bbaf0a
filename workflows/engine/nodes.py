"""Nodes of a graph, created from plain functions by `@node`."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import FrameType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Never,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from .author_code import await_contained, call_in_node
from .context import NodeContext, set_current_context
from .errors import DefinitionError
from .isolation import Isolation, Work, call_isolated, check_isolated
from .retries import Retry
from .threads import in_thread

if TYPE_CHECKING:
    from .failure_questions import Ask
    from .state import State

In_contra = TypeVar("In_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)
Raw_co = TypeVar("Raw_co", covariant=True)
T = TypeVar("T")

MAX_EFFECTS = 300  # characters

Kind: TypeAlias = Literal[
    "node",
    "parallel",
    "chain",
    "conditional",
    "branches",
    "approval",
    "wait",
    "subworkflow",
    "subworkflows",
    "launch",
    "continue",
    "event",
    "callback",
    "first_of",
    "ask",
]


class Node(ABC, Iterable["Node[In_contra, Out_co]"], Generic[In_contra, Out_co]):
    """A step from one value to the next, with retries and a timeout.

    It is a sequence of one node, so that a branch is written as a node or as a list of nodes.
    """

    kind: ClassVar[Kind] = "node"
    steps_before = 0  # steps of its own, which have the numbers before that of the node
    runs_in_thread = False  # whether its code never runs in the task that awaits it

    def __init__(
        self,
        name: str = "",
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        heartbeat: float | None = None,
        doc: str = "",
    ) -> None:
        for kind, seconds in (("timeout", timeout), ("heartbeat", heartbeat)):
            if seconds is not None and not seconds > 0:
                raise DefinitionError(
                    f"Node “{name}” has a {kind} of {seconds} s, which no try can meet:"
                    " use more."
                )
        self.name = name
        self.retry = retry
        self.timeout = timeout  # seconds per try
        self.heartbeat = heartbeat  # seconds without a report of progress, per try
        self.doc = doc
        self.undo: Node[Any, Any] | None = None  # undoes its steps, in every workflow
        self.when_failed: Ask | None = None  # a person decides, in every workflow
        self.effects = (
            ""  # what it does outside of the run, for people who run it again
        )

    def __iter__(self) -> Iterator[Node[In_contra, Out_co]]:
        """Yield the node itself."""
        yield self

    @abstractmethod
    async def run(
        self, value: In_contra, runtime: object, context: NodeContext
    ) -> Out_co:
        """Execute one try."""

    def configured(
        self, retry: Retry | None, timeout: float | None
    ) -> Node[In_contra, Out_co]:
        """Return this node, or a copy with another retry policy or timeout."""
        if retry is None and timeout is None:
            return self
        other = copy.copy(self)
        other.retry = retry or self.retry
        other.timeout = self.timeout if timeout is None else timeout
        return other

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name or 'without a name'}>"


AnyStep: TypeAlias = Node["State", Never]
"""A node for every State class: patterns and pauses, which name their fields as text.

It accepts any state, and `Never` as its result fits any class: with `Any` in both places a type
checker would stop checking the table of routes that contains it.
"""


class WaitingNode(Node["State", Never]):
    """A node at which a run waits for a person, a message or a time; `first_of` takes several."""

    @abstractmethod
    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:
        """Return the state with the answer. Raises Paused without one."""


class FunctionNode(Node[In_contra, Out_co], Generic[In_contra, Out_co, Raw_co]):
    """A node created from a function; it can be called like the function."""

    def __init__(  # noqa: PLR0913 - options, all by name
        self,
        function: Callable[..., Raw_co],
        name: str = "",
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        heartbeat: float | None = None,
        isolate: bool | Isolation = False,
        undo: Node[Any, Any] | None = None,
        effects: str = "",
        when_failed: Ask | None = None,
    ) -> None:
        own_name = getattr(function, "__name__", "")
        name = name or own_name.replace("<lambda>", "")
        doc = inspect.getdoc(function) or ""
        super().__init__(
            name, retry=retry, timeout=timeout, heartbeat=heartbeat, doc=doc
        )
        self.function = function
        self.undo, self.effects = undo, checked_effects(self.name, effects)
        self.when_failed = when_failed
        self._accepts_runtime = accepts_runtime(function)
        if heartbeat is not None and not self._accepts_runtime:
            raise DefinitionError(
                f"Node “{self.name}” has a heartbeat, and reports progress with"
                " runtime.progress(): make its function fn(state, runtime)."
            )
        self._is_async = is_async(function)
        self.runs_in_thread = not self._is_async
        self.isolation = Isolation() if isolate is True else isolate or None
        if self.isolation is not None:
            check_isolated(function, self.name, is_async=self._is_async)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, value: In_contra, runtime: Any = None) -> Raw_co:
        """Call the function directly, as tests do."""
        return (
            self.function(value, runtime)
            if self._accepts_runtime
            else self.function(value)
        )

    async def run(
        self, value: In_contra, runtime: object, context: NodeContext
    ) -> Out_co:
        """Execute one try: in the current task, or in a thread for a sync function."""
        call: Callable[[], Any]
        if self.isolation is not None:
            call = self._isolated_call(self.isolation, value, runtime, context)
        elif self._accepts_runtime:
            call = functools.partial(
                self.function, value, runtime_for_try(runtime, context)
            )
        else:
            call = functools.partial(self.function, value)
        if self._is_async:
            result: Any = await call()  # type: ignore[misc]  # Raw is Awaitable[Out]
            return result  # type: ignore[no-any-return]
        call = functools.partial(call_in_node, call, context)
        result = await in_thread(call, context)
        if inspect.isawaitable(result):
            # in a separate task, as the runner relies on `runs_in_thread`
            result = await asyncio.create_task(_await_result(result, context))
        return result  # type: ignore[no-any-return]  # Raw is Out or Awaitable[Out]

    def _isolated_call(
        self, isolation: Isolation, value: object, runtime: object, context: NodeContext
    ) -> Callable[[], Any]:
        work, given = self.work_of(value), self.given(runtime, context)
        return functools.partial(call_isolated, work, isolation, given, context)

    def work_of(self, value: object) -> Work:
        """Return the call of one try, to be made in another process."""
        return Work(self.function, value, self._accepts_runtime)

    def given(self, runtime: object, context: NodeContext) -> object:
        """Return the runtime of a try whose function accepts one, else None."""
        return runtime_for_try(runtime, context) if self._accepts_runtime else None


def checked_effects(name: str, effects: object) -> str:
    """Return the text about the effects of a node. Raises DefinitionError."""
    if not isinstance(effects, str) or len(effects) > MAX_EFFECTS:
        raise DefinitionError(
            f"Node “{name}” has effects={effects!r:.60}: describe them in up to"
            f" {MAX_EFFECTS} characters, such as “Sends an e-mail to the customer”."
        )
    return effects.strip()


async def _await_result(result: Awaitable[Raw_co], context: NodeContext) -> Raw_co:
    set_current_context(context)
    return await await_contained(result, context)


class Failed(Exception):
    """Raise in a node to fail with partial output."""

    def __init__(self, message: str, *, output: State | None = None) -> None:
        super().__init__(message)
        self.output = (
            output  # shown as the node's output; the state of the run does not change
        )


async def call_function(
    function: Callable[..., Any], context: NodeContext, *values: Any
) -> Any:
    """Call an author's sync or async function, contained like a node, and return its result."""
    return await await_contained(_call_function(function, context, *values), context)


async def _call_function(
    function: Callable[..., Any], context: NodeContext, *values: Any
) -> Any:
    if is_async(function):
        return await function(*values)
    call = functools.partial(function, *values)
    call = functools.partial(call_in_node, call, context)
    result = await in_thread(call, context)
    return await result if inspect.isawaitable(result) else result


def accepts_arguments(function: Callable[..., object], count: int) -> bool:
    """Return whether it can be called with that number of positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


def runtime_for_try(runtime: object, context: NodeContext) -> object:
    """Return the runtime of this try: `runtime.at(context)` if it has that method."""
    at = getattr(runtime, "at", None)
    return runtime if at is None else at(context)


def is_async(function: Callable[..., object]) -> bool:
    """Return whether it returns an awaitable immediately and needs no thread."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose call is async
    )


def accepts_runtime(function: Callable[..., object]) -> bool:
    """Return whether it is `fn(state, runtime)`. Raises DefinitionError for other signatures."""
    alone, with_runtime = accepts_arguments(function, 1), accepts_arguments(function, 2)
    if not (alone or with_runtime):
        raise DefinitionError(
            f"{_label(function)} cannot be a node: make it fn(state) or fn(state, runtime)."
        )
    if alone and with_runtime:
        return list(inspect.signature(function).parameters)[1:2] == ["runtime"]
    return with_runtime


def name_by_variables(nodes: Iterable[Any], caller: FrameType) -> None:
    """Name each unnamed node after the variable of the caller to which it is assigned."""
    scopes = caller.f_locals, caller.f_globals
    for each in nodes:
        if getattr(each, "name", each):
            continue
        names = (
            name for scope in scopes for name, value in scope.items() if value is each
        )
        each.name = next(names, "")


def as_node(
    function: Callable[..., Any] | Node[Any, Any] | None, name: str = ""
) -> Node[Any, Any]:
    """Return a node unchanged, or a plain function as a node. Raises DefinitionError."""
    if isinstance(function, Node):
        return function
    if callable(function):
        return FunctionNode(function, name)
    raise DefinitionError(
        f"{function!r} cannot be node “{name}”: give a function fn(state) or fn(state, runtime)."
    )


def _label(function: Callable[..., object]) -> str:
    return getattr(function, "__qualname__", "") or repr(function)


class NodeMaker(Protocol):
    """The type of the decorator that `@node(...)` returns."""

    @overload
    def __call__(
        self, function: Callable[[In_contra, Any], Awaitable[Out_co]], /
    ) -> FunctionNode[In_contra, Out_co, Awaitable[Out_co]]: ...
    @overload
    def __call__(
        self, function: Callable[[In_contra], Awaitable[Out_co]], /
    ) -> FunctionNode[In_contra, Out_co, Awaitable[Out_co]]: ...
    @overload
    def __call__(
        self, function: Callable[[In_contra, Any], Out_co], /
    ) -> FunctionNode[In_contra, Out_co, Out_co]: ...
    @overload
    def __call__(
        self, function: Callable[[In_contra], Out_co], /
    ) -> FunctionNode[In_contra, Out_co, Out_co]: ...


class UndoneNodeMaker(Protocol[T]):
    """The type of the decorator that `@node(undo=…)` returns."""

    @overload
    def __call__(
        self, function: Callable[[T, Any], Awaitable[T]], /
    ) -> FunctionNode[T, T, Awaitable[T]]: ...
    @overload
    def __call__(
        self, function: Callable[[T], Awaitable[T]], /
    ) -> FunctionNode[T, T, Awaitable[T]]: ...
    @overload
    def __call__(self, function: Callable[[T, Any], T], /) -> FunctionNode[T, T, T]: ...
    @overload
    def __call__(self, function: Callable[[T], T], /) -> FunctionNode[T, T, T]: ...


@overload
def node(
    function: Callable[[In_contra, Any], Awaitable[Out_co]], /
) -> FunctionNode[In_contra, Out_co, Awaitable[Out_co]]: ...
@overload
def node(
    function: Callable[[In_contra], Awaitable[Out_co]], /
) -> FunctionNode[In_contra, Out_co, Awaitable[Out_co]]: ...
@overload
def node(
    function: Callable[[In_contra, Any], Out_co], /
) -> FunctionNode[In_contra, Out_co, Out_co]: ...
@overload
def node(
    function: Callable[[In_contra], Out_co], /
) -> FunctionNode[In_contra, Out_co, Out_co]: ...
@overload
def node(
    *,
    name: str = "",
    retry: Retry | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    isolate: bool | Isolation = False,
    effects: str = "",
    when_failed: Ask | None = None,
) -> NodeMaker: ...
@overload
def node(
    *,
    name: str = "",
    retry: Retry | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    isolate: bool | Isolation = False,
    undo: Node[T, T],
    effects: str = "",
    when_failed: Ask | None = None,
) -> UndoneNodeMaker[T]: ...
def node(  # noqa: PLR0913 - options, all by name
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    retry: Retry | None = None,
    timeout: float | None = None,
    heartbeat: float | None = None,
    isolate: bool | Isolation = False,
    undo: Node[Any, Any] | None = None,
    effects: str = "",
    when_failed: Ask | None = None,
) -> Any:
    """Turn a function `fn(state)` or `fn(state, runtime)` into a node with its name.

    `timeout` is in seconds, per try. `heartbeat` is the number of seconds after which a try
    that did not call `runtime.progress()` fails with NodeSilent. `isolate` executes a sync
    function in a child process of its own, with the limits of an `Isolation`. `undo` is the
    node that undoes its completed steps if the run fails or is cancelled. `effects` says what
    it does outside of the run; people read it before they run the step again. `when_failed` is
    an `ask()`: after its last try, a person decides how the run continues.
    """
    if function is not None:
        return FunctionNode(function)
    return functools.partial(
        FunctionNode,
        name=name,
        retry=retry,
        timeout=timeout,
        heartbeat=heartbeat,
        isolate=isolate,
        undo=undo,
        effects=effects,
        when_failed=when_failed,
    )
