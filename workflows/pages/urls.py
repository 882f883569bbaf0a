"""URLs of the pages, by noun."""

from django.urls import URLPattern, URLResolver, path

from workflows.pages.accounts import invitation_views
from workflows.pages.views import (
    agents,
    alerts,
    approval_handling,
    approvals,
    assessments,
    audit,
    batches,
    budgets,
    bulk,
    calls,
    compare,
    connect,
    decisions,
    destinations,
    documentation,
    documents,
    equal_approvals,
    first_steps,
    forks,
    golden_runs,
    history,
    home,
    items,
    members,
    notifications,
    profiles,
    run_list,
    runs,
    saved_views,
    schedules,
    search,
    states,
    tokens,
    usage,
    webhooks,
    what_if,
    workers,
    workflows,
)

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("favicon.ico", home.favicon),
    # search/
    path("search/", search.search_page, name="search"),
    path("search/palette/", search.palette, name="search-palette"),
    path("search/complete/", search.complete, name="search-complete"),
    # first-steps/
    path("first-steps/", first_steps.show, name="first-steps"),
    path("first-steps/sample/", first_steps.run_sample, name="first-steps-sample"),
    path("first-steps/hide/", first_steps.hide, name="first-steps-hide"),
    # docs/
    path("docs/", documentation.index, name="docs"),
    path("docs/<slug:image>.png", documentation.image, name="docs-image"),
    path("docs/<slug:document>/", documentation.document, name="docs-page"),
    # accounts/
    path("accounts/access/", first_steps.access, name="default-access"),
    path("accounts/tokens/", tokens.list_tokens, name="tokens"),
    path("accounts/tokens/new/", tokens.new_token, name="token-new"),
    path("accounts/tokens/<int:token_id>/revoke/", tokens.revoke, name="token-revoke"),
    path(
        "accounts/service-accounts/new/",
        tokens.new_service_account,
        name="service-account-new",
    ),
    # members/
    path("members/", members.list_members, name="members"),
    path("members/view-as/end/", members.end_view_as, name="view-as-end"),
    path("members/invite/", invitation_views.invite, name="invite"),
    path(
        "members/invitations/<int:invitation_id>/revoke/",
        invitation_views.revoke,
        name="invitation-revoke",
    ),
    path("members/<int:member_id>/", members.member, name="member"),
    path("members/<int:member_id>/view-as/", members.view_as, name="view-as"),
    path("members/<int:member_id>/sign-out/", members.sign_out, name="member-sign-out"),
    # workflows/
    path("workflows/", workflows.list_workflows, name="workflows"),
    path("workflows/<str:name>/", workflows.workflow, name="workflow"),
    path("workflows/<str:name>/source/", documentation.source, name="workflow-source"),
    path("workflows/<str:name>/pause/", workflows.pause, name="workflow-pause"),
    path("workflows/<str:name>/unpause/", workflows.unpause, name="workflow-unpause"),
    path("workflows/<str:name>/profiles/", profiles.list_profiles, name="profiles"),
    path("workflows/<str:name>/profiles/new/", profiles.profile, name="profile-new"),
    path(
        "workflows/<str:name>/profiles/<int:profile_id>/",
        profiles.profile,
        name="profile",
    ),
    path(
        "workflows/<str:name>/profiles/<int:profile_id>/delete/",
        profiles.delete_profile,
        name="profile-delete",
    ),
    path(
        "workflows/<str:name>/profiles/promote/",
        profiles.promote,
        name="profile-promote",
    ),
    path("workflows/<str:name>/schedules/new/", schedules.new, name="schedule-new"),
    path("workflows/<str:name>/what-if/", what_if.report, name="what-if"),
    path("workflows/<str:name>/batch/", batches.launch_many, name="launch-many"),
    path("workflows/<str:name>/webhooks/new/", webhooks.new, name="webhook-new"),
    # runs/
    path("runs/", run_list.list_runs, name="runs"),
    path("runs/bulk/", bulk.many, name="runs-bulk"),
    path("runs/bulk/<uuid:job_id>/", bulk.job, name="bulk-job"),
    path("runs/bulk/<uuid:job_id>/results.csv", batches.results, name="bulk-results"),
    path("runs/bulk/<uuid:job_id>/cancel/", bulk.cancel, name="bulk-job-cancel"),
    path("runs/export.<str:kind>", bulk.export, name="runs-export"),
    path("runs/views/", saved_views.views, name="views"),
    path("runs/views/<int:view_id>/", saved_views.change, name="view-change"),
    path("runs/views/<int:view_id>/delete/", saved_views.delete, name="view-delete"),
    path("runs/<uuid:run_id>/", runs.run, name="run"),
    path("runs/<uuid:run_id>/cancel/", runs.cancel, name="run-cancel"),
    path("runs/<uuid:run_id>/resume/", runs.resume, name="run-resume"),
    path("runs/<uuid:run_id>/delete/", runs.delete, name="run-delete"),
    path("runs/<uuid:run_id>/notes/", runs.note, name="run-note"),
    path("runs/<uuid:run_id>/fork/", forks.fork, name="run-fork"),
    path("runs/<uuid:run_id>/pin/", runs.pin, name="run-pin"),
    path("runs/<uuid:run_id>/assess/", assessments.assess, name="run-assess"),
    path("runs/<uuid:run_id>/golden/", golden_runs.mark, name="run-golden"),
    path("runs/<uuid:run_id>/labels/", runs.label, name="run-label"),
    path("runs/<uuid:run_id>/respond/", approvals.respond, name="run-respond"),
    path("runs/<uuid:run_id>/claim/", approval_handling.claim, name="run-claim"),
    path(
        "runs/<uuid:run_id>/release-approval/",
        approval_handling.release,
        name="run-release-approval",
    ),
    path(
        "runs/<uuid:run_id>/reassign/", approval_handling.reassign, name="run-reassign"
    ),
    path(
        "runs/<uuid:run_id>/escalate/", approval_handling.escalate, name="run-escalate"
    ),
    path("runs/<uuid:run_id>/snooze/", approval_handling.snooze, name="run-snooze"),
    path("runs/<uuid:run_id>/remind/", approval_handling.remind, name="run-remind"),
    path("runs/<uuid:run_id>/result.json", history.result, name="run-result"),
    path("runs/<uuid:run_id>/params.json", history.params, name="run-params"),
    path("runs/<uuid:run_id>/files/<uuid:file_id>", history.file, name="run-file"),
    path("runs/<uuid:run_id>/history.json", history.bundle, name="run-history"),
    path("runs/<uuid:run_id>/states/<int:sequence>/", states.state, name="run-state"),
    path("runs/<uuid:run_id>/items/<int:sequence>/", items.items, name="run-items"),
    path(
        "runs/<uuid:run_id>/states/<int:sequence>.json",
        states.download,
        name="run-state-file",
    ),
    path("runs/<uuid:run_id>/log.txt", history.log_file, name="run-log-file"),
    path("runs/<uuid:run_id>/calls/", calls.calls, name="run-calls"),
    path("runs/<uuid:run_id>/steps/", history.steps, name="run-steps"),
    path("runs/<uuid:run_id>/log/", history.log, name="run-log"),
    path("compare/", compare.compare, name="compare"),
    # decisions/
    path("decisions/", decisions.list_decisions, name="decisions"),
    path("decisions/export.<str:kind>", decisions.export, name="decisions-export"),
    # golden/
    path("golden/", golden_runs.list_golden_runs, name="golden-runs"),
    # approvals/
    path("approvals/", approvals.list_approvals, name="approvals"),
    path(
        "approvals/respond/", equal_approvals.respond_to_equal, name="approvals-respond"
    ),
    # schedules/
    path("schedules/", schedules.list_schedules, name="schedules"),
    path("schedules/preview/", schedules.preview, name="schedule-preview"),
    path("schedules/<uuid:schedule_id>/", schedules.schedule, name="schedule"),
    path("schedules/<uuid:schedule_id>/edit/", schedules.edit, name="schedule-edit"),
    path("schedules/<uuid:schedule_id>/pause/", schedules.pause, name="schedule-pause"),
    path(
        "schedules/<uuid:schedule_id>/resume/",
        schedules.resume,
        name="schedule-resume",
    ),
    path(
        "schedules/<uuid:schedule_id>/delete/",
        schedules.delete,
        name="schedule-delete",
    ),
    path(
        "schedules/<uuid:schedule_id>/backfill/",
        schedules.backfill,
        name="schedule-backfill",
    ),
    # webhooks/
    path("webhooks/", webhooks.list_webhooks, name="webhooks"),
    path("webhooks/<uuid:webhook_id>/", webhooks.webhook, name="webhook"),
    path("webhooks/<uuid:webhook_id>/edit/", webhooks.edit, name="webhook-edit"),
    path("webhooks/<uuid:webhook_id>/secret/", webhooks.rotate, name="webhook-secret"),
    path("webhooks/<uuid:webhook_id>/enable/", webhooks.enable, name="webhook-enable"),
    path(
        "webhooks/<uuid:webhook_id>/disable/", webhooks.disable, name="webhook-disable"
    ),
    path("webhooks/<uuid:webhook_id>/delete/", webhooks.delete, name="webhook-delete"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:webhook_delivery_id>/",
        webhooks.delivery,
        name="webhook-delivery",
    ),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:webhook_delivery_id>/replay/",
        webhooks.replay,
        name="webhook-replay",
    ),
    # alerts/
    path("workflows/<str:name>/alerts/new/", alerts.new, name="alert-new"),
    path("alerts/", alerts.list_alerts, name="alerts"),
    path("alerts/<uuid:alert_id>/", alerts.alert, name="alert"),
    path("alerts/<uuid:alert_id>/edit/", alerts.edit, name="alert-edit"),
    path("alerts/<uuid:alert_id>/delete/", alerts.delete, name="alert-delete"),
    # notifications/
    path("notifications/", notifications.list_notifications, name="notifications"),
    path("notifications/read/", notifications.mark_read, name="notifications-read"),
    path(
        "notifications/settings/",
        notifications.notification_settings,
        name="notification-settings",
    ),
    path("notifications/chat/", notifications.save_chat, name="chat-save"),
    path("notifications/chat/test/", notifications.test_chat, name="chat-test"),
    path("notifications/chat/remove/", notifications.remove_chat, name="chat-remove"),
    path("notifications/follow/", notifications.follow, name="follow"),
    path(
        "notifications/subscriptions/<int:subscription_id>/delete/",
        notifications.unfollow,
        name="unfollow",
    ),
    # destinations/
    path("destinations/", destinations.list_destinations, name="destinations"),
    path("destinations/new/", destinations.new, name="destination-new"),
    path(
        "destinations/deliveries/<int:message_id>/",
        destinations.delivery,
        name="delivery",
    ),
    path(
        "destinations/<uuid:destination_id>/",
        destinations.destination,
        name="destination",
    ),
    *(
        path(
            f"destinations/<uuid:destination_id>/{name}/",
            view,
            name=f"destination-{name}",
        )
        for name, view in {
            "edit": destinations.edit,
            "pause": destinations.pause,
            "resume": destinations.resume,
            "delete": destinations.delete,
            "rotate": destinations.rotate,
            "test": destinations.test,
            "replay": destinations.replay,
        }.items()
    ),
    # workers/
    path("workers/", workers.list_workers, name="workers"),
    # audit/
    path("audit/", audit.list_audit_events, name="audit"),
    path("audit/export.<str:kind>", audit.export, name="audit-export"),
    # documents/
    path("documents/", documents.list_documents, name="documents"),
    path("documents/<uuid:document_id>/", documents.document, name="document"),
    path(
        "documents/<uuid:document_id>/delete/",
        documents.delete,
        name="document-delete",
    ),
    path(
        "documents/<uuid:document_id>/pages/<int:number>/",
        documents.viewer,
        name="document-viewer",
    ),
    path("documents/<uuid:document_id>/file", documents.file, name="document-file"),
    path(
        "documents/<uuid:document_id>/pages/<int:number>.png",
        documents.page_image,
        name="document-page",
    ),
    # agents/
    path("agents/", agents.list_agents, name="agents"),
    path("agents/new/", agents.agent, name="agent-new"),
    path("agents/<int:agent_id>/", agents.agent, name="agent"),
    path("agents/<int:agent_id>/try/", agents.try_agent, name="agent-try"),
    path("agents/<int:agent_id>/delete/", agents.delete_agent, name="agent-delete"),
    path("agents/usage/", usage.usage, name="usage"),
    path("agents/usage.csv", usage.usage_file, name="usage-file"),
    path("agents/budgets/", budgets.list_budgets, name="budgets"),
    path("agents/budgets/new/", budgets.budget, name="budget-new"),
    path("agents/budgets/<int:budget_id>/", budgets.budget, name="budget"),
    path(
        "agents/budgets/<int:budget_id>/delete/",
        budgets.delete_budget,
        name="budget-delete",
    ),
    path("agents/prices/new/", budgets.price, name="price-new"),
    path("agents/prices/<int:price_id>/", budgets.price, name="price"),
    path(
        "agents/prices/<int:price_id>/delete/",
        budgets.delete_price,
        name="price-delete",
    ),
    path("agents/connect/", connect.connect, name="connect"),
    path("agents/providers/new/", agents.provider, name="provider-new"),
    path("agents/providers/<int:provider_id>/", agents.provider, name="provider"),
    path(
        "agents/providers/<int:provider_id>/models/",
        connect.models,
        name="provider-models",
    ),
    path(
        "agents/providers/<int:provider_id>/delete/",
        agents.delete_provider,
        name="provider-delete",
    ),
]
