"""Members, groups and permissions, and pages as another member sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.auth.models import User
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.access.account_errors import MemberNotFound
from workflows.access.escalation import Power
from workflows.access.grants import grants_of
from workflows.errors import NotAllowed
from workflows.models import WorkflowPermission
from workflows.pages.access import members_only
from workflows.pages.accounts import user_sessions
from workflows.pages.catalog import title_of
from workflows.pages.lists.members import group_rows, members_page
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.sessions import view_as as viewing

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
@answers_request_errors
def list_members(request: HtmxRequest) -> HttpResponse:
    """Show the accounts with their groups, and what each group gives."""
    permissions.require(permissions.can_view_members(request.user), "view the members")
    context = members_page(request.GET.dict()) | {
        "groups": group_rows(),
        "can_invite": permissions.can_invite(request.user),
        "are_open": permissions.are_open(),
    }
    return render(request, "members/list.html", context)


@require_safe
@members_only
@answers_request_errors
def member(request: HtmxRequest, member_id: int) -> HttpResponse:
    """Show an account: its groups, and its permissions on each workflow."""
    permissions.require(permissions.can_view_members(request.user), "view the members")
    rows = User.objects.select_related("service_account").prefetch_related("groups")
    shown = rows.filter(pk=member_id).first()
    if shown is None:
        raise MemberNotFound
    names = WorkflowPermission.objects.order_by().values_list(
        "workflow_name", flat=True
    )
    known = permissions.names_now() | set(names.distinct())
    listed = sorted(one for one in known if permissions.can_view(request.user, one))
    grants = [
        {"grant": grant, "title": title_of(grant.workflow_name)}
        for grant in grants_of(shown, listed)
    ]
    context = {
        "member": shown,
        "grants": grants,
        "are_open": permissions.are_open(),
        "can_change": permissions.can_manage_members(request.user),
        "can_view_as": viewing.may_view_as(request.user, shown),
    }
    return render(request, "members/detail.html", context)


@posts_only
@members_only
@answers_request_errors
def view_as(request: HtmxRequest, member_id: int) -> HttpResponse:
    """Show pages as a member from now on."""
    viewing.start(request, member_id, by=request.user)
    return redirect("home")


@posts_only
@members_only
@answers_request_errors
def sign_out(request: HtmxRequest, member_id: int) -> HttpResponse:
    """End all sessions of a member."""
    permissions.require(
        permissions.can_manage_members(request.user), "sign members out"
    )
    member = User.objects.filter(pk=member_id).first()
    if member is None:
        raise MemberNotFound
    if not Power.of(request.user).covers(Power.of(member)):
        raise NotAllowed("You can’t sign out an account that can do more than yours.")
    ended = user_sessions.sign_out_everywhere(member, by=request.user)
    name, sessions = member.get_username(), "session" if ended == 1 else "sessions"
    messages.success(request, f"{name} was signed out: {ended} {sessions} ended.")
    return redirect("member", member_id)


@posts_only
@members_only
@answers_request_errors
def end_view_as(request: HtmxRequest) -> HttpResponse:
    """Show one's own pages again."""
    shown = viewing.end(request, by=request.user)
    if shown is None:
        return redirect("home")
    messages.success(request, f"You no longer view pages as {shown.get_username()}.")
    return redirect("member", shown.pk)
