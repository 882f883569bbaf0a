"""Compare the response at every URL, websocket and action with docs/permissions.md, for every role.

The test fails for a new URL until the table contains it. Users who cannot view a run or its
data find no trace of them on any page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import get_commands
from django.db import transaction
from django.test import Client
from django.urls import URLResolver, get_resolver
from pytest_django import Settings

from tests.pages.test_consumers import opened
from tests.support.factories import make_run
from tests.support.permission_fixtures import (
    ABOUT_APPROVALS,
    COLUMNS,
    OURS,
    THEIRS,
    WORD,
    World,
    leaks,
    make_world,
    user_of,
)
from tests.support.permission_table import Entry, entries
from tests.support.responses import text_of
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, WorkflowPermission
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.live import consumers
from workflows.pages.live.websocket_urls import websocket_urlpatterns
from workflows.pages.render.text import readable_name

if TYPE_CHECKING:
    pass

TABLE = entries()
# The last role that may not enter Django admin, and the two that may, with different permissions.
ADMIN_COLUMNS = {"operator", "auditor", "admin"}
ADMIN_ACTIONS = "POST admin/workflows/run/"
FORMS: dict[str, dict[str, Any]] = {
    "POST agents/<int:agent_id>/try/": {},  # empty: a prompt would be sent to a model
    "POST runs/bulk/": {"do": "cancel", "confirmed": "1", "reason": "x"},
    "POST runs/views/": {"name": "mine", "query": ""},
    "POST runs/views/<int:view_id>/": {"name": "mine"},
    "POST runs/<uuid:run_id>/labels/": {"name": "new"},
    "POST runs/<uuid:run_id>/notes/": {"text": "new"},
    "POST documents/": {},
    "POST workflows/<str:name>/pause/": {"reason": "x"},
    "POST schedules/<uuid:schedule_id>/pause/": {"reason": "x"},
    "POST schedules/<uuid:schedule_id>/delete/": {"reason": "x"},
    "POST webhooks/<uuid:webhook_id>/disable/": {"reason": "x"},
    "POST webhooks/<uuid:webhook_id>/delete/": {"reason": "x"},
    "POST alerts/<uuid:alert_id>/delete/": {"reason": "x"},
    "POST destinations/<uuid:destination_id>/pause/": {"reason": "x"},
    "POST destinations/<uuid:destination_id>/delete/": {"reason": "x"},
}


# The table and the urlconf ---------------------------------------------------------------


def addresses(resolver: URLResolver | None = None, before: str = "") -> Iterator[str]:
    """Yield every address of the urlconf."""
    for one in (resolver or get_resolver()).url_patterns:
        here = before + str(one.pattern)
        if here == "api/v1/":
            continue  # tests/api
        if isinstance(one, URLResolver):
            yield from addresses(one, here)
        else:
            # The order of the apps in the pattern depends on their registration.
            yield re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "<app_label>/", here)


def test_every_address_is_in_the_table() -> None:
    documented = {entry.address for entry in TABLE if entry.verb in {"GET", "POST"}}
    assert set(addresses()) - documented == set()
    assert documented - set(addresses()) == set()


def test_every_socket_is_in_the_table() -> None:
    existing = {str(one.pattern) for one in websocket_urlpatterns}
    documented = {entry.address for entry in TABLE if entry.verb == "socket"}
    lists = {f"ws/lists/{kind}/" for kind in LISTS}
    assert documented == (existing - {"ws/lists/<slug:kind>/"}) | lists


def test_every_management_command_is_in_the_table() -> None:
    ours = {name for name, app in get_commands().items() if app == "workflows"}
    assert ours == {entry.address for entry in TABLE if entry.verb == "command"}


def test_every_action_of_admin_is_in_the_table() -> None:
    documented = {entry.address for entry in TABLE if entry.verb == "action"}
    existing = {
        f"{model._meta.model_name} {name}"  # noqa: SLF001 - its name
        for model, page in admin.site._registry.items()  # noqa: SLF001 - likewise
        for name in page.actions or ()
        if model._meta.app_label == "workflows"  # noqa: SLF001 - likewise
    }
    assert documented == {str(name) for name in existing}


def test_methods_missing_from_the_table_are_refused(
    admin: User, settings: Settings
) -> None:
    """GET and POST give 405 where the table does not list them."""
    client, world = Client(), make_world()
    client.force_login(admin)
    documented = {entry.name for entry in TABLE}
    for address in addresses():
        if address.startswith(("admin/", "accounts/")):
            continue
        for verb in ("GET", "POST"):
            if f"{verb} {address}" not in documented:
                path = path_of(f"{verb} {address}", world)
                answer = client.generic(verb, path)
                assert answer.status_code == 405, f"{verb} {address}"


# Responses -------------------------------------------------------------------------------


def _run_of(address: str, world: World) -> Run:
    return world.asked.run if ABOUT_APPROVALS.search(address) else world.run


def path_of(name: str, world: World) -> str:
    """Return an address with ids of existing rows."""
    address = name.split(" ", 1)[1]
    if not re.search(r"[<(]", address) and address != "compare/":
        return f"/{address}"
    model = re.match(r"admin/(workflows|auth|axes)/(\w+)/", address)
    values: dict[str, Any] = {
        "<uuid:run_id>": _run_of(address, world).pk,
        "<str:name>": OURS,
        "<slug:document>": "glossary",
        "<slug:image>": "run",
        "<int:profile_id>": world.profile.pk,
        "<str:kind>": "json",
        "<int:view_id>": world.view.pk,
        "<int:sequence>": 1,
        "<uuid:schedule_id>": world.schedule.pk,
        "<uuid:webhook_id>": world.delivery.endpoint_id,
        "<uuid:webhook_delivery_id>": world.delivery.pk,
        "<str:path>": "0" * 32,
        "<str:token>": "0" * 32,
        "<uuid:destination_id>": world.message.destination_id,
        "<int:message_id>": world.message.pk,
        "<int:subscription_id>": world.subscription.pk,
        "<uuid:alert_id>": world.incident.rule_id,
        "<uuid:document_id>": world.document.pk,
        "<uuid:file_id>": world.file.pk,
        "<uuid:job_id>": world.job.pk,
        "<int:number>": 1,
        "<int:token_id>": world.token.pk,
        "<int:member_id>": world.owner.pk,
        "<int:session_id>": 0,  # of nobody
        "<int:invitation_id>": 0,  # of nobody
        "<str:secret>": "x",  # of no invitation
        "<str:provider_id>": "sso",  # not configured
        "<int:pk>": 0,  # of nobody
        "<int:agent_id>": world.agent.pk,
        "<int:provider_id>": world.provider.pk,
        "<int:budget_id>": world.budget.pk,
        "<int:price_id>": world.price.pk,
        "<id>": world.owner.pk,
        "<path:content_type_id>": ContentType.objects.get_for_model(Run).pk,
        "<path:object_id>": pk_of(model[1], model[2], world) if model else world.run.pk,
        "<app_label>/": "workflows/",
        "(?P<url>.*)$": "nowhere/at/all/",
    }
    for part, value in values.items():
        address = address.replace(part, str(value))
    extra = f"?a={world.run.pk}&b={world.child.pk}" if address == "compare/" else ""
    return f"/{address}{extra}"


def pk_of(app: str, model: str, world: World) -> object:
    """Return the key of a row of the workflow OURS, or an unused key if there is none."""
    if model == "user":
        return world.owner.pk
    kind: Any = apps.get_model(app, model)
    rows = kind._default_manager.order_by("pk")  # noqa: SLF001 - its name
    if model == "auditevent":
        rows = rows.filter(run=world.run)
    row = rows.first()
    return row.pk if row is not None else 1


def form_of(name: str, world: World) -> dict[str, Any]:
    """Return the form data for an address."""
    form = dict(FORMS.get(name, {}))
    if name == "POST runs/bulk/":
        form["run"] = [str(world.run.pk)]
    if name.endswith("/replay/"):
        form["delivery"] = [str(world.message.pk)]
    return form


def outcome_of(answer: Any) -> str:
    """Return the term of the table for a response."""
    status, location = answer.status_code, answer.headers.get("Location", "")
    if status == 302 and "/login/" in location:
        return "sign in"
    if (
        status == 302 and location == "/admin/"
    ):  # admin redirects when an object is missing
        return "404"
    words = {401: "sign in", 403: "no", 404: "404", 405: "405"}
    return words.get(status, "yes")


@pytest.fixture(params=COLUMNS)
def column(request: pytest.FixtureRequest, settings: Settings) -> str:
    """Set up a column; permissions are closed for all but the last."""
    name = str(request.param)
    settings.DEFAULT_ACCESS = "open" if name == "open" else "closed"
    return name


def response_to(client: Client, entry: Entry, path: str, world: World) -> Any:
    """Return the response; roll back its changes."""
    with transaction.atomic():
        if entry.verb == "GET":
            answer: Any = client.get(path)
        else:
            answer = client.post(path, form_of(entry.name, world))
        transaction.set_rollback(True)
    return answer


@pytest.mark.django_db
def test_every_role_gets_the_response_in_the_table(column: str) -> None:
    """The addresses of Django admin: for three roles here, for the others in a slow test.

    So are its pages that add, delete or show the history, which Django guards alike.
    """
    assert (
        wrong_responses(
            column,
            [
                entry
                for entry in TABLE
                if entry.verb in {"GET", "POST"}
                and (not entry.is_in_admin or is_checked_always(column, entry))
            ],
        )
        == []
    )


@pytest.mark.slow
@pytest.mark.django_db
def test_every_role_gets_the_response_in_the_table_throughout_admin(
    column: str,
) -> None:
    assert wrong_responses(column, [one for one in TABLE if one.is_in_admin]) == []


def is_checked_always(column: str, entry: Entry) -> bool:
    """Return whether the fast test requests an address of admin as this role."""
    is_one_of_many = entry.name.startswith("GET") and entry.address.endswith(
        ("/add/", "/delete/", "/history/")
    )
    return column in ADMIN_COLUMNS and not is_one_of_many


def wrong_responses(column: str, table: list[Entry]) -> list[str]:
    """Request every address as a role; return what differs from the table."""
    world, person = make_world(), user_of(column)
    client = Client(raise_request_exception=True)
    if person is not None:
        client.force_login(person)
    wrong = []
    for entry in table:
        path = path_of(entry.name, world)
        answer = response_to(client, entry, path, world)
        if person is not None and "logout" in entry.address:
            client.force_login(person)
        found = outcome_of(answer)
        if found != entry.expected[column]:
            wrong.append(f"{entry.name}: {found}, not {entry.expected[column]}")
        if messages := leaks(column, world, path, text_of(answer)):
            wrong.append(f"{entry.name} tells {messages}")
    return wrong


# Files and websockets, which use separate threads -----------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
@pytest.mark.parametrize("looking", ["member", "operator", "no values"])
def test_an_export_contains_only_what_the_list_shows(
    settings: Settings, kind: str, looking: str
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world, person = make_world(), user_of(looking)
    assert person is not None
    client = Client()
    client.force_login(person)
    answer = client.get(f"/runs/export.{kind}?fields=params.word")
    text = text_of(answer)
    assert (str(world.run.pk) in text) == (looking != "member")
    assert (WORD in text) == (looking == "operator")
    assert ("hidden" in text) == (looking == "no values")
    assert str(world.of_directors.pk) not in text


def socket_of(entry: Entry, world: World) -> str:
    """Return the address of a websocket; lists have a filter for all rows."""
    address = entry.address.replace("<uuid:run_id>", str(world.run.pk))
    address = address.replace("<int:agent_id>", str(world.agent.pk))
    return f"/{address}" + (f"?workflow={OURS}" if "lists" in address else "")


async def websocket_outcome(path: str, person: Any) -> tuple[str, str]:
    """Return the term of the table for a websocket, and its first message."""
    async with opened(path, person) as page:
        if "/agents/" in path:
            refused = not await page.is_quiet()
            return ("no", "") if refused else ("yes", "")
        message = await page.socket.receive_output(timeout=10)
        if message["type"] == "websocket.close":
            return {4403: "no", 4404: "404"}[message["code"]], ""
        return "yes", message["text"]


@pytest.mark.django_db(transaction=True)
async def test_every_socket_behaves_as_in_the_table(column: str) -> None:
    world = await run_in_db(make_world)
    person = await run_in_db(user_of, column)
    wrong = []
    for entry in TABLE:
        if entry.verb != "socket":
            continue
        path = socket_of(entry, world)
        found, text = await websocket_outcome(path, person or AnonymousUser())
        if found != entry.expected[column]:
            wrong.append(f"{path}: {found}, not {entry.expected[column]}")
        if messages := leaks(column, world, path, text):
            wrong.append(f"{path} tells {messages}")
    assert wrong == []


@pytest.mark.django_db(transaction=True)
async def test_a_hidden_run_closes_as_one_that_does_not_exist(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world = await run_in_db(make_world)
    person = await run_in_db(user_of, "member")
    for run_id in (world.run.pk, uuid4()):
        async with opened(f"/ws/runs/{run_id}/", person) as page:
            assert await page.closed_with() == 4404


# Actions of admin ------------------------------------------------------------------------


@pytest.mark.django_db
def test_actions_of_admin_succeed_for_the_roles_of_the_table(column: str) -> None:
    world, person = make_world(), user_of(column)
    client = Client()
    if person is not None:
        client.force_login(person)
    for entry in TABLE:
        if entry.verb != "action":
            continue
        model, action = entry.address.split(" ")
        run = world.runs["failed" if "resume" in action else "pending"]
        with transaction.atomic():
            before = run.audit_events.count()
            form = {"action": action, "_selected_action": [str(run.pk)]}
            form |= {"confirmed": "1", "reason": "why not"}
            answer = client.post(f"/admin/workflows/{model}/", form)
            location = answer.headers.get("Location", "")
            if location.startswith("/runs/bulk/"):  # the page of the job has the result
                answer = client.get(location)
            done = run.audit_events.count() > before
            transaction.set_rollback(True)
        found = outcome_of(answer)
        if found == "yes" and not done and "refused" not in text_of(answer):
            found = "no"
        assert found == entry.expected[column], entry.name


# Equal responses -------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_hidden_run_gets_the_response_of_a_missing_one(
    settings: Settings,
) -> None:
    """Status and page are the same, except for the id, at every address with a run."""
    settings.DEFAULT_ACCESS = "closed"
    world, person = make_world(), user_of("member")
    assert person is not None
    client = Client()
    client.force_login(person)
    nothing = str(uuid4())
    for entry in TABLE:
        if entry.verb not in {"GET", "POST"} or "<uuid:run_id>" not in entry.address:
            continue
        path = path_of(entry.name, world)
        hidden = str(_run_of(path, world).pk)
        send = client.get if entry.verb == "GET" else client.post
        there, not_there = send(path), send(path.replace(hidden, nothing))
        assert there.status_code == not_there.status_code == 404, entry.name
        assert _plain(there, hidden) == _plain(not_there, nothing), entry.name


@pytest.mark.django_db
def test_a_filter_for_hidden_rows_gets_the_response_of_missing_ones(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world, person = make_world(), user_of("member")
    assert person is not None
    client = Client()
    client.force_login(person)
    other = "c" * len(OURS)
    for path in (
        f"/runs/?workflow={OURS}",
        f"/runs/?workflow={OURS}&label={WORD}&where=params.word%3D{WORD}",
        f"/decisions/?workflow={OURS}",
        f"/workflows/{OURS}/",
        f"/compare/?a={world.run.pk}",
        f"/workflows/{THEIRS}/?again={world.run.pk}",
    ):
        there = client.get(path)
        hidden, nothing = (OURS, other) if OURS in path else (world.run.pk, uuid4())
        not_there = client.get(path.replace(str(hidden), str(nothing)))
        assert there.status_code == not_there.status_code, path
        words = readable_name(OURS), readable_name(other)
        text = _plain(there, str(hidden)).replace(words[0], words[1])
        assert text == _plain(not_there, str(nothing)), path


def _plain(answer: Any, name: str) -> str:
    """Return a page without the requested id and values that always differ."""
    text = str(answer.content.decode()).replace(name, "what was asked for")
    return re.sub(r"\w{64}", "a token", text)


# Parents and children --------------------------------------------------------------------


@pytest.mark.django_db
def test_parents_and_children_are_shown_only_if_visible(settings: Settings) -> None:
    """The page of a visible parent names its child only if the child is visible."""
    settings.DEFAULT_ACCESS = "closed"
    person, boss = user_of("member"), user_of("superuser")
    assert person is not None
    assert boss is not None
    parent = make_run(
        workflow_name=THEIRS,
        status="waiting",
        waiting_for="subworkflow",
        waiting_node="ask",
    )
    child = make_run(parent=parent, workflow_name=OURS, status="pending")
    orphan = make_run(parent=child, workflow_name=THEIRS)
    names = (str(child.pk), child.short_id, OURS, "Classify a document", "pending")
    for run in (parent, orphan):
        client = Client()
        client.force_login(person)
        text = client.get(f"/runs/{run.pk}/").content.decode()
        assert [name for name in names if name in text] == []
        client.force_login(boss)
        assert child.short_id in client.get(f"/runs/{run.pk}/").content.decode()


# Revoked permissions ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
async def test_revoking_a_permission_closes_the_page_immediately(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world = await run_in_db(make_world)
    person = await run_in_db(user_of, "viewer")
    async with opened(f"/ws/runs/{world.runs['completed'].pk}/", person) as page:
        await page.next_shown()
        await run_in_db(cast("User", person).groups.clear)
        assert await page.closed_with() == 4404


@pytest.mark.django_db(transaction=True)
async def test_a_permission_revoked_without_notification_closes_the_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run does not change, and no signal is sent for the permissions."""
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.2)
    settings.DEFAULT_ACCESS = "closed"
    world = await run_in_db(make_world)
    person = cast("User", await run_in_db(user_of, "viewer"))
    async with opened(f"/ws/runs/{world.runs['completed'].pk}/", person) as page:
        await page.next_shown()
        theirs = User.groups.through.objects.filter(user_id=person.pk)
        await run_in_db(theirs._raw_delete, theirs.db)  # noqa: SLF001 - as with SQL
        assert await page.closed_with() == 4404


