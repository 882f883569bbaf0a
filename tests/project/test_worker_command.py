"""`manage.py worker`: options, refusals and output."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.crash.processes import Installation, wait_for
from tests.support.servers import free_port, manage

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--concurrency", "0", "'0' is not a valid concurrency: enter a number from 1"),
        ("--concurrency", "-3", "'-3' is not a valid concurrency"),
        ("--concurrency", "many", "'many' is not a valid concurrency"),
        ("--concurrency", "10001", "from 1 to 10,000"),
        ("--name", "", "'' is not a valid name: up to 200 letters"),
        ("--name", "two words", "'two words' is not a valid name"),
        ("--name", "x" * 201, "is not a valid name"),
    ],
)
def test_invalid_values_are_refused_with_a_message(
    option: str, value: str, words: str
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("worker", f"{option}={value}")
    assert words in str(refused.value)


def test_the_worker_logs_its_name_and_its_metrics(tmp_path: Path) -> None:
    port = free_port()
    installation = Installation(tmp_path, METRICS_PORT=str(port))
    with installation.worker("worker@host-1", capacity=3) as worker:
        wait_for(
            lambda: (
                "Worker worker@host-1 executes up to 3 runs." in installation.logs()
            ),
            what="the worker to say who it is",
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            assert b"signalbox_claims_total" in answer.read()
        taken = manage("worker", data_dir=installation.data_dir, METRICS_PORT=str(port))
        assert taken.returncode == 1
        assert "each worker on a machine needs its own" in taken.stderr
        assert "Traceback" not in taken.stderr
        worker.terminate()
        assert worker.wait(30) == 0
