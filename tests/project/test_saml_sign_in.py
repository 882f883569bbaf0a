"""Sign-in through an identity provider by SAML: signed responses, and forged ones."""

from __future__ import annotations

import datetime as dt
import json
from importlib import import_module
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import User
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from pydantic import ValidationError
from pytest_django import Settings

from project.env import Environment
from project.saml_settings import Saml
from project.sign_in_settings import PROVIDER_ID
from tests.support.factories import make_role, make_user
from workflows.models import AuditEvent

saml_provider = pytest.importorskip(
    "tests.support.saml_provider", reason="requirements-saml.txt is not installed"
)
SP = f"http://testserver{reverse('saml_metadata', args=[PROVIDER_ID])}"
SSO = "https://login.example.org/saml/sso"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
MAPPING = (("sales", "viewer"), ("it-leads", "admin"))


@pytest.fixture(scope="module")
def key() -> Any:
    return saml_provider.Key()


@pytest.fixture(autouse=True)
def _provider(key: Any, settings: Settings, db: None) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = configured(key).saml_providers
    settings.SAML_GROUPS = MAPPING
    for _, name in MAPPING:
        make_role(name)


def configured(key: Any, **more: Any) -> Saml:
    return Saml(
        saml_sso_url=SSO,
        saml_entity_id=saml_provider.ENTITY,
        saml_certificate=key.pem,
        **more,
    )


def url(name: str) -> str:
    return reverse(name, args=[PROVIDER_ID])


def visitor() -> Client:
    return Client(headers={"host": "testserver"})


def asked(client: Client) -> str:
    """Return the address at the provider to which a browser is sent."""
    answer = client.get(f"{url('saml_login')}?next=/runs/")
    assert answer.status_code == 302, answer.content
    assert answer.headers["Location"].startswith(f"{SSO}?SAMLRequest=")
    return answer.headers["Location"]


def send(client: Client, response: str) -> Any:
    """Post a response as a browser does, and follow the redirect."""
    answer = client.post(url("saml_acs"), {"SAMLResponse": response})
    assert answer.headers["Location"] == url("saml_finish_acs")
    return client.get(url("saml_finish_acs"))


def signed_in(key: Any, **changes: Any) -> tuple[Client, Any]:
    client = visitor()
    response = saml_provider.answer_to(asked(client), **changes)
    return client, send(client, response.encoded(key))


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def groups_of(user: User) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


# Who signs in -----------------------------------------------------------------------


def test_people_sign_in_and_get_the_groups_of_each_sign_in(key: Any) -> None:
    text = visitor().get(reverse("login")).content.decode()
    assert "Sign in through single sign-on" in text
    assert url("saml_login") in text
    attributes = {"uid": ["ada"], "mail": ["ada@example.org"], "sn": ["L"]}
    given = {**attributes, "groups": ["it-leads", "x"]}
    _, answer = signed_in(key, attributes=given)
    assert answer.headers["Location"] == "/runs/"
    ada = User.objects.get(username="ada")
    assert (ada.email, ada.last_name) == ("ada@example.org", "L")
    assert groups_of(ada) == {"admin"}
    assert ada.is_staff
    assert not ada.has_usable_password()
    signed_in(key, attributes={**attributes, "groups": ["sales"]}, signed="Response")
    ada.refresh_from_db()
    assert groups_of(ada) == {"viewer"}
    assert not ada.is_staff
    client, _ = signed_in(key)
    assert client.session["_auth_user_id"] == str(ada.pk)
    assert groups_of(ada) == set()
    events = AuditEvent.objects.filter(action="sign in")
    assert {event.reason for event in events} == {"ada: provider"}


def test_an_attribute_of_the_settings_names_the_account(
    key: Any, settings: Settings
) -> None:
    given = configured(key, saml_attributes="number=uid, login=username")
    settings.SOCIALACCOUNT_PROVIDERS = given.saml_providers
    attributes = {"number": ["7"], "login": ["bob"]}
    form = saml_provider.TRANSIENT
    found = [
        signed_in(key, subject=subject, attributes=attributes, format=form)[0]
        for subject in ("_1", "_2")
    ]
    [bob] = User.objects.filter(username__startswith="bob")
    assert {one.session["_auth_user_id"] for one in found} == {str(bob.pk)}


