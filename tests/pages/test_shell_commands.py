"""Launch commands on pages, quoted so that a shell passes any value unchanged."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalbox import values
from tests.support.factories import make_run
from workflows.models import Run, WorkflowPermission
from workflows.pages.render.shell_commands import MAX_CHARS, LaunchCommands

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

SHELL = """
curl() { printf '%s\\0' "$@"; }
signalbox() { printf '%s\\0' "$@"; }
"""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(
        ["true", "1e3", "NaN", "'", '"$(id)"', "!!", "@file", "-x", "\\"]
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), children, max_size=3)
    ),
    max_leaves=6,
)


def arguments_of(command: str, shell: str) -> list[str]:
    """Return the arguments that a shell passes to the command."""
    done = subprocess.run(
        [shell, "-c", SHELL + command],
        env={"SIGNALBOX_URL": "https://runs.example.org", "SIGNALBOX_TOKEN": "sbx_1"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode().split("\0")[:-1]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=8), VALUES, max_size=4
    ),
    st.sampled_from(["bash", "sh"]),
    st.text(st.characters(codec="utf-8", categories=["L", "P", "S"]), max_size=8),
)
@example({"a": "\x00\x1b[31m\u202e\n", "b": "\ud800"}, "bash", "it's")
@example({"a=b": 1, "": None}, "sh", "")
@settings(max_examples=50)
def test_a_shell_passes_any_value_unchanged(
    params: dict[str, Any], shell: str, key: str
) -> None:
    made = LaunchCommands.of(
        "sort-mail",
        params,
        profile="",
        priority=-3,
        deadline=dt.timedelta(hours=400),
        key=key,
    )
    assert (made.curl + made.signalbox).isprintable()
    url, *options = arguments_of(made.curl, shell)
    assert url == "https://runs.example.org/api/v1/workflows/sort-mail/runs"
    assert options[:2] == ["-H", "Authorization: Bearer sbx_1"]
    assert (f"Idempotency-Key: {key}" in options) == bool(key)
    body = json.loads(options[options.index("--data-raw") + 1])
    seconds = 400 * 3_600.0
    options_of_body = {"profile": "", "priority": -3, "deadline_seconds": seconds}
    assert body == {"params": params, **options_of_body}
    arguments = arguments_of(made.signalbox, shell)
    assert arguments[:2] == ["launch", "sort-mail"]
    pairs = list(zip(arguments[2::2], arguments[3::2], strict=True))
    given_params = [value for name, value in pairs if name == "--param"]
    whole = [value for name, value in pairs if name == "--params"]
    found = values.json_object(whole[0], "") if whole else {}
    assert found | values.objects(given_params, "--param") == params
    rest = [pair for pair in pairs if pair[0] not in {"--param", "--params"}]
    keys = [("--key", key)] if key else []
    assert values.seconds(dict(rest).pop("--deadline"), "--deadline") == seconds
    rest = [pair for pair in rest if pair[0] != "--deadline"]
    assert sorted(rest) == sorted([("--profile", ""), ("--priority", "-3"), *keys])


def test_a_long_launch_has_no_commands() -> None:
    assert LaunchCommands.of("x", {"a": "y" * MAX_CHARS}) == LaunchCommands("", "")


# Pages ------------------------------------------------------------------------------

SignIn = Callable[["User"], "Client"]
FORM = {
    "rounds": "3",
    "confidence": "0.8",
    "launch-profile": "own",
    "launch-priority": "5",
    "launch-deadline": "90",
    "launch-key": "order-7",
}


def test_the_launch_form_shows_the_commands_and_launches_nothing(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    secret = "sk-of-the-provider"
    sent = {"question": "Is it so?", "launch-show": "commands", "launch-token": secret}
    page = client.post("/workflows/reasoning/", {**FORM, **sent})
    text = page.content.decode()
    assert page.status_code == 200
    assert "signalbox launch reasoning" in text
    assert "--priority 5" in text
    assert "--deadline 5400" in text
    assert "--key order-7" in text
    assert "The API key for the run isn’t included." in text
    assert text.count(secret) == 0
    assert Run.objects.count() == 0
    wrong = client.post("/workflows/reasoning/", {**sent, "launch-priority": "high"})
    assert wrong.status_code == 422
    assert "shell-command" not in wrong.content.decode()


@pytest.mark.parametrize("hidden", ["can_read", "can_launch", ""])
def test_the_run_page_shows_the_commands_to_those_who_may_launch_and_read(
    alice: User, sign_in: SignIn, hidden: str
) -> None:
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="others")
    if hidden == "can_read":
        WorkflowPermission.objects.create(
            workflow_name="classify-document",
            group=group,
            can_view=False,
            can_read=True,
        )
    elif hidden:
        WorkflowPermission.objects.create(workflow_name="classify-document", group=None)
    run = make_run(params={"threshold": 0.8, "note": "it's"})
    text = sign_in(alice).get(f"/runs/{run.pk}/").content.decode()
    is_shown = "signalbox launch classify-document --param threshold=0.8" in text
    assert is_shown == (not hidden)
    assert ("Launch again from a shell" in text) == (not hidden)
