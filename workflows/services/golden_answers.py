"""Recorded answers of agents in reruns of golden runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from workflows.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.execution.masking import Masker
    from workflows.models import Run
    from workflows.runtime.protocols import Agents

REMEDY: Final = "Use real answers (--answers real)."


def recorded_agents(
    runs: Sequence[Run],  # noqa: ARG001
    masker: Masker,  # noqa: ARG001
    unanswered: list[str],
) -> Agents:
    """Return agents that add each call without a recorded answer to `unanswered`."""
    return _Unanswered(unanswered)


@dataclass(frozen=True)
class _Unanswered:
    unanswered: list[str]

    def _refuse(self, agent: str) -> NoReturn:
        name = f"the agent “{agent}”" if agent else "the default agent"
        sentence = f"A call of {name} cannot be replayed: no answer is recorded for it"
        self.unanswered.append(sentence)
        raise Unavailable(f"{sentence}.")

    async def chat(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(agent)

    async def chat_stream(self, agent: str, *_: Any, **__: Any) -> AsyncIterator[str]:
        self._refuse(agent)
        yield ""

    async def vision(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(agent)

    async def tools(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(agent)

    async def embed(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(agent)

    async def ask(self, agent: str, *_: Any, **__: Any) -> NoReturn:
        self._refuse(agent)
