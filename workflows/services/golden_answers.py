"""Recorded answers of agents in reruns of golden runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workflows.agents.recordings import Recordings, ReplayingAgents
from workflows.models import CallReplay
from workflows.runtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.agents.call_requests import CallRequest
    from workflows.execution.masking import Masker
    from workflows.models import Run
    from workflows.runtime.protocols import Agents

WHY_NOT: Final[Mapping[CallReplay, str]] = {
    CallReplay.PROMPT_DIFFERS: "the prompt differs from the recorded one",
    CallReplay.NOT_RECORDED: "no answer is recorded for it",
    CallReplay.NOT_WHOLE: "the recorded answer is cut or masked",
}
REMEDY: Final = (
    "Use real answers (--answers real), or let the workflow store the content of its calls"
    " (call_content=True) and mark a later run golden."
)


def recorded_agents(
    runs: Sequence[Run], masker: Masker, unanswered: list[str]
) -> Agents:
    """Return agents that give the recorded answers of a run and its child runs.

    A call without one is added to `unanswered`, and fails.
    """

    def refuse(request: CallRequest, why: CallReplay) -> Agents:
        name = f"the agent “{request.agent}”" if request.agent else "the default agent"
        sentence = f"A call of {name} cannot be replayed: {WHY_NOT[why]}"
        unanswered.append(sentence)
        raise Unavailable(f"{sentence}.")

    return ReplayingAgents(Recordings.of_runs((run.pk for run in runs), masker), refuse)
