"""Files of runs whose workers are killed between storing and recording them."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest

from tests.crash.histories import wait_until_ended
from tests.crash.processes import Installation, kill_until_ended

pytestmark = pytest.mark.crash
ROWS = "SELECT id, name, file, sha256, attempt FROM workflows_runfile ORDER BY name"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_name_has_one_file_over_kills_between_storing_and_recording(
    installation: Installation,
) -> None:
    files = 3
    (run_id,) = installation.launch(name="filing", rounds=files)
    kills = kill_until_ended(installation, runs=1)
    assert kills > 2, "before and after the commits of the files"
    report = wait_until_ended(installation)
    assert [run["status"] for run in report["runs"]] == ["completed"]
    rows = installation.ask(ROWS)
    assert [row[1] for row in rows] == [f"{number}.txt" for number in range(files)]
    assert len({row[4] for row in rows}) > 1, "of attempts before and after a kill"
    made = report["results"][run_id]["steps"][0].split()
    assert made == [str(UUID(str(row[0]))) for row in rows]
    for number, (_, _, place, sha256, _) in enumerate(rows):
        content = (installation.data_dir / "media" / place).read_bytes()
        assert content.decode() == f"round {number}"
        assert hashlib.sha256(content).hexdigest() == sha256
    stored = [
        path.relative_to(installation.data_dir / "media").as_posix()
        for path in (installation.data_dir / "media" / "run-files").rglob("*")
        if path.is_file()
    ]
    assert {row[2] for row in rows} <= set(stored)
    assert len(stored) > files, "one that was stored and not recorded: for prune_media"
