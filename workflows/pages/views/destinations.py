"""Webhook destinations: the list, one with its deliveries, its form, and actions on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.deliveries import service
from workflows.errors import InvalidDestination
from workflows.models import DeliveryStatus, EventKind
from workflows.pages.access import members_only
from workflows.pages.catalog import title_of
from workflows.pages.forms.destinations import DestinationForm
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.lists.destinations import deliveries_page, destination_rows
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import clean_text, int_in, is_row_id
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.pages.secret_page import secret_page

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.models import Destination
    from workflows.pages.requests import HtmxRequest

KINDS = dict(EventKind.choices)


@require_safe
@members_only
@answers_request_errors
def list_destinations(request: HtmxRequest) -> HttpResponse:
    """Show the destinations with the state of their deliveries."""
    permissions.require(
        permissions.can_view_destinations(request.user), "view webhook destinations"
    )
    context = {
        "rows": destination_rows(request.user),
        "can_manage": permissions.can_manage_destinations(request.user),
    }
    return render(request, "destinations/list.html", context)


@require_safe
@members_only
@answers_request_errors
def destination(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Show a destination and a page of its deliveries."""
    found = service.find(destination_id, by=request.user)
    status = clean_text(request.GET.get("status", ""))
    before = int_in(request.GET, "before")
    page = deliveries_page(request.user, found, status=status, before=before)
    context = {
        "destination": found,
        "can_manage": permissions.can_manage_destinations(request.user),
        "events": [KINDS.get(kind, kind) for kind in found.events],
        "workflows": [title_of(name) for name in found.workflows],
        "deliveries": page.rows,
        "after": page.after,
        "before": before,
        "status": status if status in DeliveryStatus.values else "",
        "statuses": DeliveryStatus.choices,
    }
    return render(request, "destinations/detail.html", context)


@require_safe
@members_only
@answers_request_errors
def delivery(request: HtmxRequest, message_id: int) -> HttpResponse:
    """Show a message with its attempts."""
    found = service.find_delivery(message_id, by=request.user)
    context = {
        "delivery": found,
        "destination": found.destination,
        "body": json.loads(found.body),
        "attempts": found.tries.order_by("-number"),
        "can_manage": permissions.can_manage_destinations(request.user),
    }
    return render(request, "destinations/delivery.html", context)


# Form -----------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new(request: HtmxRequest) -> HttpResponse:
    """Show the form of a new destination; on POST create it and show its secret once."""
    permissions.require(
        permissions.can_manage_destinations(request.user), service.MANAGE
    )
    form = DestinationForm(request.POST or None, by=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            created, secret = service.create(form.plan(), by=request.user)
        except InvalidDestination as error:
            add_service_errors(form, error)
        else:
            if secret:
                return _with_secret(request, created, secret, status=201)
            messages.success(request, f"Destination “{created.name}” added.")
            return redirect("destination", destination_id=created.pk)
    return _form_page(request, form, None)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def edit(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Show the form of a destination; change it on POST, which makes the user its owner."""
    found = service.find(destination_id, by=request.user)
    permissions.require(
        permissions.can_manage_destinations(request.user), service.MANAGE
    )
    form = DestinationForm(request.POST or None, by=request.user, found=found)
    if request.method == "POST" and form.is_valid():
        try:
            changed = service.change(found.pk, form.plan(), by=request.user)
        except InvalidDestination as error:
            add_service_errors(form, error)
        else:
            messages.success(request, f"Destination “{changed.name}” saved.")
            return redirect("destination", destination_id=changed.pk)
    return _form_page(request, form, found)


def _form_page(
    request: HtmxRequest, form: DestinationForm, found: Destination | None
) -> HttpResponse:
    context = {
        "form": form,
        "destination": found,
        "takes_over": found is not None and found.owner_id != request.user.pk,
    }
    status = status_of_form(request)
    return render(request, "destinations/form.html", context, status=status)


def _with_secret(
    request: HtmxRequest, found: Destination, secret: str, *, status: int = 200
) -> HttpResponse:
    context = {"destination": found, "secret": secret}
    return secret_page(request, "destinations/secret.html", context, status=status)


# Actions --------------------------------------------------------------------------------


@posts_only
@members_only
@answers_request_errors
def rotate(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Replace the secret and show the new one once."""
    found, secret = service.rotate_secret(destination_id, by=request.user)
    return _with_secret(request, found, secret)


@posts_only
@members_only
@answers_request_errors
def test(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Queue a test message."""
    queued = service.send_test(destination_id, by=request.user)
    messages.success(request, "Test message queued.")
    return redirect("delivery", message_id=queued.pk)


@posts_only
@members_only
@answers_request_errors
def pause(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Pause a destination."""
    found = service.pause(destination_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Destination “{found.name}” paused.")
    return redirect("destination", destination_id=destination_id)


@posts_only
@members_only
@answers_request_errors
def resume(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Resume a destination, or try a failing one now."""
    found = service.resume(destination_id, by=request.user)
    messages.success(request, f"Destination “{found.name}” resumed.")
    return redirect("destination", destination_id=destination_id)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Delete a destination."""
    found = service.delete(destination_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Destination “{found.name}” deleted.")
    return redirect("destinations")


@posts_only
@members_only
@answers_request_errors
def replay(request: HtmxRequest, destination_id: UUID) -> HttpResponse:
    """Send messages again: those that were selected."""
    ids = [int(text) for text in request.POST.getlist("delivery") if is_row_id(text)]
    queued = service.replay(destination_id, ids, by=request.user)
    count = len(queued)
    messages.success(
        request, f"{count} {'message' if count == 1 else 'messages'} queued."
    )
    return redirect("destination", destination_id=destination_id)