@pytest.mark.django_db(transaction=True)
async def test_a_list_drops_rows_after_their_permission_is_revoked(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world = await run_in_db(make_world)
    person = await run_in_db(user_of, "viewer")
    async with opened("/ws/lists/runs/", person) as page:
        assert world.run.short_id in await page.next_shown()
        await run_in_db(cast("User", person).groups.clear)
        assert world.run.short_id not in await page.next_shown()


@pytest.mark.django_db(transaction=True)
async def test_values_are_removed_from_an_open_page_when_permission_is_revoked(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world = await run_in_db(make_world)
    person = await run_in_db(user_of, "viewer")
    async with opened(f"/ws/runs/{world.runs['completed'].pk}/", person) as page:
        assert WORD in await page.next_shown()
        group = await run_in_db(Group.objects.create, name="readers")
        await run_in_db(
            WorkflowPermission.objects.create,
            workflow_name=OURS,
            group=group,
            can_view=False,
            can_read=True,
        )
        text = await page.next_shown()
        assert WORD not in text
        assert "Hidden." in text


@pytest.mark.django_db
def test_redacted_values_are_marked_hidden_in_every_place(
    settings: Settings,
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    world, person = make_world(), user_of("no values")
    assert person is not None
    client = Client()
    client.force_login(person)
    for run in [*world.runs.values(), world.child]:
        for rest in ("", "?at=1", "?node=weigh", "?edge=weigh.0", "?find=xylo"):
            text = client.get(f"/runs/{run.pk}/{rest}").content.decode()
            assert WORD not in text, rest
            assert "Hidden." in text
    steps = client.get(f"/runs/{world.run.pk}/steps/").content.decode()
    assert "hidden" in steps.split('class="decision-reason"')[1]
    assert WORD not in steps
    rows = client.get("/runs/?column=error,labels&fields=params.word").content.decode()
    assert rows.count(">hidden</td>") > len(world.runs)
    for query in (f"label={WORD}", f"where=params.word%3D{WORD}", f"text={WORD}"):
        assert "No matching runs." in client.get(f"/runs/?{query}").content.decode()
    found = client.get(f"/decisions/?where={WORD}%3D{WORD}").content.decode()
    assert "No matching decisions." in found
