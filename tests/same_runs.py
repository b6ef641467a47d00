"""Whether two trainings ended the same, bit for bit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

TIMES = ("seconds", "pictures_per_second")


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The leaves of a checkpoint by their path."""
    if isinstance(value, dict):
        return {k: v for key, part in value.items() for k, v in flat(part, f"{name}.{key}").items()}
    if isinstance(value, list | tuple):
        return {k: v for key, part in enumerate(value) for k, v in flat(part, f"{name}.{key}").items()}
    return {name: value}


def same_end(a: Path, b: Path) -> None:
    """Fail unless both runs have the same checkpoints (but for bookkeeping) and the same rows in results.csv."""
    for name in ("last", "best"):
        ends = []
        for run in (a, b):
            state = torch.load(run / f"checkpoints/{name}.ckpt", map_location="cpu", weights_only=True)
            ends.append(flat({key: state[key] for key in state if key not in ("callbacks", "loops")}))
        assert ends[0].keys() == ends[1].keys()
        for key, value in ends[0].items():
            equal = torch.equal(value, ends[1][key]) if isinstance(value, torch.Tensor) else value == ends[1][key]
            assert equal, key
    assert rows(a) == rows(b)


def rows(run: Path) -> list[dict[str, str]]:
    """What results.csv says, but for the time it took."""
    with (run / "results.csv").open(newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
