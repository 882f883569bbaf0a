"""Settings of sign-in through a provider (OpenID Connect)."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode

from project.comma_separated import Names

PROVIDER_ID = "sso"  # in the address to which the provider redirects


def _pairs(value: object) -> object:
    """Return `one=two, three=four` as pairs; raise ValueError for anything else."""
    if not isinstance(value, str):
        return value
    named = [part.rpartition("=") for part in value.split(",") if part.strip()]
    pairs = tuple((left.strip(), right.strip()) for left, _, right in named)
    if not all(left and right for left, right in pairs):
        raise ValueError("must have the form at-the-provider=here, separated by commas")
    return pairs


Pairs = Annotated[tuple[tuple[str, str], ...], NoDecode, BeforeValidator(_pairs)]


def check_provider_url(value: str, info: ValidationInfo, *, example: str) -> None:
    """Raise ValueError for an address that cannot be that of a provider; "" is none."""
    parts = urlsplit(value)
    if value and (parts.scheme not in {"https", "http"} or not parts.hostname):
        raise ValueError(f"must have the form {example}")
    if info.data.get("production") and parts.scheme == "http":
        raise ValueError("must begin with https:// in production")


class SignIn(BaseSettings):
    """Whom the server signs in, besides accounts with a password."""

    oidc_issuer: str = Field(
        "",
        max_length=500,
        description="Address of an OpenID Connect provider, such as"
        " `https://login.example.org/realms/staff`; people can sign in through it. If empty,"
        " they sign in with a password only.",
    )
    oidc_client_id: str = Field(
        "", max_length=200, description="Client id of this server at the provider."
    )
    oidc_client_secret: SecretStr | None = Field(
        None, description="Client secret of this server at the provider."
    )
    oidc_name: str = Field(
        "single sign-on",
        max_length=60,
        description="Name of the provider on the sign-in page.",
    )
    oidc_scopes: Names = Field(
        ("openid", "profile", "email"),
        description="Scopes that are requested from the provider, separated by commas.",
    )
    oidc_groups_claim: str = Field(
        "groups",
        max_length=100,
        description="Claim with the groups of a person at the provider.",
    )
    oidc_groups: Pairs = Field(
        (),
        description="Groups at the provider and the groups here that they give, such as"
        " `sales=viewer, it-ops=operator, it-leads=admin`. Membership of the groups named here"
        " follows the claim at each sign-in; others are left as they are.",
    )
    oidc_link_by_email: bool = Field(
        False,
        description="Sign people in to an existing account with the mail address that the"
        " provider has verified, except superusers. Off: the first sign-in creates an"
        " account.",
    )

    @field_validator("oidc_issuer")
    @classmethod
    def _is_https(cls, value: str, info: ValidationInfo) -> str:
        check_provider_url(value, info, example="https://login.example.org")
        return value.rstrip("/")

    @field_validator("oidc_client_id")
    @classmethod
    def _has_client(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("oidc_issuer") and not value:
            raise ValueError("must be set with OIDC_ISSUER")
        return value

    @property
    def providers(self) -> dict[str, Any]:
        """The provider as allauth's SOCIALACCOUNT_PROVIDERS; {} without one."""
        if not self.oidc_issuer:
            return {}
        secret = self.oidc_client_secret
        app = {
            "provider_id": PROVIDER_ID,
            "name": self.oidc_name,
            "client_id": self.oidc_client_id,
            "secret": secret.get_secret_value() if secret else "",
            "settings": {"server_url": self.oidc_issuer, "uid_field": "sub"},
        }
        scopes = list(self.oidc_scopes)
        return {
            "openid_connect": {
                "APPS": [app],
                "SCOPE": scopes,
                "OAUTH_PKCE_ENABLED": True,
            }
        }
