"""Static files, served by the application itself."""

from __future__ import annotations

from contextlib import nullcontext

from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc] # it publishes no types
    """WhiteNoise, with whole bodies.

    WhiteNoise streams files by a plain iterator, which ASGI has to read to its end
    first, with a warning. Ours are small.
    """

    @staticmethod
    def serve(static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        """Return the file, or the note that it has not changed."""
        found = static_file.get_response(request.method, request.META)
        with found.file or nullcontext() as file:
            body = b"" if file is None else file.read()
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        if body:  # an update of the code may have changed the file since the start
            response["Content-Length"] = str(len(body))
        return response
