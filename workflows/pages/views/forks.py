"""The page on which a run is forked: from a step, with another edge or another response."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from workflows.access import permissions
from workflows.engine import State
from workflows.engine.frozen import equal, freeze
from workflows.errors import InvalidParams, ReasonMissing
from workflows.models import Approval, ForkKind
from workflows.pages.access import members_only
from workflows.pages.forms.forks import (
    MAX_KEY_LENGTH,
    PARAMS,
    RESPONSE,
    AnswersForm,
    EdgeForm,
    StateText,
    state_form,
)
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.query_string import int_in, text_in
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of
from workflows.pages.views.runs import visible_run
from workflows.pages.views.workflows import params_schema
from workflows.services import fork_plans
from workflows.services.fork_plans import ForkRequest
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpResponse

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest
    from workflows.services.fork_preview import ForkPreview

KINDS = {kind.value: kind for kind in ForkKind}
FAILED = "failed"  # in place of a number: the step where the run failed
INVALID = 422


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@limited("launch")
@answers_request_errors
def fork(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show what a fork would share and repeat, and make it."""
    found = visible_run(request, run_id)
    wanted = _wanted(request, found)
    fork_plans.require_forker(found, wanted, request.user)
    page = ForkForms(request, found, wanted)
    if request.method == "POST":
        run = page.submit()
        if run is not None:
            messages.success(request, f"Run {run.short_id} launched.")
            return redirect("run", run_id=run.pk)
    context = {"run": found, "page": page, "preview": page.preview}
    status = INVALID if request.method == "POST" else 200
    return render(request, "runs/fork.html", context, status=status)


def _wanted(request: HtmxRequest, found: Run) -> ForkRequest:
    """Return the kind and the step of the query. Raises InvalidStatus."""
    kind = KINDS.get(text_in(request.GET, "do"), ForkKind.RERUN)
    if request.GET.get("step") == FAILED:
        return ForkRequest(fork_plans.failed_step(found), kind)
    edge = int_in(request.GET, "edge") if kind == ForkKind.OVERRIDE else None
    number = int_in(request.GET, "item") if kind == ForkKind.RERUN else None
    item = number - 1 if number else None  # pages count from 1
    return ForkRequest(int_in(request.GET, "step") or 1, kind, edge=edge, item=item)


