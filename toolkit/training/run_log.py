"""The log of a training: to ``train.log``, and to standard error where nobody else takes it."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from types import TracebackType

from toolkit.errors import UserError

log = logging.getLogger("toolkit")


class LogFile(logging.FileHandler):
    """A log file; that it cannot be written is raised, where logging would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return super().handleError(record)
        error.filename = self.baseFilename
        raise error


class log_to:  # noqa: N801  # reads as a verb in `with`
    """Send the toolkit's log to a file and to standard error while the block runs; the file is told what ended it."""

    def __init__(self, path: Path) -> None:
        stamped = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
        self._file = LogFile(path, encoding="utf-8")
        self._handlers: list[logging.Handler] = [self._file]
        if not any(isinstance(h, logging.StreamHandler) for h in log.handlers):
            self._handlers.append(logging.StreamHandler(sys.stderr))
        for handler in self._handlers:
            handler.setFormatter(stamped)

    def __enter__(self) -> None:
        self._level = log.level
        log.setLevel(logging.INFO)
        for handler in self._handlers:
            log.addHandler(handler)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        log.setLevel(self._level)
        with contextlib.suppress(OSError):  # a full disk has been told by now
            if isinstance(error, UserError):  # the command line prints it; here it stands for those who look later
                self._file.emit(log.makeRecord(log.name, logging.ERROR, "", 0, "error: %s", (error,), None))
        for handler in self._handlers:
            log.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()