def test_accounts_are_linked_by_mail_address_only_with_the_setting(
    key: Any, settings: Settings
) -> None:
    bob = make_user("bob", email="Bob@example.org")
    admin = User.objects.create_superuser("admin", email="admin@example.org")

    def account(subject: str, mail: str) -> str:
        client, _ = signed_in(key, subject=subject, attributes={"mail": [mail]})
        found: str = client.session["_auth_user_id"]
        return found

    assert account("1", "bob@example.org") != str(bob.pk)
    User.objects.exclude(pk__in=[bob.pk, admin.pk]).delete()
    settings.SAML_LINK_BY_EMAIL = True
    assert account("2", "admin@example.org") != str(admin.pk)
    assert account("3", "bob@example.org") == str(bob.pk)


def test_deactivated_accounts_and_second_factors_hold_here_too(key: Any) -> None:
    signed_in(key)
    user = User.objects.latest("pk")
    TOTP.activate(user, SECRET)
    client, answer = signed_in(key)
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    assert not is_in(client)
    user.is_active = False
    user.save()
    client, answer = signed_in(key)
    assert answer.status_code == 403
    assert "deactivated" in answer.content.decode()
    assert not is_in(client)


def test_an_identity_is_attached_to_no_account_that_is_signed_in(key: Any) -> None:
    client = visitor()
    client.force_login(User.objects.create_superuser("root"))
    for query in ("process=connect", "process=redirect", "process=login&process=x"):
        assert client.get(f"{url('saml_login')}?{query}").status_code == 404
    given = {"process": "connect"}
    assert client.post(url("saml_login"), given).status_code == 405
    response = saml_provider.answer_to(asked(client)).encoded(key)
    session = client.session
    for state, *_ in session["socialaccount_states"].values():
        state["process"] = "connect"
    session.save()
    assert send(client, response).status_code == 403
    assert not SocialAccount.objects.exists()


# Responses that are refused ---------------------------------------------------------


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"signed": ""}, "No Signature found"),
    ({"age": dt.timedelta(hours=1)}, "expired"),
    ({"age": dt.timedelta(hours=-1)}, "not yet valid"),
    ({"audience": "https://other.example.org/"}, "not a valid audience"),
    ({"audience": None}, "no audience"),
    ({"audience": ""}, "no audience"),
    ({"audience": None, "outside": SP}, "no audience"),
    ({"issuer": "https://other.example.org/"}, "Invalid issuer"),
    ({"acs": "https://other.example.org/acs/"}, "instead of"),
    ({"asked": "_other"}, "answers no request"),
    ({"asked": "_other", "confirmed": "_1"}, "valid SubjectConfirmation"),
    ({"confirmed": ""}, "does not name the request"),
    ({"subject": None}, "NameID"),
    ({"format": saml_provider.TRANSIENT}, "NameID is transient"),
)


