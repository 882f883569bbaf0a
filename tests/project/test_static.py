"""Static files that an update of the code changes while the server runs."""

from __future__ import annotations

from pathlib import Path

from django.http import HttpResponse
from django.test import RequestFactory

from project.static import StaticFiles


def test_a_file_that_changed_since_the_start_is_sent_whole(tmp_path: Path) -> None:
    file = tmp_path / "app.css"
    file.write_text("a {}")
    static = StaticFiles(lambda _: HttpResponse(status=404))
    static.add_file_to_dictionary("/static/app.css", str(file))
    file.write_text("a {} b {}")
    response = static(RequestFactory().get("/static/app.css"))
    assert isinstance(response, HttpResponse)
    assert response.content == b"a {} b {}"
    assert response["Content-Length"] == "9"


def test_the_header_of_a_head_request_has_the_length_of_the_file(
    tmp_path: Path,
) -> None:
    file = tmp_path / "app.css"
    file.write_text("a {}")
    static = StaticFiles(lambda _: HttpResponse(status=404))
    static.add_file_to_dictionary("/static/app.css", str(file))
    response = static(RequestFactory().head("/static/app.css"))
    assert response["Content-Length"] == "4"
