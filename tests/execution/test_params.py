"""Params are checked before anything is queued; errors are readable."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from tests.support.factories import make_document
from workflows.errors import InvalidParams
from workflows.models import Run
from workflows.system import system

pytestmark = pytest.mark.django_db

NAME = "classify-document"


def test_a_misspelt_parameter_is_refused_with_the_valid_names() -> None:
    document = make_document()
    with pytest.raises(InvalidParams, match="It takes document, threshold"):
        system.execute(NAME, {"document": str(document.pk), "treshold": 1})
    assert not Run.objects.exists()


def test_a_missing_document_prevents_the_launch() -> None:
    with pytest.raises(InvalidParams) as refused:
        system.execute(NAME, {"document": str(uuid.uuid4())})
    assert "There is no document" in refused.value.errors["document"][0]
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "given",
    [
        "threshold=" + "[" * 5_000,
        "threshold=" + "9" * 5_000,
        "document=@/nowhere/at/all.pdf",
        "document",
        "document=01890000-0000-7000-8000-000000000000",
    ],
)
def test_bad_input_to_the_command_is_a_sentence_and_exit_code_2(given: str) -> None:
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "run_workflow", NAME, param=[given], json=True, stdout=out, stderr=err
        )
    assert ended.value.code == 2
    assert json.loads(out.getvalue())["error"]
    assert "Errno" not in err.getvalue()
    assert not Run.objects.exists()


def test_a_form_that_is_sent_twice_launches_one_run(
    sign_in: Callable[[User], Client], alice: User
) -> None:
    client = sign_in(alice)
    sent = {
        "document": str(make_document().pk),
        "threshold": "0.8",
        "launch-once": "abc",
    }
    first = client.post(f"/workflows/{NAME}/", sent)
    second = client.post(f"/workflows/{NAME}/", sent)
    assert (first.status_code, second.url) == (302, first.url)  # type: ignore[attr-defined]
    client.post(f"/workflows/{NAME}/", {**sent, "threshold": "0.9"})
    assert Run.objects.count() == 2
