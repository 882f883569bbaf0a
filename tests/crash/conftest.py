"""Installations of the tests with killed processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.processes import Installation


@pytest.fixture(params=["postgres", pytest.param("sqlite", marks=pytest.mark.slow)])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    """Provide an installation on SQLite, and one on PostgreSQL with Redis."""
    if request.param == "sqlite":
        return Installation(tmp_path, MAX_RECOVERIES="1000")
    database = request.getfixturevalue("migrated_url")
    redis = request.getfixturevalue("redis_url")
    return Installation(tmp_path, database=database, redis=redis, MAX_RECOVERIES="1000")
