"""URLs of sign-in: the views of allauth that are used, under the names that it expects."""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as passkeys
from django.contrib.auth.views import LogoutView
from django.urls import URLPattern, path

from workflows.pages.accounts import (
    invitation_views,
    password_reset,
    provider_views,
    security,
)
from workflows.pages.views.accounts import SignIn

urlpatterns: list[URLPattern] = [
    # the names of allauth for pages of ours
    path("accounts/login/", SignIn.as_view(), name="account_login"),
    path("accounts/logout/", LogoutView.as_view(), name="account_logout"),
    path("accounts/security/", security.security, name="mfa_index"),
    path("accounts/security/", security.security, name="mfa_list_webauthn"),
    path(
        "accounts/password/reset/",
        password_reset.request_reset,
        name="account_reset_password",
    ),
    # sessions
    path("accounts/security/", security.security, name="security"),
    path("accounts/sessions/end/", security.end_others, name="sessions-end"),
    path(
        "accounts/sessions/<int:session_id>/end/",
        security.end_one,
        name="session-end",
    ),
    # password
    path(
        "accounts/password/reset/<uidb64>/<token>/",
        password_reset.confirm_reset,
        name="password-reset",
    ),
    path(
        "accounts/reauthenticate/",
        account.reauthenticate,
        name="account_reauthenticate",
    ),
    # invitations
    path(
        "accounts/invitations/<str:secret>/",
        invitation_views.accept,
        name="invitation",
    ),
    # provider
    path(
        "accounts/oidc/<str:provider_id>/login/",
        provider_views.login,
        name="openid_connect_login",
    ),
    path(
        "accounts/oidc/<str:provider_id>/login/callback/",
        provider_views.callback,
        name="openid_connect_callback",
    ),
    path(
        "accounts/oidc/cancelled/",
        security.cancelled,
        name="socialaccount_login_cancelled",
    ),
    path(
        "accounts/saml/<str:organization_slug>/login/",
        provider_views.saml_login,
        name="saml_login",
    ),
    path(
        "accounts/saml/<str:organization_slug>/acs/",
        provider_views.saml_response,
        name="saml_acs",
    ),
    path(
        "accounts/saml/<str:organization_slug>/acs/finish/",
        provider_views.saml_finish,
        name="saml_finish_acs",
    ),
    path(
        "accounts/saml/<str:organization_slug>/metadata/",
        provider_views.saml_metadata,
        name="saml_metadata",
    ),
    # allauth's name for an address in its settings; providers sign nobody out here
    path(
        "accounts/saml/<str:organization_slug>/logout/",
        LogoutView.as_view(),
        name="saml_sls",
    ),
    # second factors
    path("accounts/mfa/authenticate/", mfa.authenticate, name="mfa_authenticate"),
    path("accounts/mfa/reauthenticate/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("accounts/mfa/app/add/", totp.activate_totp, name="mfa_activate_totp"),
    path("accounts/mfa/app/remove/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path(
        "accounts/mfa/recovery-codes/",
        recovery_codes.view_recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "accounts/mfa/recovery-codes/new/",
        recovery_codes.generate_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
    path("accounts/mfa/passkeys/add/", passkeys.add_webauthn, name="mfa_add_webauthn"),
    path(
        "accounts/mfa/passkeys/login/",
        passkeys.login_webauthn,
        name="mfa_login_webauthn",
    ),
    path(
        "accounts/mfa/passkeys/reauthenticate/",
        passkeys.reauthenticate_webauthn,
        name="mfa_reauthenticate_webauthn",
    ),
    path(
        "accounts/mfa/passkeys/<int:pk>/remove/",
        passkeys.remove_webauthn,
        name="mfa_remove_webauthn",
    ),
]
