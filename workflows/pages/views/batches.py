"""Launch many: rows of CSV or JSON Lines, checked, then launched as a bulk operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.conf import settings
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from workflows import bulk
from workflows.access import permissions
from workflows.errors import InvalidBatch, InvalidParams
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.forms.batch import (
    KINDS,
    UNKNOWN,
    Batch,
    kind_of,
    read_batch,
)
from workflows.pages.forms.launch_form import PREFIX, MoreOptionsForm
from workflows.pages.forms.schedules import profile_form, profile_of
from workflows.pages.forms.webhooks import declared_params
from workflows.pages.lists import bulk_operations
from workflows.pages.lists.export import KINDS as FORMATS
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID
from workflows.pages.signed_ids import new_signed_id, signed_id
from workflows.pages.streaming import streamed
from workflows.pages.views.workflows import params_schema
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse, StreamingHttpResponse

    from workflows.pages.requests import HtmxRequest
    from workflows.registry import AnyWorkflow

ONCE: Final = f"{PREFIX}-batch"  # makes a form that is sent twice start one batch
ROWS, KIND, FILE = "rows", "kind", "file"  # names of inputs
COLUMN: Final = "column-"  # before the number of a column
MAX_COLUMNS: Final = 200


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("launch")
def launch_many(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the form; on POST check the rows, and launch them once confirmed."""
    workflow = system.find_workflow(name, by=request.user)
    permissions.require(
        permissions.can_launch(request.user, name), "launch this workflow"
    )
    page = _Page(request, workflow)
    if request.method == "POST" and page.is_ready:
        job = page.launch()
        if job is not None:
            return redirect("bulk-job", job_id=job.pk)
    status = INVALID if page.is_invalid else 200
    return render(request, "workflows/batch.html", page.context(), status=status)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the file and the parameter that it is read as."""

    number: int
    name: str
    path: str  # "" = ignored, UNKNOWN = to be chosen


class _Page:
    """The form as sent, with the result of the check."""

    def __init__(self, request: HtmxRequest, workflow: AnyWorkflow) -> None:
        self.request, self.workflow = request, workflow
        self.schema = params_schema(workflow)
        data = request.POST if request.method == "POST" else None
        sent: dict[str, Any] = {} if data is None else {"data": data}
        self.more = MoreOptionsForm(data=data)
        del self.more.fields["key"]
        self.profile = profile_form(workflow, None, **sent)
        self.error = ""
        self.batch: Batch | None = None
        self.text, self.kind = "", KINDS[0]
        if data is not None:
            self._read()

    def _read(self) -> None:
        data = self._data()
        try:
            self.batch = read_batch(
                self.workflow,
                self.schema,
                data,
                self.kind,
                by=self.request.user,
                mapping=self._mapping(),
            )
        except InvalidBatch as error:
            self.error = str(error)

    def _data(self) -> bytes:
        """Return the rows: of the uploaded file, else of the text."""
        file = self.request.FILES.get(FILE)
        kind = self.request.POST.get(KIND, "")
        self.kind = "jsonl" if kind == "jsonl" else "csv"
        if file is None:
            self.text = self.request.POST.get(ROWS, "")
            return self.text.encode(errors="replace")
        self.kind = kind_of(file.name or "", file.content_type or "")
        data: bytes = file.read(settings.MAX_BATCH_BYTES + 1)
        self.text = data.decode("utf-8-sig", errors="replace")
        return data

    def _mapping(self) -> dict[str, str]:
        """Return the columns whose parameter was chosen."""
        post = self.request.POST
        names = [f"{COLUMN}{number}" for number in range(MAX_COLUMNS)]
        return {
            post[name]: post.get(f"{name}-path", "")
            for name in names
            if name in post
            and FILE not in self.request.FILES
            and post.get(f"{name}-path") != UNKNOWN
        }

    @property
    def is_invalid(self) -> bool:
        """Return whether what was sent cannot be launched."""
        has_errors = bool(self.batch and self.batch.errors)
        return bool(
            self.error or has_errors or (self.more.is_bound and self.more.errors)
        )

    @property
    def is_ready(self) -> bool:
        """Return whether the rows are valid, were shown, and are confirmed."""
        valid = [one.is_valid() for one in (self.more, self.profile) if one]
        is_confirmed = "confirmed" in self.request.POST
        return all(valid) and is_confirmed and not self.is_invalid

    def launch(self) -> Any:
        """Start the batch; None, with an error, if it is refused."""
        assert self.batch is not None  # noqa: S101 - for the type checker
        try:
            return bulk.start_launches(
                self.workflow.name,
                self.batch.params,
                by=self.request.user,
                profile=profile_of(self.profile),
                priority=self.more.cleaned_data["priority"] or 0,
                job_id=signed_id(
                    self.request.POST.get(ONCE, ""), self.request.user, ONCE
                ),
            )
        except InvalidParams as error:
            self.error = str(error)
        return None

    def context(self) -> dict[str, Any]:
        """Return the context of the template."""
        is_valid = self.batch is not None and not self.is_invalid
        once = self.request.POST.get(ONCE, "") or new_signed_id(self.request.user, ONCE)
        mapping = self.batch.mapping if self.batch else {}
        fits = len(self.text) * 2 < settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        return {
            "workflow": entry(self.workflow),
            "params": list(declared_params(self.schema)),
            "more": self.more,
            "profile": self.profile,
            "error": self.error,
            "batch": self.batch,
            "is_valid": is_valid and fits,
            "is_too_large": is_valid and not fits,
            "columns": [
                _Column(number, name, path)
                for number, (name, path) in enumerate(mapping.items())
            ],
            "text": self.text if fits else "",
            "kind": self.kind,
            "once": once,
            "max_rows": settings.MAX_BATCH_ROWS,
        }


@require_safe
@members_only
@answers_request_errors
def results(request: HtmxRequest, job_id: UUID) -> StreamingHttpResponse:
    """Download the results of a bulk operation as CSV. Raises TooManyDownloads."""
    job = bulk.find(job_id, by=request.user)
    response = streamed(
        request,
        bulk_operations.Results(job, request.user).parts,
        name=f"{job.action}-{timezone.now():%Y-%m-%d-%H%M}-UTC.csv",
        content_type=FORMATS["csv"],
    )
    response["Cache-Control"] = "no-store"
    return response
