"""docs/webhooks.md: its commands send requests that a webhook accepts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from project.env import ROOT
from tests.webhooks.test_deliveries import ORDERS, orders_workflow
from workflows.models import Run
from workflows.webhooks import service
from workflows.webhooks.service import Plan

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SECRET = "a secret of the sender"
# curl that prints its arguments, each with an end that no argument contains
PRINTING = 'curl() { printf "%s\\0" "$@"; printf "\\0"; }\n'


def requests_of(block: str, secret: str) -> list[list[str]]:
    """Return the arguments of each curl of a block of shell commands."""
    done = subprocess.run(
        ["bash", "-ec", PRINTING + block],
        capture_output=True,
        check=True,
        env={"PATH": os.environ["PATH"], "SECRET": secret, "ADDRESS": "there"},
        text=True,
    )
    return [part.split("\0") for part in done.stdout.split("\0\0") if part]


@pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("openssl")),
    reason="the examples need bash and openssl",
)
@pytest.mark.usefixtures(orders_workflow.__name__)
def test_the_examples_of_deliveries_launch_runs(alice: User) -> None:
    text = (ROOT / "docs" / "webhooks.md").read_text()
    (block,) = re.findall(r"```sh\n(# a delivery.*?)```", text, re.DOTALL)
    title = {"param": "city", "source": "body", "value": "pull_request.title"}
    plans = [
        Plan("pulls", style="github", secret=SECRET, mapping=[title]),
        Plan(
            "tickets",
            style="token",
            token_header="X-Token",
            deduplication="body",
            secret=SECRET,
            mapping=[title],
        ),
    ]
    sent = requests_of(block, SECRET)
    assert len(sent) == len(plans)
    for plan, words in zip(plans, sent, strict=True):
        webhook, _ = service.create(ORDERS, plan, by=alice)
        pairs = zip(words[:-1:2], words[1:-1:2], strict=True)
        headers, body = {}, ""
        for option, value in pairs:
            name, _, content = value.partition(": ")
            if option == "-H":
                headers[name] = content
            else:
                body = value
        kind = headers.pop("Content-Type")
        response = Client().post(
            f"/hooks/{webhook.path}", body, content_type=kind, headers=headers
        )
        assert response.status_code == 202, response.content
    assert Run.objects.filter(params__city="Fix the press").count() == len(plans)
