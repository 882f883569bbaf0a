"""Budgets and prices: all of them, one of either."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.audit import trail
from workflows.models import Budget, Price
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.budgets import BudgetForm, PriceForm
from workflows.pages.lists.budgets import entries_for, models_without_price
from workflows.pages.methods import posts_only
from workflows.pages.requests import status_of_form

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MANAGE = "change budgets and prices"


@require_safe
@members_only
def list_budgets(request: HtmxRequest) -> HttpResponse:
    """Show what may be spent, what was, and what models cost."""
    context = {
        "entries": entries_for(request.user),
        "prices": Price.objects.all(),
        "unpriced": models_without_price(),
        "may_manage": permissions.may_manage_agents(request.user),
    }
    return render(request, "agents/budgets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def budget(request: HtmxRequest, budget_id: int | None = None) -> HttpResponse:
    """Show a budget or a new one; keep what is sent."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = get_object_or_404(Budget, pk=budget_id) if budget_id else None
    form = BudgetForm(request.POST or None, instance=found, by=request.user)
    if request.method == "POST" and form.is_valid():
        return _save(request, form, "budget")
    raises = found.raises.order_by("-id")[:20] if found else ()
    context = {"form": form, "budget": found, "raises": raises}
    return render(
        request, "agents/budget.html", context, status=status_of_form(request)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def price(request: HtmxRequest, price_id: int | None = None) -> HttpResponse:
    """Show a price or a new one, perhaps of a model that is named; keep what is sent."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = get_object_or_404(Price, pk=price_id) if price_id else None
    initial = {"model": request.GET.get("model", "")}
    form = PriceForm(request.POST or None, instance=found, initial=initial)
    if request.method == "POST" and form.is_valid():
        return _save(request, form, "price")
    context = {"form": form, "price": found}
    return render(request, "agents/price.html", context, status=status_of_form(request))


@posts_only
@members_only
@answers_request_errors
def delete_budget(request: HtmxRequest, budget_id: int) -> HttpResponse:
    """Delete a budget; what people allowed beyond it stays in their audit rows."""
    return _deleted(request, get_object_or_404(Budget, pk=budget_id), "budget")


@posts_only
@members_only
@answers_request_errors
def delete_price(request: HtmxRequest, price_id: int) -> HttpResponse:
    """Delete a price; calls keep the cost they had."""
    return _deleted(request, get_object_or_404(Price, pk=price_id), "price")


def _deleted(request: HtmxRequest, found: Budget | Price, kind: str) -> HttpResponse:
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    with trail.changing(f"delete {kind}", found, by=request.user):
        found.delete()
    messages.success(request, f"The {kind} “{found}” was deleted.")
    return redirect("budgets")


def _save(
    request: HtmxRequest, form: BudgetForm | PriceForm, kind: str
) -> HttpResponse:
    with trail.changing(f"save {kind}", form.instance, by=request.user):
        saved = form.save()
    messages.success(request, f"The {kind} “{saved}” was saved.")
    return redirect("budgets")
