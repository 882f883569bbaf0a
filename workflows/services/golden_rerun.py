"""Rerun golden runs in memory and compare them: no run, stage or message is stored.

The nodes are executed with the params of the golden run, on the clock of its time, by the code
of the workflow as it is now. Documents, variables and secrets are those that are stored. Waits
end at once: what the golden run received is received again. Agents give recorded answers, where
their content was stored, or new ones. Files that nodes make stay in memory.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workflows.agents import profiles
from workflows.agents.provider import DatabaseAgents
from workflows.agents.provider_api import pooled
from workflows.documents.page_images import StoredImages
from workflows.engine import Workflow
from workflows.engine.author_code import call_contained
from workflows.engine.errors import RequestError, describe
from workflows.engine.manual_clock import ManualClock
from workflows.engine.protected_loop import ResilientLoop
from workflows.engine.resources import open_resources
from workflows.engine.testing import run_in_memory_async
from workflows.errors import PayloadRemoved
from workflows.execution.masking import Masker
from workflows.execution.variables import variables_of
from workflows.models import AnswerSource, GoldenOutcome, GoldenResult
from workflows.registry import registry
from workflows.runtime import Runtime
from workflows.runtime.errors import ProviderError
from workflows.runtime.profiles import ChosenProfile
from workflows.services.fork_preview import kinds_and_effects
from workflows.services.golden_answers import REMEDY, recorded_agents
from workflows.services.golden_comparison import Difference, differences
from workflows.services.golden_responses import RecordedResponses, runs_below
from workflows.services.golden_runtime import NoLog, ReadDocuments, WorkflowCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.engine.testing import Options, Outcome
    from workflows.models import GoldenRun, Run
    from workflows.registry import AnyWorkflow, Registry
    from workflows.runtime.protocols import Agents


@dataclass(frozen=True, slots=True)
class Mode:
    """How golden runs are rerun."""

    profile: str | None = None  # "": the workflow's defaults; None: that of the run
    answers: AnswerSource = AnswerSource.RECORDED
    allows_effects: bool = False  # of nodes that declare effects outside of the run


@dataclass(frozen=True, slots=True)
class Comparison:
    """A golden run and what came of its rerun."""

    golden: GoldenRun
    profile: str
    answers: AnswerSource
    outcome: GoldenOutcome
    differences: Sequence[Difference] = ()
    message: str = ""  # why it could not be compared
    fingerprint: str = ""
    seconds: float = 0.0

    def store(self) -> GoldenResult:
        """Store it in place of the last one with this profile and these answers."""
        row, _ = GoldenResult.objects.update_or_create(
            golden=self.golden,
            profile_name=self.profile,
            answers=self.answers,
            defaults={
                "outcome": self.outcome,
                "differences": [one.as_json for one in self.differences],
                "message": self.message,
                "fingerprint": self.fingerprint,
                "duration_ms": self.seconds * 1_000,
            },
        )
        return row


class _NotComparable(Exception):
    """The rerun would say nothing about the workflow; the message says why."""


def compare(
    golden: GoldenRun, mode: Mode, workflows: Registry = registry
) -> Comparison:
    """Rerun a golden run and return what differs. Raises no error of the workflow."""
    run, began = golden.run, time.monotonic()
    known = run.profile_name if mode.profile is None else mode.profile
    found = Comparison(golden, known, mode.answers, GoldenOutcome.UNKNOWN)
    try:
        workflow = workflows.get(run.workflow_name)
        found = replace(found, fingerprint=workflow.fingerprint)
        rerun = _Rerun(run, workflow, workflows, mode, known)
        outcome = rerun.execute()
        different = differences(golden, outcome, rerun.masker.value(_data_of(outcome)))
        result = GoldenOutcome.DIFFERENT if different else GoldenOutcome.SAME
        found = replace(found, outcome=result, differences=_masked(rerun, different))
    except (_NotComparable, RequestError, ProviderError) as error:
        found = replace(found, message=str(error))
    return replace(found, seconds=time.monotonic() - began)


def _data_of(outcome: Outcome[Any]) -> Any:
    return outcome.state.data


def _masked(rerun: _Rerun, found: Sequence[Difference]) -> list[Difference]:
    """Return the differences without the secrets that nodes read."""
    return [
        replace(one, found=rerun.masker.value(one.found)) if one.found else one
        for one in found
    ]


@dataclass(slots=True)
class _Rerun:
    """One rerun of one golden run."""

    run: Run
    workflow: AnyWorkflow
    workflows: Registry
    mode: Mode
    profile: str
    masker: Masker = field(default_factory=lambda: Masker([]))
    unanswered: list[str] = field(default_factory=list)  # calls without an answer

    def execute(self) -> Outcome[Any]:
        """Run the workflow to its end or to a pause without an answer.

        Raises _NotComparable, RequestError.
        """
        if self.run.payload_removed_at is not None:
            raise PayloadRemoved
        below = runs_below(self.run)
        self._require_no_effects({one.workflow_name for one in below})
        clock = ManualClock(self.run.started_at or self.run.created_at)
        options: Options = {
            "answers": RecordedResponses(below, clock).by_node(),
            "subworkflows": {
                one.name: one
                for one in self.workflows.list()
                if isinstance(one, Workflow)
            },
            "clock": clock,
            "by": self.run.launched_by.get_username() if self.run.launched_by else "",
        }
        if self.run.deadline is not None:
            options["deadline"] = self.run.deadline.total_seconds()
        calls = WorkflowCalls(self.workflow.name)
        runtime = self._runtime(calls, below)
        with ThreadPoolExecutor(1, thread_name_prefix="golden") as thread:
            try:
                outcome = thread.submit(self._in_loop, runtime, options).result()
            finally:
                calls.store()
        if self.unanswered:
            raise _NotComparable(f"{self.unanswered[0]}. {REMEDY}")
        return outcome

    def _require_no_effects(self, names: set[str]) -> None:
        """Raise _NotComparable for nodes that would do something outside of the run."""
        if self.mode.allows_effects:
            return
        for name in sorted(names):
            nodes = kinds_and_effects(self.workflows.get(name).drawn)
            for node, (_, effects) in nodes.items():
                if effects:
                    raise _NotComparable(
                        f"The node “{node}” of {name} has effects outside of the run"
                        f" (“{effects}”). Use --allow-effects to repeat them."
                    )

    def _in_loop(self, runtime: Runtime, options: Options) -> Outcome[Any]:
        with asyncio.Runner(loop_factory=ResilientLoop) as runner:
            return runner.run(self._execute(runtime, options))

    async def _execute(self, runtime: Runtime, options: Options) -> Outcome[Any]:
        workflow, params = self.workflow, self.run.params
        if not isinstance(workflow, Workflow):
            raise _NotComparable(
                f"{workflow.name} is made by a factory: it cannot run in memory."
            )
        try:
            values = await variables_of(workflow.name, self.masker.add)
            opened = await open_resources().open(workflow.resources, str(self.run.pk))
            options["runtime"] = replace(
                runtime,
                variables=values.variables,
                secrets=values.secrets,
                resources=opened,
            )
            given = call_contained(lambda: workflow.params_of(params))
            return await run_in_memory_async(workflow, given, **options)
        except (RequestError, ProviderError, _NotComparable):
            raise
        except Exception as error:  # of the author's validators, factory or resources
            raise _NotComparable(
                f"{workflow.name} did not start with the params of the run:"
                f" {describe(error)}"
            ) from error
        finally:
            await pooled().close()
            await open_resources().close()

    def _runtime(self, calls: WorkflowCalls, below: Sequence[Run]) -> Runtime:
        _, prompts = profiles.choose(self.workflow, self.profile, self.run.pk)
        return Runtime(
            agents=self._agents(calls, below),
            documents=ReadDocuments(),
            images=StoredImages(),
            profiles=ChosenProfile(prompts),
            logger=NoLog(),
            scheduled_for=self.run.scheduled_for,
        )

    def _agents(self, calls: WorkflowCalls, below: Sequence[Run]) -> Agents:
        if self.mode.answers == AnswerSource.REAL:
            return DatabaseAgents(calls)
        return recorded_agents(below, self.masker, self.unanswered)
