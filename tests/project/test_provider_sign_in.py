"""Sign-in through an OpenID Connect provider; groups follow its claims."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.internal.flows.login import complete_login
from allauth.socialaccount.models import SocialAccount, SocialLogin
from django.contrib.auth.models import Group, User
from django.test import Client, RequestFactory
from django.urls import reverse
from pydantic import SecretStr
from pytest_django import Settings

from project.env import ROOT
from project.sign_in_settings import PROVIDER_ID, SignIn
from tests.support.factories import make_role, make_user
from tests.support.servers import free_port, wait_for_port
from workflows.models import AuditEvent
from workflows.pages.accounts.provider_groups import follow_claims, named_groups

MAPPING = (("sales", "viewer"), ("it-ops", "operator"), ("it-leads", "admin"))
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


@pytest.fixture
def mapped(db: None, settings: Settings) -> None:
    settings.OIDC_GROUPS = MAPPING
    for _, name in MAPPING:
        make_role(name)


def groups_of(user: User) -> set[str]:
    return set(user.groups.values_list("name", flat=True))


# Groups -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"groups": ["a", "b"]}, {"a", "b"}),
        ({"groups": "a"}, {"a"}),
        ({"groups": ["a", 1, None, ["b"]]}, {"a"}),
        ({"groups": {"a": 1}}, set()),
        ({"groups": None}, set()),
        ({}, set()),
    ],
)
def test_groups_are_the_texts_of_the_claim(
    claims: dict[str, Any], names: set[str]
) -> None:
    assert named_groups(claims) == names


def test_a_dotted_claim_leads_into_objects(settings: Settings) -> None:
    settings.OIDC_GROUPS_CLAIM = "realm_access.roles"
    assert named_groups({"realm_access": {"roles": ["a"]}}) == {"a"}
    assert named_groups({"realm_access.roles": ["b"]}) == {"b"}
    assert named_groups({"realm_access": "a"}) == frozenset()


@pytest.mark.usefixtures("mapped")
def test_groups_of_the_mapping_follow_the_claims() -> None:
    user, own = make_user(), Group.objects.create(name="own")
    user.groups.add(own)
    follow_claims(user, {"groups": ["sales", "it-ops", "admin", "unknown"]})
    assert groups_of(user) == {"own", "viewer", "operator"}
    assert not user.is_staff
    follow_claims(user, {"groups": ["it-leads"]})
    assert groups_of(user) == {"own", "admin"}
    assert user.is_staff
    follow_claims(user, {})
    user.refresh_from_db()
    assert groups_of(user) == {"own"}
    assert not user.is_staff
    events = AuditEvent.objects.filter(action="follow provider groups")
    assert events.count() == 3
    follow_claims(user, {})
    assert events.count() == 3


@pytest.mark.django_db
def test_without_a_mapping_nothing_follows(settings: Settings) -> None:
    settings.OIDC_GROUPS = ()
    user = make_user()
    user.groups.add(make_role("admin"))
    follow_claims(user, {"groups": ["viewer"]})
    assert groups_of(user) == {"admin"}


@pytest.mark.usefixtures("mapped")
def test_a_group_that_is_missing_here_is_reported(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OIDC_GROUPS = (("sales", "sellers"),)
    user = make_user()
    follow_claims(user, {"groups": ["sales"]})
    assert groups_of(user) == set()
    assert "'sellers', which does not exist" in caplog.text


# The provider -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Return the address of a provider that runs in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def provider(issuer: str, mapped: None, settings: Settings) -> str:
    """Configure the provider of the process."""
    given = SignIn(
        oidc_issuer=issuer,
        oidc_client_id="signalbox",
        oidc_client_secret=SecretStr("shared"),
    )
    settings.SOCIALACCOUNT_PROVIDERS = given.providers
    return issuer


def claim(issuer: str, subject: str, **claims: object) -> None:
    """Set the claims of a person at the provider."""
    httpx.put(f"{issuer}/users/{subject}", json=claims).raise_for_status()


def signed_in(subject: str, client: Client | None = None) -> tuple[Client, Any]:
    """Sign in through the provider; return the client and the last response."""
    client = client or Client()
    address = reverse("openid_connect_login", args=[PROVIDER_ID])
    answer = client.get(f"{address}?next=/runs/")
    assert answer.status_code == 302, answer.content
    there = answer.headers["Location"]
    asked = parse_qs(urlsplit(there).query)
    assert asked["code_challenge_method"] == ["S256"]
    back = httpx.post(there, data={"sub": subject})
    assert back.status_code == 302, back.text
    parts = urlsplit(back.headers["Location"])
    return client, client.get(f"{parts.path}?{parts.query}")


@pytest.mark.slow
def test_people_sign_in_and_get_the_groups_of_each_sign_in(provider: str) -> None:
    claim(provider, "1", preferred_username="ada", name="Ada L", groups=["it-leads"])
    _, answer = signed_in("1")
    assert answer.headers["Location"] == "/runs/"
    ada = User.objects.get(username="ada")
    assert groups_of(ada) == {"admin"}
    assert not ada.has_usable_password()
    claim(provider, "1", preferred_username="renamed", groups=["sales"])
    signed_in("1")
    assert User.objects.filter(groups__name="viewer").get() == ada
    assert groups_of(ada) == {"viewer"}
    events = AuditEvent.objects.filter(action="sign in")
    assert {event.reason for event in events} == {"ada: provider"}


@pytest.mark.slow
def test_a_name_that_is_taken_gives_another_account(provider: str) -> None:
    admin = User.objects.create_superuser("admin", email="admin@example.org")
    claim(
        provider,
        "2",
        preferred_username="admin",
        email="admin@example.org",
        email_verified=True,
    )
    client, _ = signed_in("2")
    assert client.session["_auth_user_id"] != str(admin.pk)


@pytest.mark.slow
def test_accounts_are_linked_by_a_verified_address_only(
    provider: str, settings: Settings
) -> None:
    bob = make_user("bob", email="Bob@example.org")
    admin = User.objects.create_superuser("admin", email="admin@example.org")
    settings.OIDC_LINK_BY_EMAIL = True
    for subject, email, verified in (
        ("3", "bob@example.org", False),
        ("4", "admin@example.org", True),
    ):
        claim(provider, subject, email=email, email_verified=verified)
        client, _ = signed_in(subject)
        found = client.session["_auth_user_id"]
        assert found not in {str(bob.pk), str(admin.pk)}
    bob.refresh_from_db()
    User.objects.exclude(pk__in=[bob.pk, admin.pk]).delete()
    claim(provider, "5", email="bob@example.org", email_verified=True)
    client, _ = signed_in("5")
    assert client.session["_auth_user_id"] == str(bob.pk)


@pytest.mark.slow
def test_deactivated_accounts_and_second_factors_hold_here_too(provider: str) -> None:
    claim(provider, "6", preferred_username="eve")
    signed_in("6")
    eve = User.objects.get(username="eve")
    TOTP.activate(eve, SECRET)
    client, answer = signed_in("6")
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    assert "_auth_user_id" not in client.session
    eve.is_active = False
    eve.save()
    client, answer = signed_in("6")
    assert answer.status_code == 403
    assert "deactivated" in answer.content.decode()
    assert "_auth_user_id" not in client.session


@pytest.mark.slow
def test_a_response_that_was_not_asked_for_is_refused(provider: str) -> None:
    client = Client()
    address = reverse("openid_connect_callback", args=[PROVIDER_ID])
    answer = client.get(f"{address}?code=x&state=y")
    assert answer.status_code == 403
    assert "Signing in through" in answer.content.decode()
    assert "_auth_user_id" not in client.session


@pytest.mark.slow
def test_a_cancelled_sign_in_shows_the_sign_in_page(provider: str) -> None:
    client = Client()
    begun = client.get(reverse("openid_connect_login", args=[PROVIDER_ID]))
    state = parse_qs(urlsplit(begun.headers["Location"]).query)["state"][0]
    address = reverse("openid_connect_callback", args=[PROVIDER_ID])
    answer = client.get(f"{address}?error=access_denied&state={state}", follow=True)
    assert "Sign-in cancelled." in answer.content.decode()


@pytest.mark.django_db
def test_a_provider_that_is_down_or_unknown_fails_no_page(settings: Settings) -> None:
    given = SignIn(oidc_issuer=f"http://127.0.0.1:{free_port()}", oidc_client_id="x")
    settings.SOCIALACCOUNT_PROVIDERS = given.providers
    client = Client()
    text = client.get(reverse("login")).content.decode()
    assert "Sign in through single sign-on" in text
    answer = client.get(reverse("openid_connect_login", args=[PROVIDER_ID]))
    assert answer.status_code == 403
    assert "failed" in answer.content.decode()
    for name in ("openid_connect_login", "openid_connect_callback"):
        assert client.get(reverse(name, args=["other"])).status_code == 404


@pytest.mark.django_db
def test_an_identity_is_attached_to_no_account_that_is_signed_in(
    settings: Settings, rf: RequestFactory
) -> None:
    given = SignIn(oidc_issuer=f"http://127.0.0.1:{free_port()}", oidc_client_id="x")
    settings.SOCIALACCOUNT_PROVIDERS = given.providers
    client = Client()
    root = User.objects.create_superuser("root")
    client.force_login(root)
    address = reverse("openid_connect_login", args=[PROVIDER_ID])
    for process in ("connect", "redirect", ""):
        assert client.get(f"{address}?process={process}").status_code == 404
    assert client.post(address, {"process": "connect"}).status_code == 405
    request = rf.get("/")
    request.user = root
    request.session = client.session
    for process in ("connect", "redirect"):
        account = SocialAccount(provider=PROVIDER_ID, uid="1")
        login = SocialLogin(user=User(username="eve"), account=account)
        login.state = {"process": process}
        assert complete_login(request, login).status_code == 403
    assert not SocialAccount.objects.exists()
