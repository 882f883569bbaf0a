"""Iterations of a loop are folded, except for failed steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_run, make_stage
from workflows.models import StageStatus, Status
from workflows.pages.run.loop_folding import Fold, folded
from workflows.pages.run.stage_rows import Row

SignIn = Callable[[User], Client]


def rows(names: str, wrong: int = -1) -> list[Row]:
    """Return a stage for each letter; the one at `wrong` failed."""
    now = timezone.now()
    return [
        Row(
            pk=place,
            attempt=1,
            sequence=place + 1,
            node=name,
            status="failed" if place == wrong else "completed",
            tries=1,
            began=now,
            duration_ms=10.0,
        )
        for place, name in enumerate(names)
    ]


def folded_text(names: str, wrong: int = -1) -> str:
    """Return the entries in one line: letters, and folds as `[ab×3]`."""
    entries = folded(rows(names, wrong))
    return "".join(
        f"[{''.join(one.nodes)}×{one.times}]" if isinstance(one, Fold) else one.node
        for one in entries
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ("", ""),
        ("abc", "abc"),
        ("ababab", "ababab"),  # three iterations are not folded
        ("xababababy", "x[ab×3]aby"),
        ("aaaaaaaa", "[a×7]a"),
        ("abc" * 5 + "d", "[abc×4]abcd"),
        ("ab" * 4 + "cd" * 4, "[ab×3]ab[cd×3]cd"),
        ("aaab" * 4, "[aaab×3]aaab"),
    ],
)
def test_all_iterations_but_the_last_are_folded(names: str, shown: str) -> None:
    assert folded_text(names) == shown


def test_folds_contain_all_steps() -> None:
    entries = list(folded(rows("xabababababyz")))
    sequences = [
        row.sequence
        for entry in entries
        for row in (entry.rows if isinstance(entry, Fold) else (entry,))
    ]
    assert sequences == list(range(1, 14))


def test_a_failed_step_is_never_folded() -> None:
    assert folded_text("ab" * 10, wrong=9) == "[ab×3]abab[ab×4]ab"
    entries = list(folded(rows("ab" * 10, wrong=9)))
    alone = [one for one in entries if isinstance(one, Row) and one.sequence == 10]
    assert alone[0].is_failed_or_interrupted


@pytest.mark.django_db
def test_a_loop_is_folded_into_one_line_with_links_to_its_steps(
    alice: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.RUNNING, sequence=824)
    from workflows.models import Stage

    Stage.objects.bulk_create(
        Stage(
            run=run,
            attempt=1,
            sequence=n,
            node_name="weigh" if n % 2 else "review",
            iteration=n,
            status=StageStatus.COMPLETED,
            duration_ms=3.0,
        )
        for n in range(1, 825)
    )
    text = " ".join(sign_in(alice).get(f"/runs/{run.pk}/").content.decode().split())
    assert "Weigh → Review ×411" in text
    assert f'href="/runs/{run.pk}/steps/?after=0"' in text
    assert text.count('data-status="completed"') < 30


@pytest.mark.django_db
def test_failed_steps_of_a_long_run_are_listed_first(
    alice: User, sign_in: SignIn
) -> None:
    run = make_run(status=Status.RUNNING, sequence=100)
    for sequence in range(1, 101):
        is_wrong = sequence == 7
        make_stage(
            run,
            f"step_{sequence % 13}",
            sequence=sequence,
            status=StageStatus.FAILED if is_wrong else StageStatus.COMPLETED,
            error_message="It broke <here>." if is_wrong else "",
        )
    text = " ".join(sign_in(alice).get(f"/runs/{run.pk}/").content.decode().split())
    first = text.index('aria-label="Failed steps"')
    assert text.index("It broke &lt;here&gt;.") > first
    assert text.index("It broke &lt;here&gt;.") < text.index('id="run-steps"')
    assert "/steps/?after=6#stage-" in text
