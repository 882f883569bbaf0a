"""`manage.py rerun RUN`: launch a run again, from the start or from one of its steps."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

from workflows.engine.errors import RequestError
from workflows.models import ForkKind
from workflows.services import fork_plans
from workflows.services.fork_plans import ForkRequest
from workflows.system import system

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from workflows.models import Run
    from workflows.services.fork_preview import PreviewStep

BAD_INPUT = 2


class Command(BaseCommand):
    """Fork a run, or show what a fork would do; exit 2 if it is refused."""

    help = (
        "Launch a run again. From a step, the new run shares the steps before it. Exits 2 if"
        " the rerun is refused."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the run and what to change."""
        parser.add_argument("run", help="full ID of a run")
        start = parser.add_mutually_exclusive_group()
        start.add_argument(
            "--from",
            dest="step",
            type=int,
            help="number of the first step to run again",
        )
        start.add_argument(
            "--failed", action="store_true", help="from the step where the run failed"
        )
        start.add_argument(
            "--override",
            nargs=2,
            type=int,
            metavar=("STEP", "EDGE"),
            help="take the edge with this index after a step",
        )
        start.add_argument(
            "--response",
            nargs=2,
            metavar=("STEP", "JSON"),
            help="another response to the approval of a step",
        )
        parser.add_argument("--state", help="the state before the step, as JSON")
        parser.add_argument("--params", help="other parameters, as JSON")
        parser.add_argument(
            "--replay",
            action="store_true",
            help="use recorded answers of agents where prompts are equal",
        )
        parser.add_argument("--by", metavar="USER", help="who does it; else the system")
        parser.add_argument("--reason", default="", help="saved in the audit log")
        parser.add_argument("--idempotency-key", help="a repeated rerun is made once")
        parser.add_argument(
            "--preview", action="store_true", help="only show what would run again"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Make the fork, or show its preview."""
        by = self._user(options["by"])
        try:
            request = self._request(options)
            if options["preview"]:
                self._preview(options["run"], request, by)
                return
            run = self._rerun(request, by, options)
        except RequestError as error:
            self._fail(str(error))
        self.stdout.write(f"Run {run.pk} launched.")

    def _rerun(
        self, request: ForkRequest | None, by: User | None, options: dict[str, Any]
    ) -> Run:
        common: dict[str, Any] = {
            "by": by,
            "reason": options["reason"],
            "idempotency_key": options["idempotency_key"],
        }
        if request is not None:
            request = replace(request, replay=options["replay"])
            return system.fork(options["run"], request, **common)
        if options["state"] is not None:
            self._fail("Give the step before which this is the state: --from.")
        if options["replay"]:
            self._fail("Give the step from which answers are replayed: --from.")
        params = self._json(options["params"], "--params")
        return system.rerun(options["run"], params=params, **common)

    def _request(self, options: dict[str, Any]) -> ForkRequest | None:
        """Return what to change; None for a rerun from the start."""
        if options["override"]:
            step, edge = options["override"]
            return ForkRequest(step, ForkKind.OVERRIDE, edge=edge)
        if options["response"]:
            return self._response(*options["response"])
        step = options["step"]
        if options["failed"]:
            step = fork_plans.failed_step(system.find_run(options["run"]))
        if step is None:
            return None
        return ForkRequest(
            step,
            state=self._json(options["state"], "--state"),
            params=self._json(options["params"], "--params"),
        )

    def _response(self, step: str, response: str) -> ForkRequest:
        if not step.isdecimal():
            self._fail(f"“{step}” is no number of a step.")
        value = self._json(response, "--response")
        return ForkRequest(int(step), ForkKind.RESPONSE, response=value)

    def _preview(
        self, run_id: str, request: ForkRequest | None, by: User | None
    ) -> None:
        if request is None:
            self._fail("A rerun from the start shares no step: use --from.")
        preview = system.preview_fork(run_id, request, by=by)
        self._list("Kept", preview.kept)
        self._list("Run again", preview.again)
        self._list("May run", preview.new)
        if preview.plan.recorded:
            self.stdout.write(f"Recorded answers: {preview.plan.recorded}")
        for step in preview.effects:
            self.stdout.write(f"May repeat, {step.node}: {step.effects}")
        for step in preview.approvals:
            self.stdout.write(f"Requested again: {step.node}")

    def _list(self, title: str, steps: Any) -> None:
        def text(step: PreviewStep) -> str:
            return (
                step.node if step.sequence is None else f"{step.sequence} {step.node}"
            )

        self.stdout.write(f"{title}: {', '.join(map(text, steps)) or 'none'}")

    def _user(self, name: str | None) -> User | None:
        if not name:
            return None
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None:
            self._fail(f"There is no active user “{name}”.")
        return user

    def _json(self, text: str | None, option: str) -> dict[str, Any] | None:
        if text is None:
            return None
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            self._fail(f"{option} is not valid JSON: {error}.")
        if not isinstance(value, dict):
            self._fail(f"{option} must be a JSON object.")
        return value

    def _fail(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(BAD_INPUT)
