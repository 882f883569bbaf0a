"""Format log records as single lines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from workflows.engine.errors import describe
from workflows.execution import masking
from workflows.infra import log_context, outages, tracing

REFUSED = "_signalbox_host_refused"  # of a request
LINE = "{asctime} {levelname:<7} {name}: {where}{message}"


class LineFormatter(logging.Formatter):
    """Formats a record as one line, in UTC, followed by its traceback, if any."""

    def __init__(self) -> None:
        super().__init__(LINE, style="{")

    def formatTime(  # noqa: N802 - logging's name
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Return the time in UTC, to the millisecond."""
        moment = datetime.fromtimestamp(record.created, UTC)
        return (
            moment.strftime(datefmt)
            if datefmt
            else moment.isoformat("T", "milliseconds")
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one, without a run's secrets."""
        line = super().format(record)
        masker = masking.OF_RUN.get()
        return line if masker is None else masker.text(line)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - likewise
        """Return the line, with line breaks in the message escaped."""
        where = getattr(record, "where", "")
        record.where = f"[{where}] " if where else ""
        record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)


class JsonFormatter(LineFormatter):
    """Formats a record as one JSON object on a line, without a run's secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; names without a value are left out."""
        trace_id, span_id = tracing.current_ids()
        facts = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "run": log_context.RUN.get(),
            "node": log_context.NODE.get(),
            "trace_id": trace_id,
            "span_id": span_id,
            "exception": self._exception_of(record),
        }
        masker = masking.OF_RUN.get()
        if masker is not None:  # before the values are escaped
            facts = {name: masker.text(value) for name, value in facts.items()}
        given = {name: value for name, value in facts.items() if value}
        return json.dumps(given, ensure_ascii=False)

    def _exception_of(self, record: logging.LogRecord) -> str:
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        return record.exc_text or ""


class RunContextFilter(logging.Filter):
    """Adds the run and node in whose context a line was logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, and add its context."""
        record.where = log_context.here()
        return True


class DisallowedHostsInALine(logging.Filter):
    """One line for a request with a foreign host name, without a traceback.

    Such requests come from scanners. Django logs the error and then the response.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record of the error; drop that of the response."""
        request = getattr(record, "request", None)
        if record.name == "django.security.DisallowedHost":
            record.exc_info = record.exc_text = None
            record.msg, record.args = "%.300s", (record.getMessage(),)
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            setattr(request, REFUSED, True)
            return True
        return not (record.name == "django.request" and hasattr(request, REFUSED))


class OutagesInALine(logging.Filter):
    """Omits the traceback of errors caused by an outage of the database or Redis.

    During an outage every request fails, and the position in the code is of no use.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, shortened if its error is an outage."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and outages.of(error):
            record.exc_info = record.exc_text = None
            record.msg, record.args = f"{record.getMessage()} (%s)", (describe(error),)
        return True
