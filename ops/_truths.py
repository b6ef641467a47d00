"""The true boxes of a batch, as the assigners take them: those of all pictures, one picture after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._check import whole_number
from ops._cuda import cuda, cuda_kernel
from ops._device import Memory


def picture_starts(counts: Sequence[int], pictures: int, truths: int) -> NDArray[np.int64]:
    """Return int64 [pictures + 1]: where each picture's boxes begin; ``ValueError`` unless the counts fit."""
    try:
        numbers = [whole_number(count, "counts", 0) for count in counts]
    except (TypeError, ValueError):
        numbers = [-1]
    if len(numbers) != pictures or sum(numbers) != truths or min(numbers, default=0) < 0:
        raise ValueError(f"counts: expected {pictures} counts that sum to {truths}, got {counts!r}")
    return np.cumsum([0, *numbers], dtype=np.int64)


def check_classes(memory: Memory, class_ids: Any, classes: int) -> None:
    """Raise ``ValueError`` unless all class ids (int64) are below ``classes``. Reads two numbers off the device."""
    low, high = _bounds(memory, class_ids) if class_ids.size else (0, 0)
    if low < 0 or (high >= classes and class_ids.size):
        raise ValueError(f"class_ids: expected 0..{classes - 1}, got {low}..{high}")


@cuda_kernel("void(Array(int64, 1, 'C', readonly=True), int64[::1])")
def _bounds_twin(class_ids, bounds):  # type: ignore[no-untyped-def]
    """The lowest class and the highest, negated."""
    for t in range(cuda.grid(1), class_ids.size, cuda.gridsize(1)):
        cuda.atomic.min(bounds, 0, class_ids[t])
        cuda.atomic.min(bounds, 1, -class_ids[t])


def _bounds(memory: Memory, class_ids: Any) -> tuple[int, int]:
    if not memory.on_device:
        return int(class_ids.min()), int(class_ids.max())
    bounds = memory.full(2, np.int64, np.iinfo(np.int64).max)
    memory.launch(_bounds_twin, class_ids.size, class_ids, bounds)
    low, negated = memory.numbers(bounds)
    return low, -negated
