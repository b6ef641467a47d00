"""Tiny bundles that differ from a good one in one respect; their hashes are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_bundle import MAKERS, SIDE, WARM, expected_probabilities

from toolkit.bundle import Bundle, write_bundle


def golden_free(bundle: Path, target: Path) -> Path:
    """The bundle without its golden pictures."""
    whole = Bundle.open(bundle)
    files = {name: whole.read(name) for name in whole.names() if not name.startswith("golden/")}
    write_bundle(target, whole.spec, files)
    return target


# A golden answer that the task's network does not give, and what the check says of it.
SPOILT: dict[str, tuple[dict[str, Any], str]] = {
    "detection": ({"scores": [0.5]}, "golden/0.png: expected warm 0.5000 at"),
    "classification": (
        {"probabilities": [0.2, 0.4, 0.4]},
        f"golden/0.png: expected red at 0.2000, found it at {expected_probabilities(WARM)[0]:.4f}; "
        "golden/0.png: expected green, found red",
    ),
    "segmentation": (
        {"masks": [{"class_id": 1, "rle": {"size": [SIDE, SIDE], "counts": [0, SIDE * SIDE]}}]},
        "golden/0.png: 4096 of 4096 pixels of the mask differ",
    ),
}


def spoilt(folder: Path, task: str = "detection") -> Path:
    """A bundle whose golden answers are not what its network says."""
    whole = Bundle.open(MAKERS[task](folder / "good"))
    files = {name: whole.read(name) for name in whole.names()}
    expected = json.loads(files["golden/expected.json"])
    expected["pictures"]["0.png"].update(SPOILT[task][0])
    files["golden/expected.json"] = json.dumps(expected).encode()
    write_bundle(folder / "spoilt", whole.spec, files)
    return folder / "spoilt"
