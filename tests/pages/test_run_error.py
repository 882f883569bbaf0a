"""The error card of a run: class, message once, and the place in the author's code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from tests.support.factories import make_attempt, make_retry, make_run, make_stage
from workflows.models import Outcome, StageStatus, Status
from workflows.pages.run.run_error import read_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    SignIn = Callable[[User], Client]

ROOT = settings.BASE_DIR
ENGINE = (
    f'  File "{ROOT}/workflows/engine/nodes.py", line 9, in run\n    await call()\n'
)
CAUSED = (
    "\n\nThe above exception was the direct cause of the following exception:\n\n"
    f"Traceback (most recent call last):\n{ENGINE}"
    "workflows.engine.errors.ExecutionError: At “pay”: the node failed: no money"
)
TRACEBACK = (
    "Traceback (most recent call last):\n"
    f'{ENGINE}  File "{ROOT}/shop/workflows.py", line 41, in pay\n    send()\n'
    "shop.errors.NoMoney: no money\nand no credit" + CAUSED
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRACEBACK, ("shop.errors.NoMoney", "shop/workflows.py:41", "pay")),
        (
            TRACEBACK.replace(f"{ROOT}/shop", "/srv/apps/shop"),
            ("shop.errors.NoMoney", "shop/workflows.py:41", "pay"),
        ),
        (
            TRACEBACK.replace("and no", '  File "/fake.py", line 1, in fake\nand no'),
            ("shop.errors.NoMoney", "shop/workflows.py:41", "pay"),
        ),
        (
            TRACEBACK.replace("/shop/", "/workflows/engine/"),
            ("shop.errors.NoMoney", "", ""),
        ),
        (CAUSED.strip(), ("", "", "")),
        ("something else entirely", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_class_and_place_are_read_from_a_traceback(
    text: str, expected: tuple[str, str, str]
) -> None:
    assert read_traceback(text) == expected


@pytest.mark.django_db
def test_a_failed_run_has_one_card_that_shows_its_message_once(
    alice: User, sign_in: SignIn
) -> None:
    message = "At “weigh”: the node failed: the scales are <broken>"
    failed: dict[str, Any] = {"error_message": message, "error_code": "node_failed"}
    run = make_run(status=Status.FAILED, sequence=1, error_node="weigh", **failed)
    make_attempt(run, outcome=Outcome.FAILED, traceback=TRACEBACK, **failed)
    make_stage(run, "read_pages")
    make_retry(run, sequence=2, error_message="the scales are <broken>")
    make_stage(
        run,
        "weigh",
        sequence=2,
        tries=2,
        status=StageStatus.FAILED,
        error_message="the scales are <broken>",
    )
    answer = sign_in(alice).get(f"/runs/{run.pk}/?node=weigh")
    text = " ".join(answer.content.decode().split())
    assert text.count("the scales are &lt;broken&gt;") == 1
    assert "the node failed" not in text
    assert "Failed in Weigh." in text
    assert "shop.errors.NoMoney" in text
    assert "shop/workflows.py:41" in text
    assert "Same error as above" in text
    assert "Attempt 1 failed with the same error" in text
    assert "and no credit" not in text, "the traceback is for staff"
    assert text.count('id="action-resume"') == 1
    assert "Resume from step 2" in text


@pytest.mark.django_db
def test_an_earlier_position_has_no_error_card(alice: User, sign_in: SignIn) -> None:
    run = make_run(status=Status.FAILED, sequence=1, error_message="too late")
    make_stage(run)
    text = sign_in(alice).get(f"/runs/{run.pk}/?at=0").content.decode()
    assert "error-card" not in text
    assert "too late" not in text
    assert "icons/running.svg" in text
