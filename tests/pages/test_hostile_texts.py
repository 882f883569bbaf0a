"""Hostile texts are escaped on every page, partial, drawing and export.

The test fails for a template that it does not render: add new templates here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.files.uploadedfile import SimpleUploadedFile
from django.template import Template
from django.template.loader import render_to_string
from django.test import Client, RequestFactory, override_settings
from django.test.signals import template_rendered
from django.urls import URLPattern, reverse

from project.env import ROOT
from tests.support import hostile_forks
from tests.support.hostile_accounts import account_pages, view_as_responses
from tests.support.hostile_html import parse
from tests.support.hostile_rows import REGISTERED, World, make_world
from workflows.api import reference as api_reference
from workflows.models import BulkJob, Destination, Run, Status, WebhookEndpoint
from workflows.pages import access
from workflows.pages.forms.agent_trial import Trial
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.live.consumers import render_run_part, render_stream_preview
from workflows.pages.run.shared_regions import parts_of
from workflows.pages.run.view_options import RunView
from workflows.pages.urls import urlpatterns
from workflows.pages.views.error_pages import STUCK, unavailable

RATES = ("login", "launch", "upload", "api", "chat")
HOSTILE = {
    "out of an attribute or a text": (
        "'\"><hostile-tag hostile-attr=1></script></title></textarea><hostile-tag>"
    ),
    "an address": "javascript:hostile()",
    "a template": '\u202e{{ 6|add:36 }}{% now "Y" %}\u2066',
    "very long": "W" * 600,
}


@pytest.fixture
def rendered() -> Iterator[set[str]]:
    """Collect the names of the templates that are rendered during a test."""
    names: set[str] = set()

    def note(*, template: Template, **_: object) -> None:
        names.add(str(template.name).partition("#")[0])

    template_rendered.connect(note)
    yield names
    template_rendered.disconnect(note)


@pytest.mark.parametrize(
    ("html", "wrong"),
    [
        ('<p title="\'&quot;><hostile-tag>">', 0),
        ('<p title=""><hostile-tag hostile-attr=1>">', 2),
        ("<p title= hostile-attr=1>", 0),
        ("<p title='' hostile-attr=1>", 1),
        ('<a href=" javascript:hostile()">', 1),
        ('<a href="/runs/?q=javascript:hostile()">', 0),
        ("<script>x</script>", 1),
        ('<svg><a xlink:href="javascript:x"/></svg>', 1),
        ("&lt;hostile-tag&gt;", 0),
    ],
)
def test_the_checker_detects_unescaped_text(html: str, wrong: int) -> None:
    assert len(parse(html).wrong) == wrong


class Inspector:
    """Checks responses, and counts those that contain the hostile text."""

    def __init__(self, world: World) -> None:
        self.payload, self.shown, self.wrong = (
            world.payload,
            0,
            dict[str, Any](),
        )

    def check_html(self, what: str, html: str) -> None:
        """Check HTML from a source named `what`."""
        found = parse(html)
        if found.wrong:
            self.wrong[what] = found.wrong[:3]
        if any(self.payload[:60] in text for text in found.texts):
            self.shown += 1

    def check_response(self, what: str, answer: Any, *allowed: int) -> None:
        """Check a response and its status, by default any below 400."""
        status = answer.status_code
        is_good = status in allowed if allowed else status < 400
        if not is_good:
            self.wrong[what] = status
        if "html" in answer.headers.get("Content-Type", "") and not answer.streaming:
            self.check_html(what, answer.content.decode())


# Pages ------------------------------------------------------------------------------


def pages_of(world: World) -> Iterator[str]:
    """Yield the addresses of all pages with ids of existing rows."""
    arguments = world.arguments("summarize")
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        names = pattern.pattern.converters
        # the run of these arguments cannot be forked: see `check_forks`
        if pattern.name and pattern.name not in {"document-page", "run-fork"}:
            yield reverse(pattern.name, kwargs={n: arguments[n] for n in names})


def views_of(world: World) -> Iterator[str]:
    """Yield the addresses of all views of pages, including hostile query strings."""
    payload, ids = quote(world.payload[:200]), [*world.runs.values()]
    for run in ids:
        yield reverse("run", args=[run.pk])
    several = "&".join(f"run={run.pk}" for run in ids)
    yield f"{reverse('approvals-respond')}?{several}"
    for query in (
        "at=1",
        f"node={payload}",
        f"edge={payload}.1",
        f"node={payload}&at=99",
    ):
        yield f"{reverse('run', args=[world.rich.pk])}?{query}"
    log = f"level=20&find={payload}"
    yield f"{reverse('run', args=[world.rich.pk])}?{log}"
    yield f"{reverse('run-log', args=[world.rich.pk])}?{log}"
    for name in ("run-state", "run-items"):
        yield f"{reverse(name, args=[world.rich.pk, 1])}?after={payload}"
    names = (
        *("q", "status", "where", "text", "label", "by", "workflow", "when", "from"),
        *("to", "column", "fields", "before", "node", "edge", "outcome", "who", "run"),
        *("sort", "skip"),
    )
    all_fields = "&".join(f"{name}={payload}" for name in names)
    for name in ("runs", "decisions", "documents", "approvals", "workers", "home"):
        yield f"{reverse(name)}?{all_fields}"
    yield f"{reverse('search')}?q={payload}"
    yield f"{reverse('search-palette')}?q={payload}"
    yield f"{reverse('search-complete')}?q=label+%3D+{payload}&at=900"
    for name in names:
        yield f"{reverse('runs')}?{name}={payload}"
        yield f"{reverse('decisions')}?{name}={payload}"
    first, second = world.runs[Status.COMPLETED].pk, world.runs["timer"].pk
    yield f"{reverse('compare')}?a={first}&b={second}"
    yield f"{reverse('compare')}?a={first}&b={second}&a_at=1&b_at=2&at=1"
    yield f"{reverse('compare')}?a={first}"
    for name, query in ((REGISTERED, f"?again={first}"), ("reasoning", "")):
        yield f"{reverse('workflow', args=[name])}{query}"
    yield from (f"{reverse('connect')}?preset=other", f"{reverse('docs')}?q={payload}")
    yield f"{reverse('profiles', args=['summarize'])}?{all_fields}"
    viewer = reverse("document-viewer", args=[world.document.pk, 1])
    yield f"{reverse('follow')}?kind=run&target={world.rich.pk}"
    yield f"{reverse('follow')}?kind=workflow&target={payload}"
    yield f"{viewer}?run={world.rich.pk}&box={payload}&mark={payload}&zoom={payload}"
    yield f"{viewer}?box=0.1,0.1,0.5,0.2&run={world.rich.pk}"


def check_pages(world: World, inspector: Inspector, client: Client) -> None:
    """Check all pages in all views."""
    allowed = (200, 302, 400, 404, 405)
    for address in [*pages_of(world), *views_of(world)]:
        inspector.check_response(address, client.get(address), *allowed)


def check_admin(world: World, inspector: Inspector, client: Client) -> None:
    """Check all pages of the admin, and its responses to actions."""
    payload = quote(world.payload[:200])
    inspector.check_response("index", client.get("/admin/"))
    for model in apps.get_models():
        if not admin.site.is_registered(model):
            continue
        name = f"admin:{model._meta.label_lower.replace('.', '_')}"  # noqa: SLF001
        for query in (f"?q={payload}", f"?o=1&p=0&{payload}={payload}"):
            address = reverse(f"{name}_changelist") + query
            inspector.check_response(address, client.get(address), 200, 302, 400)
        for row in model._default_manager.all()[:1]:  # noqa: SLF001
            for page in ("change", "history", "delete"):
                address = reverse(f"{name}_{page}", args=[row.pk])
                inspector.check_response(address, client.get(address), 200, 302, 403)
    preview = reverse("admin:workflows_retention_preview")
    inspector.check_response(preview, client.get(preview))
    ids = [str(run.pk) for run in world.runs.values()]
    for event in ("cancel_selected", "resume_selected", "pin_selected"):
        form = {"action": event, "_selected_action": ids, "index": "0"}
        inspector.check_response(event, client.post("/admin/workflows/run/", form))


# Forks ------------------------------------------------------------------------------


def check_forks(world: World, inspector: Inspector, client: Client) -> None:
    """Check the page that forks a run, in all its forms, and the pages of its forks."""
    origin = world.runs["origin"]
    page = reverse("run-fork", args=[origin.pk])
    refused = hostile_forks.refused_forks(world.payload)
    accepted = hostile_forks.accepted_forks(world.payload)
    with hostile_forks.forkable(origin, world.payload):
        for query in hostile_forks.FORKING:
            inspector.check_response(query, client.get(f"{page}?{query}"), 200)
        for forms, status in ((refused, 422), (accepted, 302)):
            for query, form in forms:
                sent = {"reason": world.payload, **form}
                answer = client.post(f"{page}?{query}", sent)
                inspector.check_response(f"{query} {form}", answer, status)
        forks = Run.objects.filter(fork__origin_key=origin.pk)
        assert forks.count() == len(accepted)
        compare = reverse("compare")
        addresses = [f"{compare}?a={origin.pk}&b={fork.pk}" for fork in forks]
        addresses += [reverse("run", args=[run.pk]) for run in (origin, *forks)]
        addresses += [reverse("workflow", args=[origin.workflow_name])]
        addresses += [f"{reverse('decisions')}?outcome=override"]
        for address in addresses:
            inspector.check_response(address, client.get(address), 200)
    address = reverse("run-fork", args=[world.rich.pk])
    inspector.check_response("a changed workflow", client.get(address), 409)


# Websockets -------------------------------------------------------------------------


def check_websockets(world: World, inspector: Inspector, _client: Client) -> None:
    """Check all content that is sent over websockets."""
    for what, html in [*drawings_of(world), *lists_of(world)]:
        inspector.check_html(what, html)
    payload = world.payload
    trial = Trial(
        payload,
        payload,
        world.user.pk,
        text=payload,
        error=payload,
        is_over=True,
    )
    for message in (
        trial,
        Trial(payload, payload, world.user.pk, text=payload),
    ):
        html = render_to_string("agents/agent.html#try-answer", {"trial": message})
        inspector.check_html("try", html)


def drawings_of(world: World) -> Iterator[tuple[str, str]]:
    """Yield the regions of all pages of runs, in several views for `world.rich`."""
    payload = world.payload
    views = [
        RunView(),
        RunView(at=1, node=payload),
        RunView(find=payload, edge=(payload, 1)),
    ]
    for run in Run.objects.all():
        rights = access.run_permissions(world.user, run)
        parts = [
            part
            for view in views[: 3 if run == world.rich else 1]
            for shown_to in (rights, access.RunPermissions())
            for part in parts_of(run.pk, shown_to, view)
        ]
        for drawing in (*map(render_run_part, parts), render_stream_preview(run.pk)):
            for name, html in drawing.regions.items():
                yield f"{run.status} {name}", html


def lists_of(world: World) -> Iterator[tuple[str, str]]:
    """Yield the regions of all live lists."""
    for kind, live in LISTS.items():
        job = str(BulkJob.objects.get().pk)
        for query in (
            {},
            {"workflow": REGISTERED},
            {"q": world.payload, "job": job},
        ):
            for name, html in live.render(query, world.user).items():
                yield f"{kind} {name}", html


# Responses to forms -----------------------------------------------------------------


LIVE = {"HX-Request": "true"}


def forms_of(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield forms with hostile values: some are accepted, most are refused."""
    payload = world.payload
    ids = [str(pk) for pk in world.ids]
    running, waiting = world.runs[Status.RUNNING], world.runs[Status.WAITING]
    all_fields = {
        "reason": payload,
        "text": payload,
        "name": payload,
        "off": payload,
    }
    for event in ("run-note", "run-label", "run-resume", "run-cancel"):
        for run in (running, waiting, world.rich):
            yield reverse(event, args=[run.pk]), all_fields
            yield reverse(event, args=[run.pk]), {"name": payload[:30]}
    yield (
        reverse("run-respond", args=[world.asked.run_id]),
        {
            "question": world.asked.sequence,
            "response-outcome": payload,
            "reason": payload,
        },
    )
    for name in (REGISTERED, "summarize", "reasoning"):
        form = {
            "launch-once": payload,
            "launch-profile": payload,
            "launch-token": payload,
        }
        yield (
            reverse("workflow", args=[name]),
            form | dict.fromkeys(("document", "agent", "prompt", "question"), payload),
        )
    for do in (
        "cancel",
        "resume",
        "label",
        "unlabel",
        "delete",
        "compare",
        payload,
    ):
        asked = {
            "do": do,
            "run": ids,
            "query": f"q={quote(payload)}",
            "label": payload,
        }
        yield reverse("runs-bulk"), asked
        if do != "delete":
            yield (
                reverse("runs-bulk"),
                asked | {"confirmed": "1", "reason": payload},
            )
    yield reverse("runs-bulk"), {"do": "cancel"}
    yield reverse("views"), {"name": payload, "query": f"q={quote(payload)}"}
    yield reverse("view-change", args=[world.view.pk]), {"name": payload * 3}
    agent = {
        "name": payload,
        "model": payload,
        "options": payload,
        "provider": payload,
    }
    for address in ("agent-new", "provider-new"):
        yield (
            reverse(address),
            agent | {"base_url": payload, "timeout_seconds": payload},
        )
    yield reverse("agent", args=[world.agent.pk]), agent
    yield reverse("provider", args=[world.provider.pk]), agent | {"kind": payload}
    yield reverse("agent-try", args=[world.agent.pk]), {"prompt": ""}
    yield (
        reverse("profile-new", args=["summarize"]),
        {"name": payload, "weight": payload},
    )
    yield from forms_of_automation(world)
    yield (
        reverse("documents"),
        {"file": SimpleUploadedFile(f"{payload[:90]}.pdf", b"x")},
    )
    yield (
        reverse("password"),
        {"old_password": payload, "new_password1": payload},
    )
    yield "/admin/auth/user/add/", {"username": payload, "password1": payload}