def test_an_invalid_response_is_refused(
    key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for changes, why in REFUSED:
        caplog.clear()
        client, answer = signed_in(key, **changes)
        assert answer.status_code == 403, changes
        assert "Signing in through single sign-on failed." in answer.content.decode()
        assert why in caplog.text
        assert not is_in(client)
    assert not User.objects.exists()


def test_a_wrong_signature_is_refused(
    key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client, answer = signed_in(saml_provider.Key())
    assert answer.status_code == 403
    response = saml_provider.answer_to(asked(client), attributes={"uid": ["ada"]})
    document = response.document(key)
    for value in document.iter("{*}AttributeValue"):
        value.text = "admin"  # after it was signed
    changed = saml_provider.base64.b64encode(saml_provider.etree.tostring(document))
    answer = send(client, changed.decode())
    assert answer.status_code == 403
    assert caplog.text.count("Signature validation failed") >= 2
    assert not is_in(client)


def test_a_response_is_accepted_once_and_in_the_browser_that_asked(key: Any) -> None:
    client, stranger = visitor(), visitor()
    response = saml_provider.answer_to(asked(client)).encoded(key)
    asked(stranger)
    assert send(stranger, response).status_code == 403
    assert not is_in(stranger)
    assert send(client, response).status_code == 302
    assert is_in(client)
    client.logout()
    assert send(client, response).status_code == 403
    assert not is_in(client)
    assert client.get(url("saml_finish_acs")).status_code == 403


def test_an_assertion_is_refused_for_another_request(
    key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = visitor()
    first = saml_provider.answer_to(asked(client), confirmed="").document(key)
    first.set("InResponseTo", saml_provider.answer_to(asked(client)).asked)
    text = saml_provider.base64.b64encode(saml_provider.etree.tostring(first)).decode()
    assert send(client, text).status_code == 403
    assert "does not name the request" in caplog.text
    assert not is_in(client)


def test_malformed_and_many_responses_are_refused(settings: Settings) -> None:
    client = visitor()
    for text in ("", "x", "bm90IHhtbA==", "PGEvPg==", "/////w==", "PCFET0NUWVBFIGE+"):
        answer = client.post(url("saml_acs"), {"SAMLResponse": text})
        if answer.status_code == 302:
            answer = client.get(url("saml_finish_acs"))
        assert answer.status_code == 403, text
    long = "A" * 300_000
    assert client.post(url("saml_acs"), {"SAMLResponse": long}).status_code == 403
    settings.RATES = {**settings.RATES, "login": 1}
    codes = {
        client.post(url("saml_acs"), {"SAMLResponse": "x"}).status_code
        for _ in range(3)
    }
    assert 429 in codes


def test_only_the_response_is_stored_and_for_a_short_time(settings: Settings) -> None:
    client = visitor()
    given = {"SAMLResponse": "bm90+IHht/bA==", "RelayState": "x" * 500_000}
    answer = client.post(url("saml_acs"), given)
    stored = import_module(settings.SESSION_ENGINE).SessionStore(
        answer.cookies["saml-acs-session"].value
    )
    post = json.loads(stored["request"])["POST"]
    assert QueryDict(post).dict() == {"SAMLResponse": given["SAMLResponse"]}
    assert stored.get_expiry_age() <= 300


def test_a_mistake_of_our_own_code_is_logged_with_its_traceback(
    key: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise AttributeError("mistake")

    monkeypatch.setattr("workflows.pages.accounts.saml._check", fails)
    client, answer = signed_in(key)
    assert answer.status_code == 403
    assert not is_in(client)
    [record] = [one for one in caplog.records if "mistake" in one.getMessage()]
    assert record.exc_info is not None


def test_metadata_has_the_address_and_no_logout(settings: Settings) -> None:
    answer = visitor().get(url("saml_metadata"))
    text = answer.content.decode()
    assert f"http://testserver{url('saml_acs')}" in text
    assert "SingleLogoutService" not in text
    assert visitor().get(url("saml_sls")).status_code == 405
    settings.SOCIALACCOUNT_PROVIDERS = {}
    for name in ("saml_login", "saml_finish_acs", "saml_metadata"):
        assert visitor().get(url(name)).status_code == 404
    assert visitor().post(url("saml_acs")).status_code == 404


# Settings ---------------------------------------------------------------------------


def test_wrong_settings_are_refused_with_a_sentence(
    key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {
        "saml_sso_url": SSO,
        "saml_entity_id": "x",
        "saml_certificate": key.pem,
    }
    assert Environment(**good).saml_expires is not None
    for changes, sentence in (
        ({"saml_sso_url": "login.example.org"}, "must have the form https"),
        ({"saml_entity_id": ""}, "must be set with SAML_SSO_URL"),
        ({"saml_certificate": ""}, "must be set with SAML_SSO_URL"),
        ({"saml_certificate": "AAAA"}, "must be a certificate"),
        ({"saml_certificate": "?"}, "must be a certificate"),
        ({"saml_attributes": "a=login"}, "names unknown fields: login"),
        ({"saml_attributes": "a"}, "must have the form"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            Environment(**{**good, **changes})
    monkeypatch.setattr("project.saml_settings.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"requirements-saml\.txt"):
        Environment(**good)
    assert Environment().saml_providers == {}
