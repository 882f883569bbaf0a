"""Addresses of the page sockets."""

from django.urls import path

from workflows.pages.consumers import ListSocket, RunSocket

websocket_urlpatterns = [
    path("ws/runs/<uuid:run_id>/", RunSocket.as_asgi()),
    path("ws/lists/<slug:kind>/", ListSocket.as_asgi()),
]
