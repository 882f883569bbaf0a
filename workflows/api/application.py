"""The API application: routers, authentication, errors and the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ninja import NinjaAPI

from workflows.api import problems
from workflows.api.auth import SessionAuth, TokenAuth
from workflows.api.routes import approvals, history, runs, workflows

if TYPE_CHECKING:
    from ninja.openapi.schema import OpenAPISchema

VERSION: Final = "1.0.0"
DESCRIPTION: Final = """\
Launch, watch and operate runs of workflows, respond to approvals, read the decision history.

Authenticate with an API token: `Authorization: Bearer sbx_…`. A browser session works too;
then unsafe methods need the header `X-CSRFToken`. Errors are problem details (RFC 9457).
Lists are pages: pass `next` as `cursor`. Times are ISO 8601 in UTC.
"""


class Api(NinjaAPI):
    """The API, whose document has the media type of errors."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the OpenAPI document."""
        document = super().get_openapi_schema(**options)
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, response in operation["responses"].items():
                    if int(status) >= 400 and "content" in response:  # noqa: PLR2004
                        content = response["content"]
                        content[problems.CONTENT_TYPE] = content.pop("application/json")
        return document


api = Api(
    title="Signalbox",
    version=VERSION,
    description=DESCRIPTION,
    urls_namespace="api",
    docs_url=None,
    auth=[TokenAuth(), SessionAuth()],
)
problems.install(api)
api.add_router("/workflows", workflows.router)
api.add_router("/runs", runs.router)
api.add_router("/runs", history.router)
api.add_router("/runs", approvals.of_run_router)
api.add_router("/decisions", history.decisions_router)
api.add_router("/approvals", approvals.router)
