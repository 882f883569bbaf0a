"""Agents, as long as no provider is set up: every call says so and where to add one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

from workflows.runtime.errors import Unavailable


class NoAgents:
    """Agents where none can be reached: each call raises Unavailable."""

    async def chat(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        """Raises Unavailable."""
        refuse(agent)

    async def chat_stream(self, agent: str, *_: Any, **__: Any) -> AsyncIterator[str]:
        """Raises Unavailable when the first piece is awaited."""
        refuse(agent)
        yield ""  # never reached: it makes this a generator

    async def vision(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        """Raises Unavailable."""
        refuse(agent)

    async def tools(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        """Raises Unavailable."""
        refuse(agent)

    async def embed(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        """Raises Unavailable."""
        refuse(agent)

    async def ask(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        """Raises Unavailable."""
        refuse(agent)


def refuse(agent: str) -> NoReturn:
    """Raises Unavailable, naming the agent and the way to get one."""
    raise Unavailable(
        f"The agent “{agent}” cannot be asked: no provider of agents is set up. "
        "An administrator can add a provider and an agent on the Agents page."
    )
