"""The laptop's one process, killed in the middle of a run and started again."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.crash.processes import Installation, wait_for
from tests.crash.test_kill import wait_until_ended
from tests.servers import ADMIN_PASSWORD, running_server

pytestmark = pytest.mark.crash


class Browser:
    """A person's browser, as far as reading pages goes."""

    def __init__(self, url: str) -> None:
        """Sign in as the admin of a server."""
        self.url = url
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)
        form = self.read("accounts/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token is not None
        answers = {
            "username": "admin",
            "password": ADMIN_PASSWORD,
            "csrfmiddlewaretoken": token[1],
        }
        self._opener.open(
            url + "accounts/login/", urllib.parse.urlencode(answers).encode()
        )

    def read(self, path: str) -> str:
        """Return a page."""
        with self._opener.open(self.url + path) as answer:
            text: str = answer.read().decode()
        return text


def test_a_killed_server_goes_on_with_its_runs_and_its_page_says_so(
    tmp_path: Path,
) -> None:
    installation = Installation(tmp_path)
    hold = tmp_path / "hold"
    with running_server(installation.data_dir, **installation.settings) as server:
        (run_id,) = installation.launch(rounds=2, hold=str(hold))
        wait_for(
            lambda: len(installation.traces()) == 2, what="the second node to begin"
        )
        server.process.kill()
        server.process.wait()
    hold.touch()
    with running_server(installation.data_dir, **installation.settings) as server:
        report = wait_until_ended(installation)
        page = Browser(server.url).read(f"runs/{run_id}/")
    assert [run["status"] for run in report["runs"]] == ["completed"]
    completed = [s["sequence"] for s in report["stages"] if s["status"] == "completed"]
    assert sorted(completed) == [1, 2, 3, 4]
    assert [a["outcome"] for a in report["attempts"]] == ["lost", "completed"]
    lost = report["attempts"][0]["worker"]
    assert f"Worker {lost} was lost" in page
