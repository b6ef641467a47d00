"""Number of foreground pixels of COCO run-length encoded masks, without decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._rle import read_all


def rle_area(rles: Sequence[Any]) -> NDArray[np.int64]:
    """Return the area of each mask.

    Args:
        rles: N dicts as `rle_decode` takes them; their sizes may differ.

    Returns:
        int64 [N], in pixels. A damaged RLE is refused as by `rle_decode`, by its place in the list.
        No CUDA twin: an RLE is text, and adding up its runs is less work than bringing them to a device.
    """
    areas = [runs.counts[1::2].sum(dtype=np.int64) for runs in read_all(rles, "rles")]
    return np.array(areas, np.int64)
