"""A receiver of messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Provide an HTTP server that stores what it receives."""
    with Receiver() as running:
        yield running
