"""Addresses of the page sockets."""

from collections.abc import Callable
from typing import Any, cast

from django.urls import path

from workflows.pages.live.agent_consumer import TrySocket
from workflows.pages.live.consumers import ListSocket, RunSocket

View = Callable[..., Any]  # Django types its paths for HTTP only

websocket_urlpatterns: list[Any] = [
    path("ws/runs/<uuid:run_id>/", cast("View", RunSocket.as_asgi())),
    path("ws/lists/<slug:kind>/", cast("View", ListSocket.as_asgi())),
    path("ws/agents/<int:agent_id>/try/", cast("View", TrySocket.as_asgi())),
]
