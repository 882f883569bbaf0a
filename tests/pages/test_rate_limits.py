"""Rate limits per user for launches, agent trials and uploads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, override_settings
from django.urls import reverse

from tests.support.servers import OwnRedis
from workflows.errors import RateLimited
from workflows.models import Document, Run
from workflows.pages import rate_limits

SignIn = Callable[[User], Client]
LAUNCH = "/workflows/summarize/"


def only(**limits: int) -> override_settings:
    """Set limits per minute; the others keep their defaults."""
    return override_settings(RATES={**settings.RATES, **limits})


@only(launch=2)
def test_a_user_who_launches_too_often_gets_the_time_of_the_next_try(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    assert [client.post(LAUNCH, {}).status_code for _ in range(2)] == [422, 422]
    answer = client.post(LAUNCH, {})
    text = answer.content.decode()
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Too many launches: the limit is 2 per minute." in text
    assert "Nothing was changed. Try again in" in text
    assert client.get(LAUNCH).status_code == 200, "GET requests are not counted"
    assert sign_in(bob).post(LAUNCH, {}).status_code == 422, (
        "other users are not affected"
    )
    assert not Run.objects.exists()


@only(launch=0)
def test_zero_sets_no_limit(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    assert {client.post(LAUNCH, {}).status_code for _ in range(5)} == {422}


@only(upload=1)
def test_an_open_page_shows_the_error_in_its_messages(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    client.post(reverse("documents"), {})
    file = SimpleUploadedFile("a.pdf", b"%PDF-1.7")
    live = {"HX-Request": "true"}
    answer = client.post(reverse("documents"), {"file": file}, headers=live)
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    assert "hx-swap-oob" in answer.content.decode()
    assert "Too many uploads" in answer.content.decode()
    assert not Document.objects.exists()


@only(launch=3)
def test_processes_share_their_counts_in_redis(redis_url: str) -> None:
    with override_settings(REDIS_URL=redis_url):
        for _ in range(3):
            rate_limits.shared.cache_clear()  # as in another process
            rate_limits.count("launch", "person 1")
        with pytest.raises(RateLimited, match="Too many"):
            rate_limits.count("launch", "person 1")
        rate_limits.count("launch", "person 2")
    rate_limits.shared.cache_clear()


@only(launch=1)
def test_without_redis_each_process_continues_counting(own_redis: OwnRedis) -> None:
    rate_limits.shared.cache_clear()
    with override_settings(REDIS_URL=own_redis.url):
        own_redis.stop()
        rate_limits.count("launch", "person 1")
        with pytest.raises(RateLimited):
            rate_limits.count("launch", "person 1")
    rate_limits.shared.cache_clear()


def test_a_redis_url_with_a_unix_socket_is_accepted() -> None:
    rate_limits.shared.cache_clear()
    with override_settings(REDIS_URL="unix:///run/redis.sock?db=1"):
        storage: Any = rate_limits.shared().storage
        kept = storage.storage.connection_pool.connection_kwargs
        assert kept["path"] == "/run/redis.sock"
    rate_limits.shared.cache_clear()
