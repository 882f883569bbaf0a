"""The error of a failed run: exception class, message, and the place in the author's code.

Class and place are read from the stored traceback, so that runs of any age have them.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.engine.error_codes import CODES
from workflows.pages.redaction import is_redacted

if TYPE_CHECKING:
    from workflows.models import Attempt, Run

BETWEEN = re.compile(
    r"\n\n(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n\n"
)
FRAME = re.compile(r'^  File "([^"\n]+)", line (\d+), in (.+)$', re.MULTILINE)
RAISED = re.compile(r"^([A-Za-z_][\w.]*)(?::|$)", re.MULTILINE)
MAX_CHARS = 200_000  # of a traceback that is searched
OWN_PARTS = 2  # of a path outside the project that are shown
WRAPPERS = "workflows.engine.errors."
MACHINERY = tuple(
    str(Path(settings.BASE_DIR) / "workflows" / name)
    for name in ("engine", "execution", "runtime", "infra", "agents", "documents")
)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib")})


@dataclass(frozen=True, slots=True)
class RunError:
    """What the error card shows of a failed attempt."""

    message: str
    kind: str = ""  # the class of the exception; "" if it is unknown
    place: str = ""  # file and line of the author's code: `invoices/workflows.py:41`
    function: str = ""  # at that place
    node: str = ""
    step: int | None = None  # its number
    code: str = ""
    attempt: int = 0
    worker: str = ""
    traceback: str = ""

    @property
    def cause(self) -> str:
        """The error code in words, for an error of the run itself."""
        text = CODES.get(self.code, "")
        return text[:1].upper() + text[1:]


def error_of(run: Run, failed: Attempt | None, step: int | None) -> RunError:
    """Return the error of a failed run; `failed` is its last attempt, if that is stored.

    A redacted run has the node and the code only.
    """
    text = failed.traceback[:MAX_CHARS] if failed else ""
    kind, place, function = ("", "", "") if is_redacted(run) else read_traceback(text)
    return RunError(
        message=_without_prefix(run),
        kind=kind,
        place=place,
        function=function,
        node=run.error_node,
        step=step,
        code=run.error_code,
        attempt=failed.number if failed else run.attempt,
        worker=failed.worker if failed else run.worker,
        traceback=text,
    )


def _without_prefix(run: Run) -> str:
    """Return the message without node and code, which stand beside it."""
    prefix = f"At “{run.error_node}”: {CODES.get(run.error_code, run.error_code)}: "
    return run.error_message.removeprefix(prefix)


def read_traceback(text: str) -> tuple[str, str, str]:
    """Return class, place and function of the author's error in a formatted traceback.

    The error is the last one that the engine has not raised itself; the place is its
    innermost frame outside of engine and libraries. Unknown parts are "".
    """
    for block in reversed(BETWEEN.split(text)):
        raised = RAISED.search(block)  # all lines before it are indented
        if raised is None or raised[1].startswith(WRAPPERS):
            continue
        for frame in reversed([*FRAME.finditer(block, 0, raised.start())]):
            if not frame[1].startswith((*MACHINERY, *LIBRARIES, "<")):
                return raised[1], f"{_shown(frame[1])}:{frame[2]}", frame[3]
        return raised[1], "", ""
    return "", "", ""


def _shown(path: str) -> str:
    """Return a path within the project, or the end of another one."""
    file, root = Path(path), Path(settings.BASE_DIR)
    if file.is_relative_to(root):
        return str(file.relative_to(root))
    return str(Path(*file.parts[-OWN_PARTS:]))
