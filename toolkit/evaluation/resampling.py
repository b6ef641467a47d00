"""Percentile bootstrap over groups of pictures: how far a number would move with other pictures of the same kind.

Pictures of one group (a patient, a scene) are drawn together, because they resemble each other. A task counts its
pictures once and says what numbers follow from them (`Numbers`) when each counts as often as a weight says; what is
here turns that into values and intervals, of all pictures and of every source and group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

ROUNDS, SEED = 200, 0
FEW = 10  # groups, or pictures without: with so few, resampling shows a part of how much others would differ
LEAST_OF_A_GROUP = 2  # pictures; the number of a group of one is that picture's

# Numbers by name, each for R rounds [R], or blocks of them.
Numbers: TypeAlias = Mapping[str, "NDArray[np.float64] | Numbers"]


class Counted(Protocol):
    """What was counted of P pictures."""

    @property
    def pictures(self) -> int: ...

    def part(self: Kind, rows: NDArray[np.int64]) -> Kind:
        """The pictures ``rows`` alone, in that order."""


Kind = TypeVar("Kind", bound=Counted)


def measured(
    counted: Kind,
    numbers: Callable[[Kind, NDArray[np.int64]], Numbers],
    *,
    groups: Sequence[str] | None,
    sources: Sequence[str] | None,
    of_a_part: Callable[[Kind, NDArray[np.int64]], Numbers],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values and 95 % intervals, for ``metrics.json``: of all pictures, and under per_source and per_group of parts.

    Args:
        counted: the P pictures.
        numbers: called with them and weights int64 [R, P], how often each round has each picture.
        groups: P names of what is drawn together, or None; "" is a group alone.
        sources: P names, or None; "" is no source. A source's interval comes from its groups, a group's from its
            pictures, so that of a group says nothing of other groups.
        of_a_part: ``numbers`` of a source or a group.
    """
    group_of = number_groups(groups, counted.pictures)
    drawn = draw_groups(int(group_of.max()) + 1)
    values = plain_numbers(numbers(counted, once(counted.pictures)))
    intervals = interval_numbers(numbers(counted, drawn[:, group_of]))
    for key, names, together in (("per_group", groups, None), ("per_source", sources, group_of)):
        parts = rows_of(names or (), LEAST_OF_A_GROUP if key == "per_group" else 1)
        values[key], intervals[key] = {}, {}
        for name, rows in parts.items():
            part = counted.part(rows)
            _, unit = np.unique(rows if together is None else together[rows], return_inverse=True)
            weights = draw_groups(int(unit.max()) + 1)[:, unit]
            values[key][name] = {**plain_numbers(of_a_part(part, once(len(rows)))), "pictures": len(rows)}
            intervals[key][name] = interval_numbers(of_a_part(part, weights))
    intervals["method"] = method(drawn.shape[1], counted.pictures)
    if values["per_group"]:
        intervals["method_of_a_group"] = f"95 % percentile bootstrap over its pictures, {ROUNDS} rounds, seed {SEED}"
    return values, intervals


def once(pictures: int) -> NDArray[np.int64]:
    """The weights of one round that has every picture once, int64 [1, pictures]."""
    return np.ones((1, pictures), np.int64)


def rows_of(names: Sequence[str], least: int = 1) -> dict[str, NDArray[np.int64]]:
    """The positions of each name that stands there ``least`` times, by name; "" is no name."""
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        found.setdefault(name, []).append(row)
    return {name: np.array(found[name]) for name in sorted(found) if name and len(found[name]) >= least}


def renumbered(
    picture: NDArray[np.int64], rows: NDArray[np.int64], pictures: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Of things of ``pictures`` pictures, which belong to the pictures ``rows``; and whose they are among those."""
    place = np.full(pictures, -1)
    place[rows] = np.arange(len(rows))
    kept = place[picture] >= 0
    return kept, place[picture[kept]]


def plain_numbers(numbers: Numbers) -> dict[str, Any]:
    """The first round's numbers for JSON; None where there is nothing to measure."""
    return _each(numbers, lambda rounds: plain(rounds[0]))


def interval_numbers(numbers: Numbers) -> dict[str, Any]:
    """``[low, high]`` of each number; None where there is nothing to measure."""
    return _each(numbers, interval)


def _each(numbers: Numbers, change: Callable[[NDArray[np.float64]], Any]) -> dict[str, Any]:
    return {
        name: _each(value, change) if isinstance(value, Mapping) else change(value) for name, value in numbers.items()
    }


def by_name(names: Sequence[str], **columns: NDArray[np.float64]) -> Numbers:
    """``{name: {number: [R]}}`` from columns [R, names]."""
    return {name: {key: column[:, i] for key, column in columns.items()} for i, name in enumerate(names)}


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


def method(groups: int, pictures: int) -> str:
    """What was done, for ``metrics.json``."""
    if groups < 2:
        return "no intervals: they need two pictures, or two groups of pictures where groups are told"
    over = "pictures" if groups == pictures else f"{groups} groups of pictures"
    few = f"; {groups} are few, others will differ by more than this" if groups < FEW else ""
    return f"95 % percentile bootstrap over {over}, {ROUNDS} rounds, seed {SEED}{few}"


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
