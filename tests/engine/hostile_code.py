"""What author code may raise, and every place that calls author code."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, WrapSerializer

from workflows.engine import (
    Answer,
    Node,
    ParallelConfig,
    Retry,
    State,
    Workflow,
    approval,
    callback,
    chain,
    conditional,
    event,
    node,
    otherwise,
    parallel,
    predicate,
    subworkflow,
    wait,
    when,
)
from workflows.engine.errors import Cancelled, DeadlinePassed, Superseded

Raiser = Callable[[], NoReturn]

# What is raised ---------------------------------------------------------------------


class Foreign(BaseException):
    """An exception that is no Exception."""


class Mute(Exception):
    """An exception whose text raises."""

    def __str__(self) -> str:
        raise ValueError("no words")


class DeadlyMute(Exception):
    """An exception whose text ends the process."""

    def __str__(self) -> str:
        raise SystemExit(4)


def _raise_itself() -> NoReturn:
    try:
        _raiser(ValueError, "inner")()
    except ValueError as error:
        raise error from error


def _raise_a_circle_of_causes() -> NoReturn:
    first, second, third = ValueError("inner"), KeyError("b"), OSError("c")
    first.__cause__, second.__cause__, third.__cause__ = second, third, first
    raise first


def _raise_a_circle_behind() -> NoReturn:
    first, second = ValueError("inner"), KeyError("b")
    second.__cause__ = second
    raise first from second


def _raise_a_circle_of_contexts() -> NoReturn:
    first, second = ValueError("inner"), KeyError("b")
    first.__context__, second.__context__ = second, first
    raise first


def _raise_deep_groups() -> NoReturn:
    group: BaseException = SystemExit(3)
    for _ in range(2_000):
        group = BaseExceptionGroup("inner", [group])
    raise group


def _raiser(kind: type[BaseException], *args: Any) -> Raiser:
    def raises() -> NoReturn:
        raise kind(*args)

    return raises


EXITS: dict[str, tuple[Raiser, str]] = {
    # by name: the function that raises it, and a part of the error of the failed run
    "exception": (_raiser(ValueError, "inner"), "inner"),
    "exit": (_raiser(SystemExit, 3), "SystemExit: 3"),
    "exit without a word": (_raiser(SystemExit), "SystemExit"),
    "interrupt": (_raiser(KeyboardInterrupt), "KeyboardInterrupt"),
    "generator exit": (_raiser(GeneratorExit), "GeneratorExit"),
    "foreign": (_raiser(Foreign, "inner"), "Foreign: inner"),
    "stop iteration": (_raiser(StopIteration, "x"), "StopIteration"),
    "stop async": (_raiser(StopAsyncIteration, "inner"), ""),
    "cancelled error": (_raiser(asyncio.CancelledError), "ancelled"),
    "cancelled future": (
        _raiser(concurrent.futures.CancelledError),
        "ancelled",
    ),
    "cancellation": (_raiser(Cancelled, "inner"), "Cancelled: inner"),
    "deadline": (_raiser(DeadlinePassed, "inner"), "DeadlinePassed: inner"),
    "superseded": (_raiser(Superseded, "inner"), "Superseded: inner"),
    "group": (
        _raiser(BaseExceptionGroup, "inner", [SystemExit(3)]),
        "BaseExceptionGroup: inner",
    ),
    "deep groups": (_raise_deep_groups, "BaseExceptionGroup: inner"),
    "mute": (_raiser(Mute), "Mute"),
    "deadly mute": (_raiser(DeadlyMute), "DeadlyMute"),
    "from itself": (_raise_itself, "inner"),
    "circle of causes": (_raise_a_circle_of_causes, "inner"),
    "circle behind": (_raise_a_circle_behind, "inner"),
    "circle of contexts": (_raise_a_circle_of_contexts, "inner"),
}

# Where it is raised -----------------------------------------------------------------


class Form(BaseModel):
    """The response to an approval."""

    yes: bool = True


class Case(State):
    """State of these workflows."""

    items: tuple[int, ...] = (1, 2, 3)
    out: tuple[Any, ...] = ()
    given: Any = None
    answer: Form | None = None


@node
def end(state: Case) -> Case:
    """Return the state unchanged."""
    return state


def _line(first: Node[Any, Any], state: type[State] = Case) -> Workflow[Any]:
    first.name = first.name or "culprit"
    return Workflow("hostile", state=state, start=first, routes={first: end})


def _sync(exits: Raiser) -> Workflow[Any]:
    return _line(node(name="culprit")(lambda _state: exits()))


def _async(exits: Raiser) -> Workflow[Any]:
    @node
    async def culprit(state: Case) -> Case:
        await asyncio.sleep(0)
        exits()

    return _line(culprit)


def _with_limits(exits: Raiser) -> Workflow[Any]:
    @node(timeout=60, retry=Retry(attempts=2, on=LookupError))
    async def culprit(state: Case) -> Case:
        exits()

    return _line(culprit)


def _awaitable(exits: Raiser) -> Workflow[Any]:
    async def later() -> Case:
        exits()

    return _line(node(name="culprit")(lambda _state: later()))


def _own_node(exits: Raiser) -> Workflow[Any]:
    class Own(Node[Any, Any]):
        async def run(self, *_given: Any) -> Any:
            exits()

    return _line(Own("culprit"))


def _field(exits: Raiser) -> Workflow[Any]:
    def check(value: int) -> int:
        return exits() if value else value

    class Checked(State):
        number: Annotated[int, AfterValidator(check)] = 0

    @node
    def culprit(state: Checked) -> Checked:
        return state.set(number=1)

    @node
    def last(state: Checked) -> Checked:
        return state

    return Workflow("hostile", state=Checked, start=culprit, routes={culprit: last})


def _item_sync(exits: Raiser) -> Workflow[Any]:
    def item(number: int) -> int:
        return exits() if number == 2 else number

    return _line(parallel(item, over="items", into="out", limit=2))


def _item_async(exits: Raiser) -> Workflow[Any]:
    async def item(number: int) -> int:
        exits()

    return _line(parallel(item, over="items", into="out", limit=2, fail_fast=False))


def _item_with_tries(exits: Raiser) -> Workflow[Any]:
    @node(timeout=60, retry=Retry(attempts=2, on=LookupError))
    async def item(number: int) -> int:
        exits()

    return _line(parallel(item, over="items", into="out"))


def _item_result(exits: Raiser) -> Workflow[Any]:
    writes = WrapSerializer(lambda _value, _handler: exits())

    class Result(BaseModel):
        number: Annotated[int, writes]

    def item(number: int) -> Result:
        return Result(number=number)

    return _line(parallel(item, over="items", into="out"))


def _over(exits: Raiser) -> Workflow[Any]:
    return _line(parallel(abs, over=lambda _state: exits(), into="out"))


def _over_halfway(exits: Raiser) -> Workflow[Any]:
    def numbers(state: Case) -> Iterator[int]:
        yield 1
        exits()

    return _line(parallel(abs, over=numbers, into="out"))


def _aggregator(exits: Raiser) -> Workflow[Any]:
    return _line(parallel(abs, over="items", into=lambda _state, _results: exits()))


def _progress(exits: Raiser) -> Workflow[Any]:
    one = ParallelConfig(max_workers=1)
    return _line(
        parallel(abs, over="items", into="out", config=one, progress=lambda *_: exits())
    )


def _progress_async(exits: Raiser) -> Workflow[Any]:
    async def progress(finished: int, total: int, result: int) -> None:
        exits()

    return _line(
        parallel(abs, over="items", into="out", fail_fast=False, progress=progress)
    )


def _step(exits: Raiser) -> Workflow[Any]:
    return _line(chain(lambda _state, _item: exits(), over="items"))


def _step_async(exits: Raiser) -> Workflow[Any]:
    async def step(state: Case, item: int) -> Case:
        exits()

    return _line(chain(step, over="items"))


def _step_progress(exits: Raiser) -> Workflow[Any]:
    return _line(
        chain(lambda state, _item: state, over="items", progress=lambda *_: exits())
    )


def _choose(exits: Raiser) -> Workflow[Any]:
    return _line(conditional(lambda _state: exits(), {"a": end}))


def _choose_async(exits: Raiser) -> Workflow[Any]:
    async def choose(state: Case) -> str:
        exits()

    return _line(conditional(choose, {"a": end}))


def _handler(exits: Raiser) -> Workflow[Any]:
    return _line(conditional(lambda _state: "a", {"a": lambda _state: exits()}))


def _default(exits: Raiser) -> Workflow[Any]:
    return _line(conditional(lambda _state: "b", {"a": end}, lambda _state: exits()))


def _child_params(exits: Raiser) -> Workflow[Any]:
    return _line(subworkflow("child", lambda _state: exits(), into="given"))


def _child_result(exits: Raiser) -> Workflow[Any]:
    return _line(
        subworkflow("child", lambda _state: {}, lambda _state, _result: exits())
    )


def _show(exits: Raiser) -> Workflow[Any]:
    return _line(approval("Right?", Form, "answer", show=lambda _state: exits()))


def _question(exits: Raiser) -> Workflow[Any]:
    class Asked(Case):
        @property
        def sum(self) -> int:
            exits()

    return _line(approval("Is {s.sum} right?", Form, "answer"), Asked)


def _until(exits: Raiser) -> Workflow[Any]:
    def until(state: Case) -> timedelta:
        exits()

    return _line(wait(until))


def _event_key(exits: Raiser) -> Workflow[Any]:
    return _line(event("paid", Form, "answer", key=lambda _state: exits()))


def _callback(exits: Raiser) -> Workflow[Any]:
    def ask(_state: Case, _runtime: Any, _url: str) -> None:
        exits()

    return _line(callback(ask, Form, "answer"))


def _asks(exits: Raiser, combined: Callable[[Any], Any]) -> Workflow[Any]:
    @node(name="culprit")
    def culprit(state: Case) -> Case:
        return state

    @node
    def last(state: Case) -> Case:
        return state

    asked = combined(predicate(name="asked")(lambda _state: exits()))
    return Workflow(
        "hostile",
        state=Case,
        start=culprit,
        routes={culprit: [when(asked, end), otherwise(last)]},
    )


def _is_there(state: Case) -> bool:
    return True


def _predicate(exits: Raiser) -> Workflow[Any]:
    return _asks(exits, lambda asked: asked)


def _part_of_a_predicate(exits: Raiser) -> Workflow[Any]:
    return _asks(exits, lambda asked: predicate(_is_there) & ~(asked | _is_there))


PLACES: dict[str, Callable[[Raiser], Workflow[Any]]] = {
    function.__name__.strip("_").replace("_", " "): function
    for function in (
        _sync, _async, _with_limits, _awaitable, _own_node, _field, _item_sync,
        _item_async, _item_with_tries, _item_result, _over, _over_halfway,
        _aggregator, _progress, _progress_async, _step, _step_async, _step_progress,
        _choose, _choose_async, _handler, _default, _child_params, _child_result,
        _show, _question, _until, _event_key, _callback, _predicate, _part_of_a_predicate,
    )
}  # fmt: skip

ANSWERS = {
    "culprit": Answer({})
}  # of nodes that wait: their functions are called with it
ANSWERED = {"child result"}
