"""Agents without a configured provider: every call explains how to add one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn

from workflows.runtime.errors import Unavailable


class NoAgents:
    """Agents whose calls all raise Unavailable."""

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
    """Raises Unavailable with the agent's name and how to configure one."""
    raise Unavailable(
        f"The agent “{agent}” cannot be called: no provider of agents is set up. "
        "An administrator can add a provider and an agent on the Agents page."
    )
