"""The first steps of a new installation, and the choice of the default access."""

from __future__ import annotations

from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.errors import DocumentNotFound
from workflows.models import AccessMode
from workflows.pages.access import members_only
from workflows.pages.post_only_views import posts_only
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.views.workflows import form_idempotency_key
from workflows.services import default_access, first_steps
from workflows.system import system

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest


class AccessForm(forms.Form):
    """The choice of the default access."""

    mode = forms.ChoiceField(
        label="Workflows without permissions of their own",
        choices=[
            (
                AccessMode.CLOSED,
                "Closed: roles decide who can view, launch, operate and approve",
            ),
            (AccessMode.OPEN, "Open: every signed-in user can do everything"),
        ],
        widget=forms.RadioSelect,
    )


def steps_context(person: User) -> dict[str, Any]:
    """Return the template context of the first steps."""
    return {"first_steps": first_steps.of_person(person), "once": token_urlsafe(12)}


@require_safe
@members_only
def show(request: HtmxRequest) -> HttpResponse:
    """Show the first steps, also to those who have hidden them from the home page."""
    return render(request, "first_steps/page.html", steps_context(request.user))


@posts_only
@members_only
@answers_request_errors
@limited("launch")
def run_sample(request: HtmxRequest) -> HttpResponse:
    """Launch the sample workflow with the sample document and show the run."""
    sample = first_steps.sample_for(request.user)
    if sample is None:
        raise DocumentNotFound
    params = {"document": str(sample.pk)}
    run = system.execute(
        first_steps.SAMPLE_WORKFLOW,
        params,
        by=request.user,
        idempotency_key=form_idempotency_key(request, params),
    )
    messages.success(request, f"Run {run.short_id} launched.")
    return redirect("run", run_id=run.pk)


@posts_only
@members_only
@answers_request_errors
def hide(request: HtmxRequest) -> HttpResponse:
    """Hide the first steps from the home page."""
    first_steps.hide(request.user)
    messages.success(
        request,
        "Getting started is hidden. Open it again from the menu of your account.",
    )
    return redirect("home")


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def access(request: HtmxRequest) -> HttpResponse:
    """Show the default access and its choice; store it on POST."""
    permissions.require(
        permissions.can_administer(request.user), "change the default access"
    )
    is_open, has_others = permissions.are_open(), first_steps.has_others(request.user)
    current = AccessMode.OPEN if is_open else AccessMode.CLOSED
    suggested = AccessMode.CLOSED if has_others else current
    form = AccessForm(
        request.POST or None, initial={"mode": suggested}, label_suffix=""
    )
    if request.method == "POST" and form.is_valid():
        mode = AccessMode(form.cleaned_data["mode"])
        default_access.choose(mode, by=request.user)
        messages.success(request, f"Default access: {mode.label.lower()}.")
        return redirect("home")
    context = {
        "form": form,
        "is_open": is_open,
        "is_fixed": default_access.is_fixed(),
        "has_others": has_others,
    }
    status = status_of_form(request)
    return render(request, "first_steps/access.html", context, status=status)
