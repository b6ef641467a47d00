"""A set with boxes, converted once into each format, for tests that read the files as other tools do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_sets import coco_set

from toolkit.data import Table
from toolkit.data.convert import convert
from toolkit.data.convert_source import open_source


@pytest.fixture
def boxes_in(tmp_path: Path) -> Callable[..., tuple[Table[Any], Path]]:
    """Write the set (see `coco_set`) in a format; the table that it was read into, and the new folder."""

    def write(to: str, **changes: bool) -> tuple[Table[Any], Path]:
        root = coco_set(tmp_path / "set", **changes)
        opened = open_source(str(root), "coco", to, [f"data.splits={root / 'splits.csv'}"])
        convert(opened.table, "detection", to, tmp_path / "out")
        return opened.table, tmp_path / "out"

    return write
