"""Percentile bootstrap over groups of pictures: how far a number would move with other pictures of the same kind.

Pictures of one group (a patient, a scene) are drawn together, because they resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS, SEED = 200, 0


def number_groups(groups: Sequence[str] | None, pictures: int) -> NDArray[np.int64]:
    """Which group each picture is in, int64 [pictures], numbered from 0; a picture without a name is a group alone."""
    if groups is None:
        return np.arange(pictures)
    if len(groups) != pictures:
        raise ValueError(f"groups: expected {pictures} names, one a picture, got {len(groups)}")
    keys = [(name, -1) if name else ("", index) for index, name in enumerate(groups)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([numbers[key] for key in keys], np.int64)


def draw_groups(groups: int, rounds: int = ROUNDS, seed: int = SEED) -> NDArray[np.int64]:
    """How often each group is drawn, int64 [rounds, groups]: a round draws as many as there are, with replacement.

    One group alone says nothing of others: no rounds then, and so no intervals, rather than intervals of no width.
    """
    rounds = rounds if groups > 1 else 0
    drawn = np.random.default_rng(seed).integers(groups, size=(rounds, groups))
    offsets = np.arange(rounds)[:, None] * groups
    return np.bincount((drawn + offsets).ravel(), minlength=rounds * groups).reshape(rounds, groups)


def interval(values: NDArray[np.float64]) -> list[float] | None:
    """``[low, high]``, the middle 95 % of the rounds [R] that have a number (not NaN); None where none has."""
    known = values[~np.isnan(values)]
    return np.percentile(known, [2.5, 97.5]).tolist() if known.size else None


def intervals(names: Sequence[str], **values: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """``{name: {number: [low, high]}}`` from the rounds [R, C] of each number."""
    return {name: {key: interval(rounds[:, i]) for key, rounds in values.items()} for i, name in enumerate(names)}


def method(groups: int, pictures: int) -> str:
    """What was done, for ``metrics.json``."""
    if groups < 2:
        return "no intervals: they need two pictures, or two groups of pictures where groups are told"
    over = "pictures" if groups == pictures else f"{groups} groups of pictures"
    return f"95 % percentile bootstrap over {over}, {ROUNDS} rounds, seed {SEED}"


def ratio(part: Any, whole: Any) -> NDArray[np.float64]:
    """``part / whole``, and NaN where there is nothing to divide by."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    quotient = np.full(np.broadcast(part, whole).shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean along the last axis of the numbers that are known; NaN where none is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def plain(value: Any) -> float | None:
    """A float for JSON; None for NaN."""
    return None if np.isnan(value) else float(value)
