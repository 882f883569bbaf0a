"""Addresses: admin, accounts, health, and the pages."""

from django.contrib import admin
from django.contrib.auth import views as accounts
from django.urls import URLPattern, URLResolver, include, path

from workflows.api import callbacks
from workflows.api.application import api
from workflows.api.incoming_webhooks import receive
from workflows.api.reference import reference
from workflows.ops import health, metrics_endpoint
from workflows.pages.accounts import sign_in_urls
from workflows.pages.views.accounts import SignIn, new_password

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/login/", SignIn.as_view()),  # one door, so that its lock is everywhere
    path("admin/password_change/", admin.site.admin_view(new_password)),
    path("admin/", admin.site.urls),
    # accounts/
    path("accounts/login/", SignIn.as_view(), name="login"),
    path("accounts/password/", new_password, name="password"),
    path("accounts/logout/", accounts.LogoutView.as_view(), name="logout"),
    *sign_in_urls.urlpatterns,
    # health/
    path("health/live", health.live, name="health-live"),
    path("health/pages", health.pages, name="health-pages"),
    path("health/ready", health.ready, name="health-ready"),
    path("metrics", metrics_endpoint.metrics, name="metrics"),
    path("api/v1/docs", reference, name="api-docs"),
    path("api/v1/", api.urls),
    path("hooks/<str:path>", receive, name="hook"),
    path("callbacks/<str:token>", callbacks.receive, name="callback"),
    path("", include("workflows.pages.urls")),
]

handler400 = "workflows.pages.views.error_pages.bad_request"
handler500 = "workflows.pages.views.error_pages.server_error"
