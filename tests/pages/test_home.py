"""The home page: tasks of the user, active runs, and statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_approval, make_run, make_whole_run
from workflows.execution import hourly_counts
from workflows.models import Status
from workflows.pages.lists.overview import NEWEST, health_of, overview
from workflows.pages.lists.usage import usage_of
from workflows.pages.render.charts import MIN_HEIGHT, Bar, stacked
from workflows.pages.render.text import percent

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
NAME = "classify-document"


def test_finished_runs_are_counted_by_hour_and_day(alice: User) -> None:
    now = timezone.now()
    for status, ago in (
        (Status.COMPLETED, dt.timedelta()),
        (Status.FAILED, dt.timedelta()),
        (Status.FAILED, dt.timedelta(hours=3)),
        (Status.COMPLETED, dt.timedelta(days=5)),
        (Status.COMPLETED, dt.timedelta(days=50)),
    ):
        make_run(status=status, completed_at=now - ago)
    hourly_counts.count_all()
    page = overview(alice)
    assert (page.day.total, page.day.failed) == (3, 2)
    assert (page.fortnight.total, page.fortnight.failed) == (4, 2)
    assert page.day.failure_rate == pytest.approx(2 / 3)
    assert len(page.day.bars.bars) == 24
    assert len(page.fortnight.bars.bars) == 14
    assert page.day.bars.last.endswith("1 completed, 1 failed")


def test_the_home_page_shows_charts_with_labels(alice: User, sign_in: SignIn) -> None:
    make_run(status=Status.FAILED)
    make_run(status=Status.RUNNING)
    hourly_counts.count_all()
    text = sign_in(alice).get("/").content.decode()
    assert "1 finished, 1 failed, per hour" in text
    assert "1 failed</title>" in text
    begin = text.index('<svg class="chart')
    drawing = text[begin : text.index("</svg>", begin) + 6]
    assert drawing.count("<title>") == drawing.count("</g>") == 24


def test_a_new_installation_shows_first_steps(alice: User, sign_in: SignIn) -> None:
    text = sign_in(alice).get("/").content.decode()
    assert "You’re all caught up." in text
    assert "No runs in progress." in text
    assert "No finished runs" in text
    assert "No runs yet." in text


def test_the_most_urgent_approval_is_listed_first(alice: User, sign_in: SignIn) -> None:
    deadline = timezone.now() + dt.timedelta(hours=1)
    for number in range(6):
        make_approval(question=f"Question {number}?")
    make_approval(question="Urgent?", expires_at=deadline)
    text = sign_in(alice).get("/").content.decode()
    assert text.index("Urgent?") < text.index("Question 0?")
    assert "Question 5?" not in text
    assert "View all 7" in text


def test_approvals_are_listed_for_users_who_can_respond(
    alice: User, sign_in: SignIn
) -> None:
    alice.groups.add(Group.objects.create(name="records"))
    make_approval(question="Anyone?")
    make_approval(question="Records?", groups=["records"])
    make_approval(question="Others?", groups=["others"])
    text = sign_in(alice).get("/approvals/").content.decode()
    assert text.index("For anyone") < text.index("Anyone?")
    assert text.index("For records") < text.index("Records?")
    assert "Others?" not in text


def test_an_approval_shows_its_expiry_and_the_consequence(
    alice: User, sign_in: SignIn
) -> None:
    now = timezone.now()
    make_approval(
        expires_at=now + dt.timedelta(hours=2), on_expiry={"outcome": "reject"}
    )
    make_approval(expires_at=now - dt.timedelta(seconds=1))
    text = " ".join(sign_in(alice).get("/approvals/").content.decode().split())
    assert "then the run continues with outcome “reject”" in text
    assert "Expired" in text
    assert "then the run fails" in text
    assert text.count('data-tone="warn"') == 2


def test_the_health_of_a_workflow_depends_on_its_newest_runs(alice: User) -> None:
    for _ in range(NEWEST):
        make_run(status=Status.FAILED)
    now = timezone.now()
    for seconds in (10, 20, 90):
        started = now - dt.timedelta(seconds=seconds)
        make_run(started_at=started, completed_at=now)
    health = health_of(alice, [NAME, "another"])
    assert (health[NAME].ended, health[NAME].completed) == (NEWEST, 3)
    assert health[NAME].median == dt.timedelta(seconds=20)
    assert health["another"].success_rate is None


def test_a_workflow_shows_its_shares_and_durations(
    alice: User, sign_in: SignIn
) -> None:
    run = make_whole_run()
    for _ in range(2):
        make_whole_run(("read_pages", "judge_pages", "weigh", "review", "publish"))
    hourly_counts.count_all()
    usage = usage_of(alice, NAME, run.graph)
    counts = {edge.title: edge.count.text for edge in usage.diagram.edges if edge.count}
    assert counts["weigh → publish, if is confident: taken 1×, not taken 2×"] == "33%"
    assert counts["weigh → review: taken 2×, not taken 1×"] == "67%"
    weigh = next(one for one in usage.durations if one.node == "weigh")
    assert (weigh.count, weigh.median, weigh.slow) == (3, 120.0, 120.0)
    assert usage.diagram.nodes[0].note.text == "120 ms · p95 120 ms"
    text = sign_in(alice).get(f"/workflows/{NAME}/").content.decode()
    assert "Durations" in text


def test_a_workflow_without_runs_shows_its_graph_only(
    alice: User, sign_in: SignIn
) -> None:
    text = sign_in(alice).get(f"/workflows/{NAME}/").content.decode()
    assert "No runs yet." in text
    assert "Durations" not in text


def test_a_small_share_has_a_visible_bar_and_bars_stay_in_bounds() -> None:
    bars = stacked([Bar("a", (100_000, 1)), Bar("b", (0, 0)), Bar("c", (50_000, 0))])
    assert [len(bar.pieces) for bar in bars.bars] == [2, 0, 1]
    assert bars.bars[0].pieces[1].height == MIN_HEIGHT
    assert all(piece.y >= 0 for bar in bars.bars for piece in bar.pieces)
    assert stacked([]).is_empty


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.001, "<1%"), (0.5, "50%"), (0.999, ">99%"), (1, "100%")],
)
def test_a_percentage_is_rounded_to_0_or_100_only_if_exact(
    share: float, text: str
) -> None:
    assert percent(share) == text


def test_a_thumbnail_is_not_in_the_tab_order(alice: User, sign_in: SignIn) -> None:
    text = sign_in(alice).get("/workflows/").content.decode()
    begin = text.index('class="workflow-thumb"')
    assert 'tabindex="0"' not in text[begin : text.index("</a>", begin)]