class ForkForms:
    """The forms of a fork, as sent or with the values of the origin."""

    def __init__(self, request: HtmxRequest, found: Run, wanted: ForkRequest) -> None:
        """Make the forms of this kind of fork."""
        self._request, self.run, self.wanted = request, found, wanted
        self._is_sent = request.method == "POST"
        self.error = ""
        self.once = secrets.token_urlsafe(16)
        self.edges: EdgeForm | None = None
        if wanted.kind == ForkKind.OVERRIDE:
            offered = fork_plans.other_edges(found, wanted.step)
            if wanted.edge is None and offered:
                self.wanted = replace(wanted, edge=offered[0].index)
            self.edges = EdgeForm(
                offered, initial={"edge": self.wanted.edge}, **self._sent(files=False)
            )
        self.preview: ForkPreview = system.preview_fork(
            found.pk, self.wanted, by=request.user
        )
        self.answers: AnswersForm | None = None
        if self.preview.plan.recorded:
            self.answers = AnswersForm(
                self.preview.plan.recorded, **self._sent(files=False)
            )
        self.response = self._response_form()
        self.state, self.params = self._input_forms()

    def _sent(self, *, files: bool = True) -> dict[str, Any]:
        if not self._is_sent:
            return {}
        sent: dict[str, Any] = {"data": self._request.POST}
        return sent | ({"files": self._request.FILES} if files else {})

    def _response_form(self) -> SchemaForm | None:
        approval: Approval | None = self.preview.plan.approval
        if approval is None:
            return None
        return SchemaForm(
            approval.form,
            prefix=RESPONSE,
            auto_id="response-%s",
            initial=approval.response if self.can_read else None,
            by=self._request.user,
            **self._sent(),
        )

    def _input_forms(self) -> tuple[Any, SchemaForm | None]:
        """Return the forms of the state and of the params, for a rerun."""
        if not self.is_editable:
            return None, None
        plan = self.preview.plan
        kind = getattr(plan.workflow, "state_type", State)
        by, sent = self._request.user, self._sent()
        state = state_form(kind, plan.before, by=by, **sent)
        params = SchemaForm(
            params_schema(plan.workflow),
            prefix=PARAMS,
            auto_id="params-%s",
            initial=self.run.params,
            by=by,
            **sent,
        )
        return state, params

    @property
    def kind(self) -> ForkKind:
        """What is done to the origin."""
        return self.wanted.kind

    @property
    def title(self) -> str:
        """The heading of the page."""
        step = self.wanted.step
        if self.wanted.item is not None:
            return f"Rerun item {self.wanted.item + 1} of step {step}"
        return {
            ForkKind.RERUN: f"Rerun from step {step}",
            ForkKind.OVERRIDE: f"Take another edge after step {step}",
            ForkKind.RESPONSE: f"Change the response of step {step}",
        }[self.kind]

    @property
    def change_title(self) -> str:
        """The heading of the forms."""
        return "Response" if self.kind == ForkKind.RESPONSE else "Change"

    @property
    def button(self) -> str:
        """The label of the button."""
        return "Rerun" if self.kind == ForkKind.RERUN else "Launch the fork"

    @property
    def can_read(self) -> bool:
        """Whether the viewer may read the data of the run."""
        return permissions.can_read(self._request.user, self.run.workflow_name)

    @property
    def is_editable(self) -> bool:
        """Whether state and params can be changed."""
        is_of_step = self.kind == ForkKind.RERUN and self.wanted.item is None
        return is_of_step and self.can_read

    def uses(self, name: str) -> bool:
        """Return whether the state or the params of the form are others than those of the run."""
        if name not in self._request.POST.getlist("edit"):
            return False
        form, before = {
            "state": (self.state, self.preview.plan.before),
            "params": (self.params, self.run.params),
        }[name]
        return form is not None and (not form.is_valid() or _differs(form, before))

    @property
    def uses_state(self) -> bool:
        """Whether the state of the form is to be used."""
        return self.uses("state")

    @property
    def uses_params(self) -> bool:
        """Whether the params of the form are to be used."""
        return self.uses("params")

    @property
    def reason(self) -> str:
        """The reason as sent."""
        return reason_of(self._request) if self._is_sent else ""

    def submit(self) -> Run | None:
        """Return the fork; None, with the errors on the forms, if it is refused."""
        used = {
            "state": self.state if self.uses_state else None,
            "params": self.params if self.uses_params else None,
            "response": self.response,
            "edge": self.edges,
            "answers": self.answers,
        }
        given = {name: form for name, form in used.items() if form is not None}
        valid = [form.is_valid() for form in given.values()]  # each shows its errors
        if not all(valid):
            return None
        once = self._request.POST.get("once", "")[:MAX_KEY_LENGTH]
        try:
            return system.fork(
                self.run.pk,
                replace(self.wanted, **self._changes(given)),
                by=self._request.user,
                reason=self.reason,
                idempotency_key=f"fork {once}" if once else None,
            )
        except ReasonMissing as error:
            self.error = str(error)
        except InvalidParams as error:
            self._add_errors(error, given)
        return None

    def _changes(self, given: dict[str, Any]) -> dict[str, Any]:
        changes = {
            name: form.values()
            for name, form in given.items()
            if name not in {"edge", "answers"}
        }
        if "state" in changes:  # fields that the form does not have stay as they are
            before = self.preview.plan.before
            is_whole = not isinstance(self.state, SchemaForm)
            changes["state"] = {**({} if is_whole else before), **changes["state"]}
        if self.edges is not None:
            changes["edge"] = self.edges.cleaned_data["edge"]
        if self.answers is not None:
            changes["replay"] = self.answers.replays()
        return changes

    def _add_errors(self, error: InvalidParams, given: dict[str, Any]) -> None:
        """Show the errors at the form that has the values, else above all."""
        for name in ("response", "params"):
            form = given.get(name)
            if form is not None and "state" not in error.errors:
                form.add_validation_errors(error)
                return
        self.error = " ".join(text for texts in error.errors.values() for text in texts)


def _differs(form: SchemaForm | StateText, before: Mapping[str, Any]) -> bool:
    """Return whether a valid form has other values; the fields that it lacks stay."""
    given = form.values()
    has_other_keys = isinstance(form, StateText) and given.keys() != before.keys()
    return has_other_keys or any(
        key not in before or not equal(freeze(value), freeze(before[key]))
        for key, value in given.items()
    )
