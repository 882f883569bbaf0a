"""Errors of the command line: a sentence and an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import httpx

FAILED, BAD_INPUT, WAITING, CANCELLED, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 130
EXIT_CODES: Final = {
    "completed": 0,
    "failed": FAILED,
    "waiting": WAITING,
    "cancelled": CANCELLED,
}
"""Exit codes by status of a run, as those of `manage.py run_workflow`."""
UNAUTHORIZED: Final = 401
SERVER_ERROR: Final = 500


class Failure(Exception):
    """The command cannot be executed; its text is a sentence for people."""

    def __init__(
        self, text: str, code: int = BAD_INPUT, problem: dict[str, Any] | None = None
    ) -> None:
        """`problem` has the problem details of the server, if it sent any."""
        super().__init__(text)
        self.code = code
        self.problem = problem


def failure_of(response: httpx.Response) -> Failure:
    """Return the error that a response reports, with the messages of its fields."""
    if response.status_code == UNAUTHORIZED:
        return Failure(
            "The server refused the token: it is unknown, expired or revoked. Create one on"
            " the page “API tokens” and run `signalbox login` again."
        )
    code = UNREACHABLE if response.status_code >= SERVER_ERROR else BAD_INPUT
    try:
        problem = response.json()
        text = str(problem["detail"])
        errors = [(one["field"], one["message"]) for one in problem.get("errors", ())]
    except (ValueError, KeyError, TypeError):
        reason = f"{response.status_code} {response.reason_phrase}".strip()
        return Failure(f"The server responded with {reason}. Is the URL right?", code)
    lines = [f"  {name}: {message}" for name, message in errors]
    return Failure("\n".join([text, *lines]), code, problem)
