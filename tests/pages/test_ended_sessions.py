"""Sessions that end while a page is open: input is preserved and nothing is submitted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, reverse
from pytest_django import Settings

from tests.pages.test_page_access import ARGUMENTS
from tests.support.factories import make_run
from workflows.models import Run, Status
from workflows.pages.forms.agents import ProviderForm
from workflows.pages.forms.launch_form import AgentForm
from workflows.pages.post_only_views import page_of
from workflows.pages.sessions.form_fill import fill
from workflows.pages.sessions.unsaved_input import (
    IN_SESSION,
    MAX_CHARS,
    UnsavedInput,
    is_secret,
    unsigned,
)
from workflows.pages.urls import urlpatterns

HIDDEN = re.compile(r'name="(kept|next)" value="([^"]*)"')
ORIGIN = "http://testserver"
SignIn = Callable[[User], Client]


def sign_in_by_form(client: Client, name: str, **more: str) -> str:
    """Submit the sign-in form; return the address of the redirect."""
    form = {"username": name, "password": f"{name}'s password", **more}
    answer = client.post("/accounts/login/", form)
    assert answer.status_code == 302, answer.content.decode()
    return str(answer.headers["Location"])


def hidden(page: str) -> dict[str, str]:
    """Return the hidden fields of the sign-in page."""
    return dict(HIDDEN.findall(page))


@pytest.fixture
def client(alice: User) -> Client:
    """Return a client whose session of alice has ended."""
    browser = Client()
    sign_in_by_form(browser, "alice")
    browser.session.flush()
    return browser


# Redirect after signing in --------------------------------------------------------------


def post_only_addresses() -> list[str]:
    """Return all addresses that accept POST only."""
    found = []
    client = Client()
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        names = pattern.pattern.converters
        address = f"/{pattern.pattern}"
        for name in names:
            address = re.sub(rf"<\w+:{name}>", str(ARGUMENTS[name]), address)
        if client.get(address).status_code == 405:
            found.append(address)
    return found


def test_signing_in_never_redirects_to_a_form_only_address(
    alice: User, settings: Settings
) -> None:
    settings.RATES = {**settings.RATES, "login": 0}
    addresses = [*post_only_addresses(), "/accounts/logout/", "/admin/logout/"]
    assert len(addresses) > 15
    member = Client()
    for address in addresses:
        for wanted in (address, f"{address}?a=1", f"http://testserver{address}"):
            page = sign_in_by_form(member, "alice", next=wanted)
            assert page != wanted
            assert wanted.removeprefix(ORIGIN).startswith(page)
            assert member.get(page).status_code != 405


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/runs/0190b6f0-0000-7000-8000-000000000000/cancel/", "/runs/{}/"),
        ("/runs/views/3/delete/", "/runs/views/"),
        ("/agents/3/try/", "/agents/3/"),
        ("/runs/bulk/", "/runs/"),
        ("/runs/?status=failed", "/runs/?status=failed"),
        ("/admin/workflows/run/", "/admin/workflows/run/"),
        ("/nothing/here/", "/nothing/here/"),
    ],
)
def test_after_a_form_address_the_redirect_leads_to_its_page(
    address: str, page: str
) -> None:
    assert page_of(address) == page.format("0190b6f0-0000-7000-8000-000000000000")


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_method_that_is_not_allowed_shows_an_error_page(
    alice: User, sign_in: SignIn, method: str
) -> None:
    run = make_run()
    name = "run-cancel" if method == "get" else "run"
    address = reverse(name, args=[run.pk])
    answer = getattr(sign_in(alice), method)(address, headers={"Accept": "text/html"})
    assert answer.status_code == 405
    assert answer.headers["Allow"]
    text = answer.content.decode()
    assert "<h1>Method not allowed</h1>" in text
    assert f'href="{reverse("run", args=[run.pk])}"' in text


# A form of a browser --------------------------------------------------------------------


def test_typed_values_are_restored_after_signing_in_and_nothing_was_submitted(
    client: Client,
) -> None:
    run = make_run(status=Status.RUNNING)
    page, cancel = (reverse(name, args=[run.pk]) for name in ("run", "run-cancel"))
    reason = 'Wrong "file" & <b>late</b>\r\nsecond line'
    answer = client.post(
        cancel, {"reason": reason}, headers={"Referer": f"{ORIGIN}{page}?at=1"}
    )
    assert answer.status_code == 401
    assert "Not submitted." in answer.content.decode()
    carried = hidden(answer.content.decode())
    wrong = {"username": "alice", "password": "?", **carried}
    again = client.post("/accounts/login/", wrong).content.decode()
    assert hidden(again) == carried, "a wrong password keeps the input"
    assert sign_in_by_form(client, "alice", **hidden(again)) == f"{page}?at=1"
    text = client.get(f"{page}?at=1").content.decode()
    form = text[text.index(f'action="{cancel}"') :].partition("</form>")[0]
    assert 'value="Wrong &quot;file&quot; &amp; &lt;b&gt;late&lt;/b&gt;\r\n' in form
    assert re.search(r'<details [^>]*id="action-cancel"[^>]* open', text)
    assert "Not submitted.</strong>" in text
    run.refresh_from_db()
    assert run.status == Status.RUNNING
    assert "Not submitted" not in client.get(page).content.decode(), (
        "the message is shown once"
    )


def test_typed_values_are_returned_when_the_form_no_longer_exists(
    client: Client,
) -> None:
    run = make_run(status=Status.PENDING)
    cancel = reverse("run-cancel", args=[run.pk])
    carried = hidden(client.post(cancel, {"reason": "A long story"}).content.decode())
    Run.objects.update(status=Status.COMPLETED, completed_at=run.created_at)
    page = client.get(sign_in_by_form(client, "alice", **carried)).content.decode()
    assert "The form is no longer on this page." in page
    assert "A long story" in page


def test_typed_values_of_another_account_are_not_restored(
    client: Client, bob: User
) -> None:
    page = reverse("run", args=[make_run().pk])
    answer = client.post(f"{page}notes/", {"text": "alice's own words"})
    carried = hidden(answer.content.decode())
    sign_in_by_form(client, "bob", **carried)
    assert IN_SESSION not in client.session
    text = client.get(page).content.decode()
    assert "alice&#x27;s own words" not in text
    assert "was not restored" in text


def test_secrets_and_files_are_not_preserved(client: Client) -> None:
    form = {
        "note": "mine",
        "file": SimpleUploadedFile("plan.pdf", b"%PDF"),
        "token": "sk-secret",
        "launch-token": "sk-secret",
    }
    answer = client.post("/workflows/classify-document/", form)
    carried = hidden(answer.content.decode())
    text = client.get(sign_in_by_form(client, "alice", **carried)).content.decode()
    assert "mine" in text
    assert "Select the file again: plan.pdf." in text
    assert "sk-secret" not in text
    assert "sk-secret" not in str(dict(client.session))


def test_every_password_field_is_listed_as_secret() -> None:
    names = {
        name
        for form in (ProviderForm, AgentForm)
        for name, one in form.base_fields.items()
        if isinstance(one.widget, forms.PasswordInput)
    }
    for file in Path(settings.ROOT, "templates").rglob("*.html"):
        for tag in re.findall(r"<input[^>]*>", file.read_text()):
            if 'type="password"' in tag:
                names |= set(re.findall(r'name="([^"]+)"', tag))
    assert {"token", "secret", "password"} <= names
    assert [name for name in names if not is_secret(name)] == []
    assert not is_secret("secretary")


def test_a_form_too_large_to_store_explains_what_to_do(client: Client) -> None:
    page = reverse("run", args=[make_run().pk])
    answer = client.post(f"{page}notes/", {"text": "a" * (MAX_CHARS + 1)})
    text = answer.content.decode()
    assert "too long to keep" in text
    assert sign_in_by_form(client, "alice", **hidden(text)) == page
    assert "Not submitted" not in client.get(page).content.decode()


def test_an_empty_form_redirects_to_the_sign_in_page_and_back(
    client: Client,
) -> None:
    page = reverse("run", args=[make_run().pk])
    answer = client.post(f"{page}labels/", {"csrfmiddlewaretoken": "x"})
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/accounts/login/?next=%2Fruns%2F")
    assert "labels" not in answer.headers["Location"]


def test_forms_of_the_admin_are_preserved_too(admin: User) -> None:
    admin.set_password("admin's password")
    admin.save()
    browser = Client()
    sign_in_by_form(browser, "admin")
    browser.session.flush()
    address = "/admin/auth/group/add/"
    answer = browser.post(address, {"name": "Night shift"})
    carried = hidden(answer.content.decode())
    assert sign_in_by_form(browser, "admin", **carried) == address
    assert 'value="Night shift"' in browser.get(address).content.decode()


# A form of a page that was opened before the last sign-in -------------------------------


def old_token(page: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert found
    return found[1]


def test_a_form_opened_before_the_last_sign_in_is_preserved(alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    login = browser.get("/accounts/login/").content.decode()
    sign_in_by_form(browser, "alice", csrfmiddlewaretoken=old_token(login))
    page = reverse("run", args=[make_run().pk])
    form = {
        "text": "typed meanwhile",
        "csrfmiddlewaretoken": old_token(browser.get(page).content.decode()),
    }
    login = browser.get("/accounts/login/").content.decode()
    sign_in_by_form(browser, "alice", csrfmiddlewaretoken=old_token(login))
    refused = browser.post(f"{page}notes/", form, headers={"Origin": ORIGIN})
    assert refused.status_code == 403
    assert f'href="{page}">Back to the form' in refused.content.decode()
    assert "typed meanwhile" in browser.get(page).content.decode()
    evil = {"Origin": "https://evil.example", "Referer": f"{ORIGIN}{page}"}
    browser.post(f"{page}notes/", {"text": "planted"}, headers=evil)
    browser.post(f"{page}notes/", {"text": "planted"})
    assert "planted" not in browser.get(page).content.decode()


# A request of a script ------------------------------------------------------------------


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_live_page_shows_the_message_in_place(client: Client, method: str) -> None:
    page = reverse("run", args=[make_run().pk])
    live = {"HX-Request": "true", "HX-Current-URL": f"{ORIGIN}{page}?at=2"}
    answer = getattr(client, method)(f"{page}?at=1", headers=live)
    if method == "post":
        answer = client.post(f"{page}cancel/", {"reason": "Mine"}, headers=live)
    assert answer.status_code == 401
    text = answer.content.decode()
    assert 'id="messages"' in text
    assert "hx-swap-oob" in text
    assert "Signed out." in text
    assert f'href="{page}?at=2"' in text
    assert "Mine" not in text


def test_a_script_that_accepts_json_gets_json(client: Client) -> None:
    answer = client.post("/documents/", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["message"] == "Signed out. Nothing was sent."


@pytest.mark.parametrize(
    "named",
    ["https://evil.example/runs/", f"{ORIGIN}//evil.example/", "//evil.example"],
)
def test_the_redirect_after_signing_in_stays_on_this_site(
    client: Client, named: str
) -> None:
    page = reverse("run", args=[make_run().pk])
    live = {"HX-Request": "true", "HX-Current-URL": named}
    text = client.post(f"{page}cancel/", {"reason": "Mine"}, headers=live)
    assert "evil" not in text.content.decode().replace('href="/evil.example/"', "")


# Filling in -----------------------------------------------------------------------------

PAGE = """<form method="get"><input name="text" value="of another form"></form>
<details><summary>More</summary><form method="post" action="/there/">
<input type="hidden" name="once" value="new"><input name="text" value="old">
<input type="password" name="code"><input type=checkbox name=tick value=a checked>
<input type=checkbox name=tick value=b><input type="radio" name="one" value="x" checked>
<input type="radio" name="one" value="y"><textarea name="long">old &amp; long</textarea>
<select name="pick"><option value="1" selected>One</option><option>Two</option></select>
<select name="gone"><option value="1" selected>One</option></select>
</form></details><input form="far" name="out">"""


def test_every_kind_of_field_is_filled_in_and_nothing_else_changes() -> None:
    fields = [
        *[("once", "old"), ("text", 'a "b"'), ("code", "1234"), ("tick", "b")],
        *[("one", "y"), ("long", "\r\n<i>"), ("pick", "Two"), ("gone", "7")],
        *[("lost", "kept"), ("blank", " ")],
    ]
    filled = fill(PAGE, "/here/", "/there/", fields)
    assert filled.found
    assert filled.left == [("lost", "kept")]
    changed = {
        "<details>": "<details open>",
        'name="text" value="old"': 'name="text" value="a &quot;b&quot;"',
        "<input type=checkbox name=tick value=a checked>": (
            '<input type="checkbox" name="tick" value="a">'
        ),
        "<input type=checkbox name=tick value=b>": (
            '<input type="checkbox" name="tick" value="b" checked>'
        ),
        'value="x" checked>': 'value="x">',
        'value="y">': 'value="y" checked>',
        "old &amp; long": "\n\r\n&lt;i&gt;",
        'value="1" selected>One</option><option>Two': (
            'value="1">One</option><option selected>Two'
        ),
    }
    expected = PAGE
    for old, new in changed.items():
        assert old in expected
        expected = expected.replace(old, new, 1)
    assert filled.html == expected


def test_a_page_without_the_form_stays_as_it_is() -> None:
    filled = fill(PAGE, "/here/", "/elsewhere/", [("text", "mine"), ("blank", "")])
    assert (filled.html, filled.found) == (PAGE, False)
    assert filled.left == [("text", "mine")]


def test_stored_form_values_are_restored_exactly_or_not_at_all() -> None:
    kept = UnsavedInput(
        "/runs/", "/runs/bulk/", [("do", "delete")], ["a.pdf"], account=7
    )
    assert unsigned(kept.signed()) == kept
    assert unsigned(kept.signed()[:-1] + "!") is None
    assert unsigned("") is None
