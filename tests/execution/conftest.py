"""Fixtures of tests that execute runs with workflows of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from workflows.registry import Registry

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@pytest.fixture
def quick(settings: Any) -> None:
    """Shorten the intervals of sweeps and heartbeats."""
    settings.POLL_INTERVAL_SECONDS = 0.05
    settings.HEARTBEAT_SECONDS = 0.2


@pytest.fixture
def registry() -> Registry:
    """Workflows of this test alone."""
    return Registry()


@pytest.fixture
def person(transactional_db: None) -> User:
    """A user who launches, resumes and cancels."""
    from tests.support.factories import make_user

    return make_user("operator")
