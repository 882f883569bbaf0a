"""Settings of sign-in through a provider by SAML 2.0, an extra."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from importlib.util import find_spec
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from project.sign_in_settings import PROVIDER_ID, Pairs, check_provider_url

PEM: Final = "-----"  # begins and ends the lines around a certificate in PEM
CLAIMS: Final = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"
# Names that providers give these attributes: plain ones, those of X.500 and of Microsoft.
ATTRIBUTES: Final = {
    "uid": ["urn:oasis:names:tc:SAML:attribute:subject-id"],
    "username": [
        "username",
        "uid",
        "urn:oid:0.9.2342.19200300.100.1.1",
        f"{CLAIMS}name",
    ],
    "email": [
        "email",
        "mail",
        "urn:oid:0.9.2342.19200300.100.1.3",
        f"{CLAIMS}emailaddress",
    ],
    "first_name": ["givenName", "urn:oid:2.5.4.42", f"{CLAIMS}givenname"],
    "last_name": ["sn", "urn:oid:2.5.4.4", f"{CLAIMS}surname"],
}
NOT_INSTALLED: Final = (
    "needs the packages of SAML: run .venv/bin/python -m pip install"
    " --require-hashes -r requirements-saml.txt"
)


def certificate_of(text: str) -> x509.Certificate:
    """Return a certificate in PEM, or its base64 alone. Raises ValueError."""
    lines = (line.strip() for line in text.replace("\\n", "\n").splitlines())
    body = "".join(line for line in lines if not line.startswith(PEM))
    try:
        data = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    return x509.load_der_x509_certificate(data)


class Saml(BaseSettings):
    """The provider that signs people in by SAML."""

    saml_sso_url: str = Field(
        "",
        max_length=500,
        description="Address at which a SAML identity provider signs people in, such as"
        " `https://login.example.org/saml/sso`; needs `requirements-saml.txt`. If empty, SAML is"
        " off.",
    )
    saml_entity_id: str = Field(
        "", max_length=200, description="Entity id of the SAML identity provider."
    )
    saml_certificate: str = Field(
        "",
        max_length=20_000,
        description="Certificate with which the SAML identity provider signs, as PEM or as its"
        " base64 on one line.",
    )
    saml_name: str = Field(
        "single sign-on",
        max_length=60,
        description="Name of the SAML identity provider on the sign-in page.",
    )
    saml_attributes: Pairs = Field(
        (),
        description="Attributes of the SAML identity provider and the fields they fill, such as"
        " `employeeNumber=uid, login=username`. Fields: `uid`, by which an account is"
        " recognised, `username`, `email`, `first_name`, `last_name`. The usual names are known;"
        " `uid` is the NameID without an attribute.",
    )
    saml_groups_attribute: str = Field(
        "groups",
        max_length=200,
        description="SAML attribute with the groups of a person at the provider.",
    )
    saml_groups: Pairs = Field(
        (), description="As OIDC_GROUPS, for the groups of SAML_GROUPS_ATTRIBUTE."
    )
    saml_link_by_email: bool = Field(
        False,
        description="Sign people in to an existing account with the mail address that the SAML"
        " identity provider states, except superusers. Off: the first sign-in creates an"
        " account.",
    )

    @field_validator("saml_sso_url")
    @classmethod
    def _is_usable(cls, value: str, info: ValidationInfo) -> str:
        check_provider_url(value, info, example="https://login.example.org/saml/sso")
        if value and find_spec("onelogin") is None:
            raise ValueError(NOT_INSTALLED)
        return value

    @field_validator("saml_entity_id")
    @classmethod
    def _has_entity_id(cls, value: str, info: ValidationInfo) -> str:
        if info.data.get("saml_sso_url") and not value:
            raise ValueError("must be set with SAML_SSO_URL")
        return value

    @field_validator("saml_certificate")
    @classmethod
    def _is_a_certificate(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            if info.data.get("saml_sso_url"):
                raise ValueError("must be set with SAML_SSO_URL")
            return value
        try:
            certificate_of(value)
        except ValueError as error:
            raise ValueError(
                "must be a certificate, as PEM or as its base64 on one line"
            ) from error
        return value

    @field_validator("saml_attributes")
    @classmethod
    def _fills_known_fields(
        cls, value: tuple[tuple[str, str], ...]
    ) -> tuple[tuple[str, str], ...]:
        unknown = sorted({field for _, field in value} - set(ATTRIBUTES))
        if unknown:
            raise ValueError(
                f"names unknown fields: {', '.join(unknown)}. Known: {', '.join(ATTRIBUTES)}"
            )
        return value

    @property
    def saml_expires(self) -> dt.datetime | None:
        """When the certificate of the identity provider expires; None without SAML."""
        if not self.saml_sso_url:
            return None
        return certificate_of(self.saml_certificate).not_valid_after_utc

    @property
    def saml_providers(self) -> dict[str, Any]:
        """The provider as allauth's SOCIALACCOUNT_PROVIDERS; {} without one."""
        if not self.saml_sso_url:
            return {}
        mapping = {
            field: [name for name, filled in self.saml_attributes if filled == field]
            + usual
            for field, usual in ATTRIBUTES.items()
        }
        identity_provider = {
            "entity_id": self.saml_entity_id,
            "sso_url": self.saml_sso_url,
            "x509cert": _base64_of(self.saml_certificate),
        }
        app = {
            # accounts belong to this provider: another one may use the same ids
            "provider_id": self.saml_entity_id,
            "name": self.saml_name,
            "client_id": PROVIDER_ID,
            "settings": {
                "attribute_mapping": mapping,
                "idp": identity_provider,
                "advanced": {
                    "want_attribute_statement": False,
                    "allow_single_label_domains": True,  # hosts of an own network
                },
            },
        }
        return {"saml": {"APPS": [app]}}


def _base64_of(certificate: str) -> str:
    data = certificate_of(certificate).public_bytes(Encoding.DER)
    return base64.b64encode(data).decode()
