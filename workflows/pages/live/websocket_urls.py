"""URLs of the websockets."""

from collections.abc import Callable
from typing import Any, cast

from django.urls import path

from workflows.pages.live.agent_consumer import AgentTrialConsumer
from workflows.pages.live.consumers import ListConsumer, RunConsumer

View = Callable[..., Any]  # Django types its paths for HTTP only

websocket_urlpatterns: list[Any] = [
    path("ws/runs/<uuid:run_id>/", cast("View", RunConsumer.as_asgi())),
    path("ws/lists/<slug:kind>/", cast("View", ListConsumer.as_asgi())),
    path("ws/agents/<int:agent_id>/try/", cast("View", AgentTrialConsumer.as_asgi())),
]
