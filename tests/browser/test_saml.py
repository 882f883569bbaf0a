"""Sign-in through an identity provider of another site, in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.servers import running_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]
saml_provider = pytest.importorskip(
    "tests.support.saml_provider", reason="requirements-saml.txt is not installed"
)


def test_a_provider_of_another_site_signs_a_person_in(
    browser: Browser, tmp_path: Path
) -> None:
    key = saml_provider.Key()
    attributes = {"uid": ["ada"], "groups": ["it-leads"]}
    with (
        saml_provider.running(key, attributes=attributes) as address,
        running_server(
            tmp_path,
            SAML_SSO_URL=address,
            SAML_ENTITY_ID=saml_provider.ENTITY,
            SAML_CERTIFICATE=key.pem,
            SAML_NAME="the staff directory",
            SAML_GROUPS="it-leads=admin",
        ) as server,
    ):
        context = browser.new_context(base_url=server.url)
        page = context.new_page()
        page.goto("/runs/")
        page.get_by_role("link", name="Sign in through the staff directory").click()
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        page.goto("/accounts/security/")
        expect(page.locator("main")).to_contain_text("Sessions")
        page.goto("/admin/")
        expect(page.locator("body")).to_contain_text("ada")
        context.close()
