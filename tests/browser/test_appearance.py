"""Every page in light and dark, narrow and wide: complete, readable, accessible."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import Visit, launch, sign_in, status_is, store_screenshot
from workflows.pages.render.text import ago

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PHONE, DESK = 390, 1400  # pixels wide
GRAVE = {"serious", "critical"}
OVERFLOWING = """() => document.documentElement.scrollWidth > window.innerWidth
  ? [...document.body.querySelectorAll("*")]
      .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1)
      .map(e => e.outerHTML.slice(0, 90)).slice(0, 5)
  : []"""


@pytest.fixture(scope="module")
def addresses() -> dict[str, str]:
    """Provide the addresses of runs, which the first test that needs them creates."""
    return {}


def prepare(visit: Visit, addresses: dict[str, str]) -> dict[str, str]:
    """Return the address of every page, with runs that have content."""
    if not addresses:
        page = visit()
        page.goto("/")
        sign_in(page)
        for name, document, status in (
            ("run-asking", "pilot-boat-review.pdf", "waiting"),
            ("run-done", "tide-gate-report.pdf", "completed"),
        ):
            launch(page, document)
            status_is(page, status)
            addresses[name] = page.url
        page.goto("/documents/")
        document_link = page.locator(".row-link").first.get_attribute("href")
        assert document_link
        addresses |= {
            "home": "/",
            "workflows": "/workflows/",
            "workflow": "/workflows/classify-document/",
            "runs": "/runs/",
            "runs-filtered": "/runs/?where=params.threshold+%3D+0.8&fields=params.threshold",
            "runs-none": "/runs/?text=nowhere&when=1h",
            "views": "/runs/views/",
            "decisions": "/decisions/",
            "decisions-of-one": "/decisions/?workflow=classify-document",
            "compare": "/compare/?" + between(addresses),
            "compare-with": "/compare/?" + between(addresses).split("&", maxsplit=1)[0],
            "workers": "/workers/",
            "steps": f"{addresses['run-done']}steps/",
            "log": f"{addresses['run-done']}log/",
            "approvals": "/approvals/",
            "documents": "/documents/",
            "document": document_link,
            "document-page": f"{document_link}pages/1/",
            "profiles": "/workflows/classify-document/profiles/",
            "agents": "/agents/",
            "agent-new": "/agents/new/",
            "provider-new": "/agents/providers/new/",
            "run-then": f"{addresses['run-done']}?at=2&node=weigh_markings",
            "state": f"{addresses['run-done']}states/2/",
            "tokens": "/accounts/tokens/",
            "token-new": "/accounts/tokens/new/",
            "service-account-new": "/accounts/service-accounts/new/",
            "api-reference": "/api/v1/docs",
            "fork": f"{addresses['run-done']}fork/",
            "assess": f"{addresses['run-done']}assess/",
            "golden": "/golden/",
            "audit": "/audit/",
            "search": "/search/?q=review",
            "members": "/members/",
            "invite": "/members/invite/",
            "security": "/accounts/security/",
            "password": "/accounts/password/",
            "passkey-add": "/accounts/mfa/passkeys/add/",
            "app-add": "/accounts/mfa/app/add/",
            "connect": "/agents/connect/",
            "first-steps": "/first-steps/",
            "docs": "/docs/",
            "docs-page": "/docs/operating/",
            "admin": "/admin/",
            "admin-audit": "/admin/workflows/auditevent/",
            "admin-users": "/admin/auth/user/",
            "not-found": "/nothing/",
        }
    return addresses


def between(addresses: dict[str, str]) -> str:
    """Return the query that compares both runs."""
    first, second = (
        addresses[name].rstrip("/").rsplit("/", 1)[1]
        for name in ("run-asking", "run-done")
    )
    return f"a={first}&b={second}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_pages_are_complete_and_accessible(
    visit: Visit, addresses: dict[str, str], scheme: str, width: int
) -> None:
    everything = prepare(visit, addresses)
    page = visit(
        color_scheme=scheme,
        viewport={"width": width, "height": 844 if width == PHONE else 900},
        reduced_motion="reduce",
    )
    # colours differ by scheme, order by width: two of the four have all of both
    with_axe = (scheme == "light") == (width == DESK)
    page.goto("/accounts/login/")
    problems = check_page(page, f"sign-in-{scheme}-{width}", with_axe=with_axe)
    sign_in(page)
    for name, address in everything.items():
        page.goto(address)
        page.wait_for_load_state("networkidle")
        problems += check_page(page, f"{name}-{scheme}-{width}", with_axe=with_axe)
    assert problems == []


def check_page(page: Page, name: str, *, with_axe: bool) -> list[str]:
    """Store a screenshot; return texts that are cut off and serious findings of axe."""
    store_screenshot(page, name)
    cut = [f"{name} is too wide: {html}" for html in page.evaluate(OVERFLOWING)]
    if not with_axe:
        return cut
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return cut + [
        f"{name}: {one['id']}: {node['html'][:120]}: {node.get('failureSummary', '')[:300]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:3]
    ]


SAID = """(moment) => {
  const time = document.createElement("time");
  time.dateTime = moment;
  time.dataset.ago = "";
  document.body.append(time);
  document.dispatchEvent(new CustomEvent("htmx:after:swap", { detail: {} }));
  return time.textContent;
}"""


def test_the_script_reports_times_by_the_rule_of_the_server(visit: Visit) -> None:
    page = visit()
    page.goto("/accounts/login/")
    hour, day = 3600, 86_400
    for away in (-3, 30, 90.2, 150, 119 * 60, -47 * hour, -(2 * day - 90), 800 * day):
        now = dt.datetime.now(dt.UTC)
        moment = now - dt.timedelta(seconds=away)
        before = ago(moment, now)
        message = page.evaluate(SAID, moment.isoformat())
        # the clock may have advanced by a second meanwhile
        assert message in {before, ago(moment, dt.datetime.now(dt.UTC))}
