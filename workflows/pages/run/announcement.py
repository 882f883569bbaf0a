"""The newest change of a run as a sentence for screen readers (`aria-live`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.pages.redaction import is_redacted
from workflows.pages.render.text import readable_name
from workflows.pages.run.loop_folding import Fold

if TYPE_CHECKING:
    from workflows.models import Decision, Run
    from workflows.pages.run.rows_at_step import PointInTime
    from workflows.pages.run.steps import Step, StepList


def announce(run: Run, moment: PointInTime, step_list: StepList) -> str:
    """Return the newest step with its result, then the status of the run."""
    sentences = []
    last = step_list.entries[-1] if step_list.entries else None
    if last is not None and not isinstance(last, Fold):
        sentences.append(_step_sentence(last))
    if moment.is_now:
        sentences.append(f"Run status: {run.get_status_display()}.")
    else:
        sentences.insert(0, f"State after step {moment.at}.")
    return " ".join(filter(None, sentences))


def _step_sentence(step: Step) -> str:
    stage = step.stage
    if stage is None:
        return ""
    name = f"Step {stage.sequence}, {readable_name(stage.node_name)}"
    duration = f" after {step.duration.text}" if step.duration else ""
    sentence = f"{name}: {stage.status_text.lower()}{duration}."
    taken = next((decision for decision in step.decisions if decision.taken), None)
    return f"{sentence} {_decision_sentence(taken)}" if taken else sentence


def _decision_sentence(decision: Decision) -> str:
    reason = decision.condition_label if is_redacted(decision) else decision.explanation
    return (
        f"Taken: {readable_name(decision.to_node)}{f' · {reason}' if reason else ''}."
    )
