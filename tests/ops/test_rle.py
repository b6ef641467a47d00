"""The compressed string of run lengths against pycocotools, for runs far longer than those of a test's mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from ops._rle import make_rle, read_runs

# pycocotools reserves six characters a run and writes the end of the string behind the last: where all runs need six,
# it writes past its memory. Differences below 2**24 need five.
COUNTS = st.lists(st.one_of(st.integers(0, 40), st.integers(0, 2**24 - 1)), min_size=1, max_size=7)


@settings(max_examples=300, deadline=None)
@given(COUNTS)
def test_string_as_pycocotools(counts: list[int]) -> None:
    size = [1, sum(counts)]
    rle = make_rle(np.array(counts, np.uint32), *size)
    assert rle == {
        "size": size,
        "counts": coco.frPyObjects({"size": size, "counts": counts}, *size)["counts"].decode("ascii"),
    }
    assert read_runs(rle, "rle").counts.tolist() == counts


@pytest.mark.parametrize(
    ("counts", "characters"),
    [
        ([2**32 - 1], 7),
        ([0, 2**32 - 1], 8),
        ([0, 0, 2**32 - 1, 0], 10),
        ([1, 2**31, 2**31 - 2, 0, 0, 0], 30),  # the fourth and fifth number are negative differences
        ([0, 2**30 - 1, 2**31, 2**30], 16),  # the last is a difference of 1
    ],
)
def test_the_longest_runs_come_back(counts: list[int], characters: int) -> None:
    """Differences of 32 bits and a sign take seven characters."""
    rle = make_rle(np.array(counts, np.uint32), 1, 2**32 - 1)
    assert len(rle["counts"]) == characters
    assert read_runs(rle, "rle").counts.tolist() == counts


def test_counts_are_of_one_type_whatever_came() -> None:
    for counts in ("57", b"57", bytearray(b"57"), [5, 7], np.array([5, 7], np.int8)):
        runs = read_runs({"size": (np.int64(3), 4), "counts": counts}, "rle")
        assert (runs.counts.dtype, runs.counts.flags.c_contiguous) == (np.uint32, True)
        assert (runs.height, runs.width) == (3, 4)
