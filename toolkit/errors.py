"""The errors that a user can mend, each one sentence that says what to do.

Anything else that is raised is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class UserError(Exception):
    """A mistake in what the user gave: a file, a key, a picture. The command line prints it and exits with code 2."""


class ToldElsewhere(UserError):
    """A mistake that another process of the same training tells; this one ends without a word."""


class PictureError(UserError):
    """One picture cannot be used; a batch names it and goes on with the others."""


class PictureTooLarge(PictureError):
    """A picture has more pixels than the stated limit, as its header says; nothing was decoded."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a data set: the file as the user would find it, and a sentence."""

    file: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


class DataFaults(UserError):
    """Everything that is wrong with a data set, found in one pass and listed by file."""

    SHOWN = 50

    def __init__(self, faults: Sequence[Fault], hint: str = "") -> None:
        self.faults = sorted(faults, key=lambda fault: fault.file)
        lines = [str(fault) for fault in self.faults[: self.SHOWN]]
        if len(self.faults) > self.SHOWN:
            lines.append(f"... and {len(self.faults) - self.SHOWN} more")
        noun = "fault" if len(self.faults) == 1 else "faults"
        head = f"{len(self.faults)} {noun} in the data" + (f"; {hint}" if hint else "")
        super().__init__("\n  ".join([head + ":", *lines]))


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of ``known``, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
