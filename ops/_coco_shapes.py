"""Boxes or masks, found and true, as COCO's matching takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ops._check import host_array
from ops._coco_cells import Cells
from ops._rle import Runs, read_all
from ops.rle_iou import iou_of_runs, same_size


class Shapes(NamedTuple):
    """``boxes`` float64 [N, 4] xywh, or none of them and the ``runs`` of N masks; ``areas`` float64 [N]."""

    boxes: NDArray[np.float64]
    runs: list[Runs] | None
    areas: NDArray[np.float64]

    @property
    def kind(self) -> str:
        return "boxes" if self.runs is None else "masks"


def read_shapes(value: Any, areas: Any, name: str, areas_name: str) -> Shapes:
    """Check boxes or a list of RLEs, and the areas that are given beside them."""
    runs = None
    if isinstance(value, list | tuple | Mapping):
        runs, boxes = read_all(value, name), np.empty((0, 4))
    else:
        boxes = host_array(value, name, np.float64, ("N", 4))
    if areas is not None:
        own = host_array(areas, areas_name, np.float64, (len(boxes) if runs is None else len(runs),))
    elif runs is None:
        own = boxes[:, 2] * boxes[:, 3]
    else:
        own = np.array([mask.counts[1::2].sum(dtype=np.int64) for mask in runs], np.float64)
    return Shapes(boxes, runs, own)


def same_kind(found: Shapes, true: Shapes) -> None:
    """Raise ``TypeError`` where one is boxes and the other masks."""
    if found.kind != true.kind:
        raise TypeError(
            f"found and truths: expected both as float64 boxes [N, 4] or both as lists of RLEs,"
            f" got {found.kind} and {true.kind}"
        )


class Overlaps(NamedTuple):
    """IoUs of masks: those of cell c stand row by row from ``starts[c]`` on. Empty for boxes, which need no list."""

    ious: NDArray[np.float64]
    starts: NDArray[np.int64]


def mask_overlaps(found: Shapes, true: Shapes, crowd: NDArray[np.bool_], cells: Cells) -> Overlaps:
    """Return the IoUs of the masks of each cell, or nothing for boxes."""
    if found.runs is None or true.runs is None:
        return Overlaps(np.empty(0), np.empty(0, np.int64))
    starts, total, blocks = np.zeros(len(cells.cells), np.int64), 0, [np.empty(0)]
    for c in cells.used():
        first, count, true_first, true_count = cells.cells[c].tolist()
        rows, true_rows = cells.rows[first : first + count], cells.truth_rows[true_first : true_first + true_count]
        here, there = [found.runs[i] for i in rows], [true.runs[i] for i in true_rows]
        same_size(
            [(f"truths[{i}]", runs) for i, runs in zip(true_rows, there, strict=True)]
            + [(f"found[{i}]", runs) for i, runs in zip(rows, here, strict=True)]
        )
        blocks.append(iou_of_runs(here, there, crowd[true_rows]).ravel())
        starts[c] = total
        total += blocks[-1].size
    return Overlaps(np.concatenate(blocks), starts)
