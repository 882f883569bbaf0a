"""Budgets and prices: list, forms and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.models import Budget, Price
from workflows.pages.access import members_only
from workflows.pages.forms.budgets import BudgetForm, PriceForm
from workflows.pages.lists.budgets import entries_for, models_without_price
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.views import crud

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MANAGE = "change budgets and prices"


@require_safe
@members_only
def list_budgets(request: HtmxRequest) -> HttpResponse:
    """Show the budgets with their use, and the prices of models."""
    context = {
        "entries": entries_for(request.user),
        "prices": Price.objects.all(),
        "unpriced": models_without_price(),
        "can_manage": permissions.can_manage_agents(request.user),
    }
    return render(request, "agents/budgets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def budget(request: HtmxRequest, budget_id: int | None = None) -> HttpResponse:
    """Show the form of a budget or of a new one; save it on POST."""
    crud.require_manager(request, MANAGE)
    found = get_object_or_404(Budget, pk=budget_id) if budget_id else None
    form = BudgetForm(request.POST or None, instance=found, by=request.user)
    if request.method == "POST" and form.is_valid():
        crud.save(request, form, "budget")
        return redirect("budgets")
    raises = found.raises.order_by("-id")[:20] if found else ()
    context = {"form": form, "budget": found, "raises": raises}
    return render(
        request, "agents/budget.html", context, status=status_of_form(request)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def price(request: HtmxRequest, price_id: int | None = None) -> HttpResponse:
    """Show the form of a price or of a new one, with `?model=` filled in; save on POST."""
    crud.require_manager(request, MANAGE)
    found = get_object_or_404(Price, pk=price_id) if price_id else None
    initial = {"model": request.GET.get("model", "")}
    form = PriceForm(request.POST or None, instance=found, initial=initial)
    if request.method == "POST" and form.is_valid():
        crud.save(request, form, "price")
        return redirect("budgets")
    context = {"form": form, "price": found}
    return render(request, "agents/price.html", context, status=status_of_form(request))


@posts_only
@members_only
@answers_request_errors
def delete_budget(request: HtmxRequest, budget_id: int) -> HttpResponse:
    """Delete a budget; increases of it stay in the audit log."""
    crud.require_manager(request, MANAGE)
    crud.delete(request, get_object_or_404(Budget, pk=budget_id), "budget")
    return redirect("budgets")


@posts_only
@members_only
@answers_request_errors
def delete_price(request: HtmxRequest, price_id: int) -> HttpResponse:
    """Delete a price; the recorded costs of calls are kept."""
    crud.require_manager(request, MANAGE)
    crud.delete(request, get_object_or_404(Price, pk=price_id), "price")
    return redirect("budgets")
