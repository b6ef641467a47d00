"""Dealing groups out: shares, rare classes, whole groups, and how near the best possible it comes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from toolkit.data.stratify import deal


def one_hot(labels: list[int]) -> NDArray[np.float64]:
    return np.eye(max(labels) + 1)[labels]


def misfit(strata: NDArray[np.float64], split_of: NDArray[np.int64], shares: tuple[float, ...]) -> float:
    parts = strata / strata.sum(axis=0)
    return sum(
        float(((parts[split_of == split].sum(axis=0) - share) ** 2 / share).sum())
        for split, share in enumerate(shares)
        if share
    )


def test_every_class_gets_its_share() -> None:
    strata = one_hot([0] * 100 + [1] * 20 + [2] * 7)
    split_of = deal(strata, strata > 0, (0.7, 0.15, 0.15), seed=3)
    counts = [np.bincount(split_of[strata[:, k] > 0], minlength=3).tolist() for k in range(3)]
    assert counts == [[70, 15, 15], [14, 3, 3], [5, 1, 1]]


@pytest.mark.parametrize(
    ("labels", "shares", "expected"),
    [
        # A class of as many groups as splits is in each of them, one of fewer in train first, then val.
        ([0] * 20 + [1, 1], (0.9, 0.1), {0, 1}),
        ([0] * 20 + [1, 1, 1], (0.8, 0.1, 0.1), {0, 1, 2}),
        ([0] * 20 + [1, 1], (0.8, 0.1, 0.1), {0, 1}),
        ([0] * 20 + [1], (0.8, 0.1, 0.1), {0}),
    ],
)
def test_rare_classes(labels: list[int], shares: tuple[float, ...], expected: set[int]) -> None:
    strata = one_hot(labels)
    for seed in range(5):
        split_of = deal(strata, strata > 0, shares, seed=seed)
        assert set(split_of[strata[:, 1] > 0].tolist()) == expected


def test_each_split_gets_a_group_even_where_that_takes_a_class() -> None:
    strata = one_hot([0, 1, 2])
    assert sorted(deal(strata, strata > 0, (0.8, 0.1, 0.1), seed=0).tolist()) == [0, 1, 2]


def test_a_split_of_no_share_gets_nothing() -> None:
    strata = one_hot([0, 1] * 20)
    assert set(deal(strata, strata > 0, (0.8, 0.2, 0.0), seed=0).tolist()) == {0, 1}


def test_fixed_groups_train() -> None:
    strata = one_hot([0, 1] * 20)
    fixed = np.arange(40) < 20
    strata[fixed] = 0
    split_of = deal(strata, strata > 0, (0.5, 0.5), seed=0, fixed=fixed)
    assert not split_of[fixed].any()
    assert np.bincount(split_of[~fixed]).tolist() == [10, 10]


def test_the_seed_decides_and_nothing_else() -> None:
    strata = one_hot([0] * 60 + [1] * 40)
    first, again, other = (deal(strata, strata > 0, (0.8, 0.2), seed=seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    # The unit of a column (boxes, pixels) says nothing.
    scaled = deal(strata * np.array([1.0, 4096.0]), strata > 0, (0.8, 0.2), seed=0)
    assert scaled.tolist() == first.tolist()


@pytest.mark.parametrize("seed", range(6))
def test_it_comes_near_the_best_of_all_ways(seed: int) -> None:
    """Eleven groups of uneven sizes, five strata, all 2048 ways tried."""
    random = np.random.default_rng(seed)
    strata = np.exp(random.normal(0, 1.2, (11, 5))) * (random.random((11, 5)) < 0.8) + 1e-6
    shares = (0.75, 0.25)
    ways = (np.array(way) for way in itertools.product((0, 1), repeat=11))
    best = min(misfit(strata, way, shares) for way in ways if 0 < way.sum() < 11)
    nothing = np.zeros((11, 0), np.bool_)
    found = misfit(strata, deal(strata, nothing, shares, seed=seed), shares)
    assert best <= found <= 1.25 * best + 0.002
