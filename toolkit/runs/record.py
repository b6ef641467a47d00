"""What one run directory tells of itself. Runs from before a part was recorded tell less, and are asked the same."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.config import yaml_text
from toolkit.data.fingerprint import Picture, read_fingerprint
from toolkit.errors import UserError
from toolkit.training.run_folder import CONFIG, DATA, LOCK, RECORD, Run


@dataclass(frozen=True)
class Record:
    """The files of a run, read when they are asked for; an empty answer stands for a file that is not there."""

    run: Run

    def __str__(self) -> str:
        return str(self.run)

    @cached_property
    def written(self) -> dict[str, Any]:
        """The config as the run wrote it down, defaults filled in; ``UserError`` where it is no YAML."""
        path = self.run.path / CONFIG
        return yaml_text.parse(yaml_text.read_text(path, str(path)), str(path))[0]

    @cached_property
    def ending(self) -> dict[str, Any]:
        """``run.json``: seed, device, threads, start; once it has ended, also steps and the hashes of the weights."""
        return self._json(RECORD)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """``environment.json``."""
        return self._json("environment.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``."""
        return self._json("metrics.json")

    @cached_property
    def pictures(self) -> list[Picture] | None:
        """``data.csv``: what it was trained and validated on; None where the run kept none."""
        path = self.run.path / DATA
        return read_fingerprint(path) if path.is_file() else None

    @cached_property
    def weights(self) -> dict[str, dict[str, Any]]:
        """Steps and SHA-256 of the best and last checkpoint, as recorded, or else computed where torch is installed."""
        recorded: dict[str, dict[str, Any]] = self.ending.get("weights", {})
        if recorded or importlib.util.find_spec("torch") is None:
            return recorded
        from toolkit.training.record import checkpoint_hashes

        return checkpoint_hashes(self.run)

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``stopped``, or where the run kept enough to go on ``stopped, resumable``."""
        if _is_locked(self.run.path / LOCK):
            return "running"
        if self.ending.get("ended") or (not self.ending and self.run.bundle.is_dir()):
            return "finished"
        return "stopped, resumable" if self.ending else "stopped"

    def _json(self, name: str) -> dict[str, Any]:
        path = self.run.path / name
        if not path.is_file():
            return {}
        try:
            value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: is not the JSON that a training writes ({error}); remove it") from None
        return value


def _is_locked(path: Path) -> bool:
    """Whether the process that trains holds the lock; the system lets go of it however the process ends."""
    if not path.is_file() or importlib.util.find_spec("fcntl") is None:
        return False
    import fcntl

    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
