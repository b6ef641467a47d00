"""Cells of confusion matrices against the whole matrices, added up by loops."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.evaluation.confusions import Confusions

REGIONS = {"a": (0,), "c": (2,), "b or c": (1, 2), "all": (0, 1, 2), "none": ()}


def matrices(pictures: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(9, size=(3, 3)) * (rng.random((3, 3)) < 0.5) for _ in range(pictures)]
    drawn[2][:] = 0  # a picture of which nothing counts
    return drawn


def slow(total: np.ndarray, ids: tuple[int, ...]) -> tuple[int, int, int]:
    hit = sum(int(total[i, j]) for i in ids for j in ids)
    return hit, sum(int(total[i].sum()) for i in ids), sum(int(total[:, i].sum()) for i in ids)


def test_weighed_and_by_picture() -> None:
    drawn = matrices()
    cells = Confusions.of(drawn)
    assert (cells.matrix() == sum(drawn)).all()
    weights = np.random.default_rng(1).integers(0, 4, (5, 6))
    weighed, alone = cells.weighed(REGIONS, weights), cells.by_picture(REGIONS)
    assert weighed.hit.shape == (5, len(REGIONS))
    for column, ids in enumerate(REGIONS.values()):
        for row, often in enumerate(weights):
            total = sum(int(n) * m for n, m in zip(often, drawn, strict=True))
            found = weighed.hit[row, column], weighed.true[row, column], weighed.predicted[row, column]
            assert found == slow(total, ids)
        for picture, matrix in enumerate(drawn):
            found = alone.hit[picture, column], alone.true[picture, column], alone.predicted[picture, column]
            assert found == slow(matrix, ids)


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [4, 0], [2], [5, 3, 1]])
def test_a_part_is_what_its_pictures_give_alone(rows: list[int]) -> None:
    drawn = matrices()
    part, alone = Confusions.of(drawn).part(np.array(rows)), Confusions.of([drawn[row] for row in rows])
    assert (part.pictures, part.classes) == (len(rows), 3)
    assert (part.matrix() == alone.matrix()).all()
    assert (part.by_picture(REGIONS).hit == alone.by_picture(REGIONS).hit).all()


def test_ratios() -> None:
    tally = Confusions.of([np.array([[3, 1], [2, 0]])]).weighed({"a": (0,), "b": (1,)}, np.ones((1, 1), np.int64))
    assert tally.precision[0].tolist() == [3 / 5, 0.0]
    assert tally.recall[0].tolist() == [3 / 4, 0.0]
    assert tally.dice[0].tolist() == [6 / 9, 0.0]
    assert tally.iou[0].tolist() == [3 / 6, 0.0]
    empty = Confusions.of([np.zeros((2, 2), np.int64)]).weighed({"a": (0,)}, np.ones((1, 1), np.int64))
    for numbers in (empty.precision, empty.recall, empty.dice, empty.iou):
        assert np.isnan(numbers).all()
