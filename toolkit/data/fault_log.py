"""Collects what is wrong with a data set, so that a user hears of everything in one go."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import DataFaults, Fault


class FaultLog:
    """Faults in the order found; a fatal one leaves nothing to train on and cannot be skipped."""

    def __init__(self, on_fault: str = "stop") -> None:
        self.skipping = on_fault == "skip"
        self._faults: list[Fault] = []
        self._fatal: list[Fault] = []

    def add(self, file: str, message: str) -> None:
        self._faults.append(Fault(file, message))

    def add_fatal(self, file: str, message: str) -> None:
        self.add(file, message)
        self._fatal.append(self._faults[-1])

    @property
    def fatal(self) -> bool:
        return bool(self._fatal)

    def settle(self) -> tuple[Fault, ...]:
        """Raise ``DataFaults``, or when skipping return what was left out (fatal faults raise there too)."""
        if self.skipping and self._fatal:
            raise DataFaults(self._fatal, hint="data.on_fault: skip cannot go on without these being mended")
        if self._faults and not self.skipping:
            hint = "" if self._fatal else "mend them, or leave them out with data.on_fault: skip"
            raise DataFaults(self._faults, hint=hint)
        return tuple(self._faults)


def shown(path: Path) -> str:
    """The path as a user in the working directory would type it."""
    absolute, here = Path(os.path.abspath(path)), Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
