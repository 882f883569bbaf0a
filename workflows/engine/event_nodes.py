"""Nodes that wait for a message of another system or program.

An event has a name and a key, such as “payment” with the number of an order. A message with both
moves every run that waits for them. See `workflows/services/events.py` for the sender's side.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, TypeAlias
from uuid import UUID

from pydantic import BaseModel

from .answers import checked_expiry, read_answer, with_answer
from .clock import time_after
from .context import Answer, NodeContext
from .errors import (
    DefinitionError,
    EventExpired,
    Paused,
    RunError,
)
from .nodes import (
    Kind,
    Node,
    WaitingNode,
    accepts_arguments,
    call_function,
    runtime_for_try,
)
from .retries import Retry
from .storable import check_storable

MAX_EVENT_NAME_CHARS: Final = 100
MAX_KEY_CHARS: Final = 200

Key: TypeAlias = str | int | UUID
Ask: TypeAlias = Callable[[Any, Any, str], Awaitable[None] | None]
"""Takes the state, the runtime and the address."""


class MessageNode(WaitingNode):
    """A node that waits for a message and puts its value into the state."""

    def __init__(  # noqa: PLR0913 - from the functions that make nodes
        self,
        answer: type[BaseModel],
        into: str,
        *,
        within: timedelta | None,
        on_expiry: BaseModel | Mapping[str, Any] | None,
        name: str,
        doc: str,
        what: str,
        retry: Retry | None = None,
        timeout: float | None = None,
    ) -> None:
        """`what` names the node in messages, before it has a name."""
        super().__init__(name, doc=doc, retry=retry, timeout=timeout)
        self.answer_type = answer
        self.into = into
        self.within = within
        check_storable(answer, f"The answer to {what}")
        self.on_expiry, self.expiry_json = checked_expiry(answer, on_expiry, what)

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:
        """Return the state with the answer. Raises Paused without an answer."""
        if context.answer is None:
            raise await self.pause(value, runtime, context)
        given = self._read(context.answer, context.node)
        return with_answer(value, self.into, given, self.answer_type)

    @abstractmethod
    async def pause(self, value: Any, runtime: object, context: NodeContext) -> Paused:
        """Return what the run waits for."""

    @abstractmethod
    def expired(self, node: str) -> RunError:
        """Return the error of a wait that ended without an answer."""

    def _read(self, answer: Answer, node: str) -> BaseModel:
        """Return the answer in its type. Raises AnswerInvalid, or the error of an expiry."""
        if answer.expired:
            if self.on_expiry is None:
                raise self.expired(node)
            return self.on_expiry
        return read_answer(self.answer_type, answer.value, node)

    def end_of_wait(self, context: NodeContext) -> datetime | None:
        """Return when a wait that begins now ends by itself, None if it does not.

        Raises ValueError for a time beyond the calendar.
        """
        if self.within is None:
            return None
        try:
            return time_after(context.clock.now(), self.within)
        except ValueError as error:
            raise ValueError(f"“{context.node}” waits too long: {error}.") from error


class EventNode(MessageNode):
    """A node that waits for a message with a name and a key."""

    kind: ClassVar[Kind] = "event"

    def __init__(  # noqa: PLR0913 - from `event` alone
        self,
        event_name: str,
        answer: type[BaseModel],
        into: str,
        *,
        key: Callable[[Any], Key] | None,
        within: timedelta | None,
        on_expiry: BaseModel | Mapping[str, Any] | None,
        name: str,
    ) -> None:
        _check_event_name(event_name)
        super().__init__(
            answer,
            into,
            within=within,
            on_expiry=on_expiry,
            name=name,
            doc=f"Wait for the event “{event_name}”.",
            what=f"the event “{event_name}”",
        )
        self.event_name = event_name
        self.key = key

    def expired(self, node: str) -> RunError:
        """Return the error of a wait without a message."""
        return EventExpired(node, f"event “{self.event_name}”", self.within)

    async def pause(self, value: Any, runtime: object, context: NodeContext) -> Paused:  # noqa: ARG002
        """Return name and key of the event. Raises ValueError for a key that is no text."""
        key = await self._key_of(value, context)
        return Paused(
            "event",
            question=f"waits for the event “{self.event_name}”",
            until=self.end_of_wait(context),
            on_expiry=self.expiry_json,
            event=self.event_name,
            key=key,
        )

    async def _key_of(self, value: Any, context: NodeContext) -> str:
        if self.key is None:
            return ""
        found = await call_function(self.key, context, value)
        if isinstance(found, bool) or not isinstance(found, str | int | UUID):
            kind = type(found).__name__
            raise TypeError(
                f"The key of the event “{self.event_name}” is a {kind}: return a text or a number."
            )
        key = str(found)
        if problem := key_problem(key):
            raise ValueError(f"The key of the event “{self.event_name}” {problem}")
        return key


class CallbackNode(MessageNode):
    """A node that gives a third party an address, and waits for what is posted to it."""

    kind: ClassVar[Kind] = "callback"

    def __init__(  # noqa: PLR0913 - from `callback` alone
        self,
        ask: Any,
        answer: type[BaseModel],
        into: str,
        *,
        within: timedelta | None,
        on_expiry: BaseModel | Mapping[str, Any] | None,
        retry: Retry | None,
        timeout: float | None,
        name: str,
    ) -> None:
        what = getattr(ask, "__name__", "the function")
        if not callable(ask) or not accepts_arguments(ask, 3):
            raise DefinitionError(
                f"{what} cannot ask for a callback: make it {what}(state, runtime, url)."
            )
        super().__init__(
            answer,
            into,
            within=within,
            on_expiry=on_expiry,
            retry=retry,
            timeout=timeout,
            name=name,
            doc=inspect.getdoc(ask) or "",
            what=f"the callback of {what}",
        )
        self.ask = ask

    def expired(self, node: str) -> RunError:
        """Return the error of an address to which nothing was posted."""
        return EventExpired(node, "callback", self.within)

    async def pause(self, value: Any, runtime: object, context: NodeContext) -> Paused:
        """Make the address and give it to the author's function.

        After a crash in between, the function is called again with the same address.
        """
        if context.open_callback is None:
            raise RuntimeError(
                "there are no addresses for callbacks here: run the workflow on a server, or by"
                " run_in_memory"
            )
        until = self.end_of_wait(context)
        url = await context.open_callback(context, until)
        if url:
            given = runtime_for_try(runtime, context)
            result = await call_function(self.ask, context, value, given, url)
            if result is not None:
                raise TypeError(
                    f"It returned {type(result).__name__}: a function that asks for a callback"
                    " cannot change the state. End it without a result."
                )
        return Paused(
            "callback",
            question="waits for a callback",
            until=until,
            on_expiry=self.expiry_json,
        )


def key_problem(key: str) -> str:
    """Return why a text cannot be the key of an event, "" if it can."""
    if len(key) > MAX_KEY_CHARS:
        return f"has {len(key)} characters, and a key has up to {MAX_KEY_CHARS}."
    if key != key.strip() or (key and not key.isprintable()):
        return "begins or ends with a space, or has characters that cannot be shown."
    return ""


def _check_event_name(name: object) -> None:
    if not isinstance(name, str) or not name or name != name.strip():
        raise DefinitionError(
            f"An event needs a name without spaces around it, not {name!r}."
        )
    if len(name) > MAX_EVENT_NAME_CHARS or not name.isprintable():
        raise DefinitionError(
            f"An event cannot be called {name[:MAX_EVENT_NAME_CHARS]!r}: use up to"
            f" {MAX_EVENT_NAME_CHARS} characters that can be shown."
        )


def event_nodes(nodes: Iterable[Node[Any, Any]]) -> list[EventNode]:
    """Return the nodes that wait for events."""
    return [node for node in nodes if isinstance(node, EventNode)]


def check_events(workflow: str, nodes: Iterable[Node[Any, Any]]) -> None:
    """Raise DefinitionError for an event that two nodes of a workflow declare with two types.

    A message is checked before it is known which of them will take it.
    """
    declared: dict[str, EventNode] = {}
    for node in event_nodes(nodes):
        other = declared.setdefault(node.event_name, node)
        if other.answer_type is not node.answer_type:
            raise DefinitionError(
                f"Workflow “{workflow}”: “{other.name}” and “{node.name}” wait for the event"
                f" “{node.event_name}” with different answers, {other.answer_type.__name__} and"
                f" {node.answer_type.__name__}: declare the same type, or give one event another"
                " name."
            )


def event(  # noqa: PLR0913 - all but the first three are options
    event_name: str,
    answer: type[BaseModel],
    into: str,
    *,
    key: Callable[[Any], Key] | None = None,
    within: timedelta | None = None,
    on_expiry: BaseModel | Mapping[str, Any] | None = None,
    name: str = "",
) -> WaitingNode:
    """Return a node that waits for a message and stores its value in field `into`.

    - `event_name`: the name under which messages are sent, the same for all runs.
    - `answer`: the pydantic model of the value; a message with another one is refused.
    - `key`: a function of the state that returns which message this run waits for, such as the
      number of its order. Without it, every message of that name is meant for every run.
    - `within`: how long to wait; then `on_expiry` is the value, or the node fails without one.
    """
    return EventNode(
        event_name,
        answer,
        into,
        key=key,
        within=within,
        on_expiry=on_expiry,
        name=name,
    )


def callback(  # noqa: PLR0913 - all but the first three are options
    ask: Ask,
    answer: type[BaseModel],
    into: str,
    *,
    within: timedelta | None = None,
    on_expiry: BaseModel | Mapping[str, Any] | None = None,
    retry: Retry | None = None,
    timeout: float | None = None,
    name: str = "",
) -> WaitingNode:
    """Return a node that waits for what a third party posts to an address of its own.

    - `ask`: a function `(state, runtime, url)` that gives the third party the address, which
      accepts one POST request with JSON until the wait ends. It returns nothing, and is called
      again after a failed try or a crash, with the same address and the same `runtime.key`.
    - `answer`: the pydantic model of what is posted, which is stored in field `into`.
    - `within`: how long to wait; then `on_expiry` is the value, or the node fails without one.
    - `retry` and `timeout` (seconds per try) concern `ask`.
    """
    return CallbackNode(
        ask,
        answer,
        into,
        within=within,
        on_expiry=on_expiry,
        retry=retry,
        timeout=timeout,
        name=name,
    )
