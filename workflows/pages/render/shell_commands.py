"""A launch as a command line: of curl, and of `signalbox`.

URL and token are variables of the shell, so that no secret is part of a command. Values are
quoted for POSIX shells. Control characters, invisible ones and those that change the
direction of text are escaped in JSON: what is pasted is what is shown.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

    from workflows.models import Run

MAX_CHARS: Final = 20_000  # of a command; Linux accepts 128 KiB in an argument


@dataclass(frozen=True, slots=True)
class LaunchCommands:
    """The commands that launch a run; both are "" if they would be too long."""

    curl: str
    signalbox: str

    @classmethod
    def of(  # noqa: PLR0913 - options of a launch
        cls,
        workflow: str,
        params: Mapping[str, Any],
        *,
        profile: str | None = None,
        priority: int = 0,
        deadline: dt.timedelta | None = None,
        key: str = "",
    ) -> LaunchCommands:
        """Return the commands of a launch with these options."""
        options = {"profile": profile, "priority": priority}
        given = {name: value for name, value in options.items() if value}
        if profile == "":
            given["profile"] = ""
        seconds = deadline.total_seconds() if deadline else None
        limits = {"deadline_seconds": seconds} if seconds else {}
        body = json_text({"params": params, **given, **limits})
        curl = [
            "curl",
            f'"$SIGNALBOX_URL/api/v1/workflows/{quote(workflow, safe="")}/runs"',
            '-H "Authorization: Bearer $SIGNALBOX_TOKEN"',
            '-H "Content-Type: application/json"',
            *([f"-H {shlex.quote(f'Idempotency-Key: {key}')}"] if key else []),
            f"--data-raw {shlex.quote(body)}",
        ]
        words = ["signalbox", "launch", workflow, *_params(params)]
        for name, value in given.items():
            words += [f"--{name}", str(value)]
        words += ["--deadline", f"{seconds:.0f}"] if seconds else []
        words += ["--key", key] if key else []
        found = cls(" ".join(curl), shlex.join(words))
        is_short = max(len(found.curl), len(found.signalbox)) <= MAX_CHARS
        return found if is_short else cls("", "")

    @classmethod
    def of_run(cls, run: Run) -> LaunchCommands:
        """Return the commands that launch a run with the params of another one."""
        options: dict[str, Any] = {"priority": run.priority}
        return cls.of(
            run.workflow_name, run.params, profile=run.profile_name or None, **options
        )


def json_text(value: Any) -> str:
    """Return a value as JSON of printable characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)


def _params(params: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of the params; as one object if a name can't be an option."""
    if any(not name or "=" in name or not name.isprintable() for name in params):
        yield from ("--params", json_text(params))
        return
    for name, value in params.items():
        yield from ("--param", f"{name}={_value(value)}")


def _value(value: Any) -> str:
    """Return a value as `signalbox launch --param` reads it: JSON, or else text."""
    if isinstance(value, str) and value.isprintable() and not _is_json(value):
        return value
    return json_text(value)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
