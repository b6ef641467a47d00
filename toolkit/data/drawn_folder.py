"""A folder that the toolkit draws itself: it appears whole or not at all, is drawn once, and is nobody else's."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.data.fault_log import shown
from toolkit.data.files import is_picture, names_in
from toolkit.errors import UserError

MANIFEST = "drawn.json"


def ensure_drawn(folder: Path, settings: dict[str, Any], pictures: set[str], draw: Callable[[Path], None]) -> None:
    """Leave a complete folder with the same ``settings`` as it is; draw another anew, with ``draw(empty folder)``.

    ``pictures`` are the names of the picture files that make it complete, relative to it. A folder that was not drawn
    by the toolkit, and one that cannot be made, is a ``UserError``.
    """
    if _is_complete(folder, settings, pictures):
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{shown(folder)}: the shapes cannot be drawn here ({error.strerror})") from None
    try:
        drawn = unfinished / "drawn"
        drawn.mkdir()
        draw(drawn)
        (drawn / MANIFEST).write_text(json.dumps(settings), encoding="utf-8")
        with contextlib.suppress(FileNotFoundError):
            folder.rename(unfinished / "replaced")
        _put_in_place(drawn, folder, settings, pictures)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _is_complete(folder: Path, settings: dict[str, Any], pictures: set[str]) -> bool:
    """Whether the folder holds just this set; UserError when it holds something that is not ours to replace."""
    if not folder.exists():
        return False
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if folder.is_dir() and not os.listdir(folder):
            return False
        raise UserError(
            f"{shown(folder)}: exists and was not drawn by the toolkit; name another folder in data.root"
        ) from None
    return bool(found == settings) and {name for name in names_in(folder) if is_picture(name)} == pictures


def _put_in_place(drawn: Path, folder: Path, settings: dict[str, Any], pictures: set[str]) -> None:
    try:
        drawn.rename(folder)
    except OSError:
        # Another process was faster; what it drew is the same.
        if not _is_complete(folder, settings, pictures):
            raise
