"""The service's log: one line an event on stderr, as text for people or as JSON for machines.

What a request carried (pictures, file names, query, headers) is never logged; its id, path and outcome are.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from toolkit.errors import UserError, suggest

LogFormat = Literal["text", "json"]
FORMATS: tuple[LogFormat, ...] = ("text", "json")
# The record's attribute that holds the fields of an event.
_FIELDS = "fields"
_LOGGERS = ("serve", "uvicorn")


def fields(**values: object) -> Mapping[str, Any]:
    """The ``extra`` of a log call: what the JSON line has besides its message."""
    return {_FIELDS: values}


class Gathered(logging.Handler):
    """Writes to ``stream`` from a thread what came within a twentieth of a second; a warning and worse immediately.

    A write of its own for each request lets the threads that predict take the interpreter from the event loop each
    time. Nothing is lost but by SIGKILL, or where nobody reads ``stream`` for long.
    """

    _SECONDS = 0.05
    _MOST_LINES = 10_000

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._records: deque[logging.LogRecord] = deque(maxlen=self._MOST_LINES)  # safe among threads
        self._some = threading.Event()
        self._writing = threading.Lock()
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)
        if record.levelno >= logging.WARNING:
            self.flush()
        elif not self._some.is_set():
            self._some.set()

    def flush(self) -> None:
        """Write what is left; Python calls this at its end, too."""
        with self._writing, suppress(OSError, ValueError):  # a stream that is gone has nobody who could be told
            self._stream.write("".join(self._line(self._records.popleft()) for _ in range(len(self._records))))
            self._stream.flush()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return f"{self.format(record)}\n"
        except Exception:  # logging tells of it, and the thread must go on
            self.handleError(record)
            return ""

    def _write(self) -> None:
        while self._some.wait():
            time.sleep(self._SECONDS)
            self._some.clear()
            self.flush()


class JsonLines(logging.Formatter):
    """Each record as one JSON object on one line: time (UTC, ISO 8601), level, logger, message, the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        line |= getattr(record, _FIELDS, {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def check_format(form: str) -> LogFormat:
    """``form`` as a `LogFormat`; UserError for another word."""
    if form not in FORMATS:
        raise UserError(f"log format {form!r}: expected one of {', '.join(FORMATS)}{suggest(form, FORMATS)}")
    return form


def log_to_stderr(form: LogFormat) -> None:
    """Show the log of the service and of its web server: as JSON in any case, as text where nobody set up another."""
    handler = Gathered(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if form == "json" or not (logging.getLogger().handlers or logger.handlers):
            logger.handlers[:] = [handler]
            logger.propagate = False
    logging.getLogger("serve").setLevel(logging.INFO)
