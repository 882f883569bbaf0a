"""What changed last in a run, in a sentence for those who listen to the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.pages.redaction import is_redacted
from workflows.pages.render.text import in_words
from workflows.pages.run.loop_folding import Fold

if TYPE_CHECKING:
    from workflows.models import Decision, Run
    from workflows.pages.run.point_in_time import Moment
    from workflows.pages.run.steps import Step, Story


def announcement_of(run: Run, moment: Moment, story: Story) -> str:
    """Return the newest step with how it went, then where the run stands."""
    told = []
    last = story.entries[-1] if story.entries else None
    if last is not None and not isinstance(last, Fold):
        told.append(_of_step(last))
    if moment.is_now:
        told.append(f"The run is {run.get_status_display().lower()}.")
    else:
        told.insert(0, f"Shown as it was after step {moment.at}.")
    return " ".join(filter(None, told))


def _of_step(step: Step) -> str:
    stage = step.stage
    if stage is None:
        return ""
    name = f"Step {stage.sequence}, {in_words(stage.node_name)}"
    took = f" after {step.spent.words}" if step.spent else ""
    words = f"{name}: {stage.status_text.lower()}{took}."
    taken = next((one for one in step.decisions if one.taken), None)
    return f"{words} {_of_decision(taken)}" if taken else words


def _of_decision(decision: Decision) -> str:
    concealed = is_redacted(decision)
    why = decision.condition_label if concealed else decision.explanation
    return f"Taken: {in_words(decision.to_node)}{f' · {why}' if why else ''}."