def forms_of_automation(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield forms of tokens, schedules and webhooks."""
    payload = world.payload
    yield (
        reverse("token-new"),
        {"name": payload, "scopes": ["read"], "expires_in": payload},
    )
    token = {"name": payload[:50], "scopes": ["read"], "owner": world.user.pk}
    yield reverse("token-new"), token
    backfill = {"first": payload, "last": payload, "reason": payload}
    yield reverse("schedule-backfill", args=[world.schedule.pk]), backfill
    one = Destination.objects.get().pk
    names = ("name", "url", "events", "workflows")
    yield reverse("destination-new"), dict.fromkeys(names, payload)
    yield reverse("destination-rotate", args=[one]), {}
    yield reverse("destination-replay", args=[one]), {"delivery": payload}
    followed = {"kind": payload, "target": payload, "mail": payload}
    yield reverse("follow"), followed
    alert = {"name": payload, "edge": payload}
    yield reverse("alert-new", args=["summarize"]), alert
    webhook = {
        "launch-name": payload,
        "launch-style": "token",
        "map-0-param": payload,
    }
    webhook |= {
        "map-0-source": "body",
        "map-0-value": payload,
        "if-0-source": "header",
    }
    webhook |= {
        "if-0-value": payload,
        "if-0-values": payload,
        "launch-token_header": payload,
    }
    yield reverse("webhook-new", args=["summarize"]), webhook
    received = WebhookEndpoint.objects.get().pk
    yield reverse("webhook-secret", args=[received]), {}
    yield (
        reverse("webhook-new", args=["summarize"]),
        webhook | {"preview": "1", "sample": payload},
    )


def check_responses(world: World, inspector: Inspector, client: Client) -> None:
    """Check responses to forms, with and without scripts."""
    for address, form in forms_of(world):
        is_live = address.startswith("/runs/") and "question" not in form
        for headers in [{}, LIVE] if is_live else [{}]:
            answer = client.post(address, form, headers=headers)
            allowed = (200, 201, 204, 302, 403, 404, 409, 413, 422)
            inspector.check_response(address, answer, *allowed)


def check_lockout(world: World, inspector: Inspector, _client: Client) -> None:
    """Check the page after too many failed sign-ins."""
    for _ in range(6):
        form = {
            "username": world.payload[:150],
            "password": "?",
            "next": world.payload,
        }
        answer = Client().post("/accounts/login/", form)
        inspector.check_response("signing in", answer, 429, 200)


def check_ended_sessions(world: World, inspector: Inspector, _client: Client) -> None:
    """Check forms submitted after the end of a session, and restored input."""
    page = reverse("run", args=[world.rich.pk])
    form = {"text": world.payload, world.payload[:50]: world.payload}
    member, ours = Client(enforce_csrf_checks=True), {"Origin": "http://testserver"}
    member.force_login(world.user)
    for address in (f"{page}notes/", f"{page}respond/"):
        response = member.post(address, form, headers=ours)
        inspector.check_response("a page before the last sign-in", response, 403)
        inspector.check_response("what was typed", member.get(page), 200)
    named = f"http://testserver/{quote(world.payload[:500])}"
    for headers in ({"Referer": named}, LIVE | {"HX-Current-URL": named}):
        response = Client().post(f"{page}notes/", form, headers=headers)
        inspector.check_response("signed out", response, 401)


# Files ------------------------------------------------------------------------------


def check_files(world: World, _look: Inspector, client: Client) -> None:
    """Check that exports and downloads are attachments that browsers do not render."""
    for name, arguments in (
        ("run-result", [world.runs[Status.COMPLETED].pk]),
        ("run-params", [world.rich.pk]),
        ("run-state-file", [world.rich.pk, 2]),
        ("run-log-file", [world.rich.pk]),
        ("document-file", [world.document.pk]),
        ("runs-export", ["csv"]),
        ("runs-export", ["json"]),
        ("decisions-export", ["csv"]),
    ):
        answer = client.get(reverse(name, args=arguments))
        assert answer["Content-Disposition"].startswith("attachment;"), name
        assert answer["X-Content-Type-Options"] == "nosniff", name
        assert "html" not in answer["Content-Type"], name
        assert "svg" not in answer["Content-Type"], name


# Error pages ------------------------------------------------------------------------


def check_failures(world: World, inspector: Inspector, client: Client) -> None:
    """Check error pages and the reference of the API."""
    api_reference.rendered_operations.cache_clear()  # by other tests of this process
    inspector.check_response("the reference", client.get("/api/v1/docs"), 200)
    payload = quote(world.payload[:500])
    inspector.check_response("404", client.get(f"/{payload}/?{payload}={payload}"), 404)
    forged = Client(enforce_csrf_checks=True).post("/", {payload: payload})
    inspector.check_response("403", forged, 403)
    for name in ("400.html", "403.html", "500.html", "standalone.html", "refused.html"):
        request = RequestFactory().get("/", {"q": world.payload})
        request.user = world.user
        context = {
            "sentence": world.payload,
            "message": world.payload,
            "back": "/",
        }
        inspector.check_html(name, render_to_string(name, context, request=request))
    for method in ("get", "post"):
        for headers in ({}, {"HX-Request": "true"}):
            request = getattr(RequestFactory(), method)(f"/{payload}/", headers=headers)
            inspector.check_response("503", unavailable(request, *STUCK), 503)
    long = {"text": "W" * 3_000_000}
    address = reverse("run-note", args=[world.rich.pk])
    inspector.check_response("413", client.post(address, long, content_type=FORM), 413)
    client.raise_request_exception = False
    with patch("workflows.pages.views.home.LISTS", {}):
        inspector.check_response("500", client.get("/"), 500)
    client.raise_request_exception = True


FORM = "application/x-www-form-urlencoded"


def check_empty_pages(world: World, inspector: Inspector, _client: Client) -> None:
    """Check the empty states of pages."""
    request = RequestFactory().get("/", {"q": world.payload})
    request.user = world.user
    for name in ("_no_runs.html", "_no_workflows.html"):
        inspector.check_html(
            name, render_to_string(name, {"q": world.payload}, request=request)
        )


def check_accounts(world: World, inspector: Inspector, client: Client) -> None:
    """Check the pages of sign-in, and those that are shown as another member."""
    for what, answer, status in view_as_responses(world.payload, client):
        inspector.check_response(what, answer, status)
    request = RequestFactory().get("/")
    request.user = world.user
    for name, context in account_pages(world.payload, world.user).items():
        inspector.check_html(name, render_to_string(name, context, request=request))


# Tests ------------------------------------------------------------------------------

CHECKS = (  # forms last, because they change the rows
    check_pages,
    check_forks,
    check_admin,
    check_websockets,
    check_files,
    check_failures,
    check_empty_pages,
    check_accounts,
    check_lockout,
    check_ended_sessions,
    check_responses,
)
# these payloads can only affect pages
READ_ONLY = {"a template", "very long", "an address"}
MIN_SHOWN = 100  # responses with the text; fewer mean that the test is ineffective


def run_checks(
    kind: str, checks: Sequence[Callable[[World, Inspector, Client], None]]
) -> int:
    """Run checks; return the number of responses that contain the text."""
    world = make_world(HOSTILE[kind])
    inspector = Inspector(world)
    client = Client()
    client.force_login(world.user)
    for check in checks:
        check(world, inspector, client)
    assert inspector.wrong == {}
    return inspector.shown


@pytest.mark.django_db
@override_settings(RATES=dict.fromkeys(RATES, 0))
@pytest.mark.slow
def test_no_form_turns_a_hostile_text_into_an_address() -> None:
    assert run_checks("an address", CHECKS) > MIN_SHOWN


@pytest.mark.django_db
@override_settings(RATES=dict.fromkeys(RATES, 0))
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind in READ_ONLY else [])
        for kind in HOSTILE
    ],
)
def test_hostile_text_is_escaped_everywhere(kind: str, rendered: set[str]) -> None:
    if kind in READ_ONLY:
        assert run_checks(kind, CHECKS[:2]) > MIN_SHOWN // 2
        return
    assert run_checks(kind, CHECKS) > MIN_SHOWN
    folder = ROOT / "templates"
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.html")}
    assert sorted(there - rendered) == [], "render these templates in this test"
