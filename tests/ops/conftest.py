"""Fixtures of the tests of health checks and the diagnosis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from channels.layers import channel_layers


@pytest.fixture
def new_channel_layer() -> Iterator[None]:
    """Have a channel layer that no other test's event loop has used."""
    channel_layers.backends.clear()
    yield
    channel_layers.backends.clear()
