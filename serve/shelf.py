"""Opens bundles, and knows those in the folder of ``--models-dir``: what may be loaded while the service runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from toolkit.bundle import is_bundle
from toolkit.errors import UserError, suggest
from toolkit.inference import Model


class Shelf:
    """Bundles by the name of their folder or zip in ``folder`` (None: there are none); ``open`` opens any."""

    def __init__(self, folder: Path | None, open_bundle: Callable[[str | Path], Model]) -> None:
        if folder is not None and not folder.is_dir():
            raise UserError(f"models folder {folder}: there is no such folder; give one that holds bundles")
        self.folder = folder
        self.open = open_bundle

    def names(self) -> list[str]:
        """What lies there now, sorted; hidden entries and links are passed over."""
        if self.folder is None:
            return []
        return sorted(
            path.name
            for path in self.folder.iterdir()
            if not path.name.startswith(".") and not path.is_symlink() and is_bundle(path)
        )

    def load(self, name: str) -> Model:
        """Open and verify the one of that name; UserError for one that is not there or is damaged.

        The name is looked up among `names` and never made a path by itself.
        """
        known = self.names()
        if self.folder is None or name not in known:
            there = ", ".join(known) or "none"
            raise UserError(f"no bundle {name!r} in {self.folder}{suggest(name, known)}; there: {there}")
        return self.open(self.folder / name)
