"""Tiny bundles that differ from a good one in one respect; their hashes are right."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_bundle import make_tiny_bundle

from toolkit.bundle import Bundle, write_bundle


def golden_free(bundle: Path, target: Path) -> Path:
    """The bundle without its golden pictures."""
    whole = Bundle.open(bundle)
    files = {name: whole.read(name) for name in whole.names() if not name.startswith("golden/")}
    write_bundle(target, whole.spec, files)
    return target


def spoilt(folder: Path) -> Path:
    """A bundle whose golden answers are not what its network says."""
    whole = Bundle.open(make_tiny_bundle(folder / "good"))
    files = {name: whole.read(name) for name in whole.names()}
    expected = json.loads(files["golden/expected.json"])
    expected["pictures"]["0.png"]["scores"] = [0.5]
    files["golden/expected.json"] = json.dumps(expected).encode()
    write_bundle(folder / "spoilt", whole.spec, files)
    return folder / "spoilt"
