"""Where the toolkit keeps what it would otherwise find out again; it may be removed at any time."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """Return the folder for one kind of thing, made if need be: ``cv-toolkit/KIND`` in $XDG_CACHE_HOME or ~/.cache.

    Raises ``OSError`` where it cannot be made.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # A relative path does not count, says the XDG Base Directory Specification.
    folder = (given if given.is_absolute() else Path("~/.cache").expanduser()) / "cv-toolkit" / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder
