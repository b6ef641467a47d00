"""HD95 of outlines against SciPy's distance transform and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from toolkit.evaluation.outlines import Outlines, hd95


def square(top: int, left: int, side: int, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (a, b)]
    to = [ndimage.distance_transform_edt(~edge) for edge in edges]
    return float(max(np.percentile(to[1][edges[0]], 95), np.percentile(to[0][edges[1]], 95)))


# Masks, and how far their outlines lie apart.
BY_HAND = [
    (square(5, 5, 10), square(5, 5, 10), 0.0),
    (square(5, 5, 1), square(8, 9, 1), 5.0),  # two points, 3 and 4 away
    (square(5, 5, 30), square(6, 6, 28), 1.0),  # 1 all around, but for the 4 corners of 116 at the root of 2
    (square(5, 5, 3), np.zeros((40, 40), bool), np.inf),
]


@pytest.mark.parametrize(("a", "b", "expected"), BY_HAND)
def test_by_hand(a: np.ndarray, b: np.ndarray, expected: float) -> None:
    assert hd95(a, b) == hd95(b, a) == expected


@pytest.mark.parametrize("seed", range(5))
def test_against_scipy(seed: int) -> None:
    rough = np.random.default_rng(seed).normal(size=(2, 31, 47))
    a, b = (ndimage.gaussian_filter(each, 3) > 0 for each in rough)
    assert hd95(a, b) == pytest.approx(by_scipy(a, b), rel=1e-12)


def test_regions_are_measured_over_pictures() -> None:
    outlines = Outlines({"lesion": [2], "lung": [1, 2], "airway": [3]})
    truth = np.zeros((40, 40), np.uint8)
    truth[square(5, 5, 10)] = 1
    truth[square(8, 8, 1)] = 2
    moved = np.roll(truth, 3, axis=1)
    outlines.add(truth, moved, 255)  # everything 3 to the right
    outlines.add(truth, np.where(truth == 2, 1, truth).astype(np.uint8), 255)  # a lesion taken for lung
    hidden = np.where(truth == 2, 255, truth).astype(np.uint8)
    outlines.add(hidden, truth, 255)  # where nobody knows the truth, a lesion is no false alarm
    assert outlines.measured() == {
        "lesion": {"hd95": 3.0, "pictures": 1, "one_sided": 1},
        "lung": {"hd95": 0.0, "pictures": 3, "one_sided": 0},  # the median of 3, 0 and 0
        "airway": {"hd95": None, "pictures": 0, "one_sided": 0},
    }
