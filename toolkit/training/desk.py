"""What a loader worker works on, noted where the training can read it should the worker die.

In a process that is no worker nothing is noted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The epoch and index of the sample that is made, and the index of the file opened last. Both indices count from 1,
# so that 0 says that there is none yet.
FIELDS = 3
_row: NDArray[np.int64] | None = None


def take(row: NDArray[np.int64]) -> None:
    """Note from now on into ``row`` [FIELDS]."""
    global _row
    _row = row


def working_on(epoch: int, index: int) -> None:
    """The sample that is made from here on."""
    if _row is not None:
        _row[:] = epoch, index + 1, 0


def opening(index: int) -> None:
    """The picture whose files are read next; a sample may be made of several."""
    if _row is not None:
        _row[2] = index + 1
