"""Drawing: on a copy, visible on any ground, never outside the picture, at any size."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.drawing import FONTS, PALETTE, _font, color_of, draw_detections


def draw(ground: np.ndarray, box: tuple[float, ...], label: str = "cat", class_id: int = 0) -> np.ndarray:
    return draw_detections(
        ground, np.array([box], np.float32), [label], np.array([0.5], np.float32), np.array([class_id])
    )


def luminance(rgb: np.ndarray) -> np.ndarray:
    """Relative luminance of WCAG 2.1, whose contrast ratio asks 3 of graphics and 4.5 of text."""
    linear = np.where(rgb <= 10, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def contrast(a: np.ndarray, b: np.ndarray) -> float:
    light, dark = sorted((float(luminance(np.asarray(a, float))), float(luminance(np.asarray(b, float)))))[::-1]
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 255])
@pytest.mark.parametrize("class_id", range(len(PALETTE)))
def test_the_line_stands_out_on_any_ground(grey: int, class_id: int) -> None:
    drawn = draw(np.full((200, 200, 3), grey, np.uint8), (50, 60, 150, 160), class_id=class_id)
    across = drawn[110, 40:70].astype(float)  # from outside to inside, over the left edge
    assert max(contrast(pixel, (grey, grey, grey)) for pixel in across) >= 3
    assert any((pixel == color_of(class_id)).all() for pixel in across)


@pytest.mark.parametrize("class_id", range(len(PALETTE)))
def test_text_has_contrast_to_its_plate(class_id: int) -> None:
    drawn = draw(np.full((400, 400, 3), 77, np.uint8), (50, 100, 150, 160), "with_mask", class_id)
    plate = drawn[80:97, 53:150].reshape(-1, 3)
    assert max(contrast(pixel, color_of(class_id)) for pixel in np.unique(plate, axis=0)) >= 4.5


def test_draws_on_a_copy_and_only_near_the_box() -> None:
    ground = np.full((300, 300, 3), 90, np.uint8)
    drawn = draw(ground, (100, 100, 200, 200))
    assert (ground == 90).all()
    changed = np.argwhere((drawn != 90).any(axis=2))
    assert changed.min() >= 70
    assert changed.max() <= 202
    assert (drawn[110:190, 110:190] == 90).all()  # inside, the object stays visible


@pytest.mark.parametrize(
    "box", [(0, 0, 50, 30), (150, 0, 200, 30), (0, 100, 40, 120), (180, 90, 200, 120), (0, 0, 200, 120)]
)
def test_the_whole_label_stays_inside(box: tuple[float, ...]) -> None:
    """The plate is as large at the picture's corners as in its middle."""
    ground = np.full((120, 200, 3), 90, np.uint8)
    plate = [int((draw(ground, where, "dog") == color_of(0)).all(axis=2).sum()) for where in (box, (80, 50, 130, 80))]
    line = [2 * (where[2] - where[0] + where[3] - where[1]) for where in (box, (80, 50, 130, 80))]
    assert plate[0] >= (plate[1] - line[1]) * 0.9
    assert plate[0] <= plate[1] + line[0]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (64, 64), (3000, 4000)])
def test_any_size_is_drawn(size: tuple[int, int]) -> None:
    drawn = draw(np.zeros((*size, 3), np.uint8), (0, 0, size[1], size[0]), "a long label that needs room")
    assert (drawn.shape, drawn.dtype) == ((*size, 3), np.uint8)
    assert drawn.any() or size == (1, 1)  # where a label's black edge is all that fits


def test_lines_and_text_grow_with_the_picture() -> None:
    share = [
        (draw(np.zeros((side, side, 3), np.uint8), (side / 4, side / 4, side / 2, side / 2)) > 0).any(axis=2).mean()
        for side in (500, 4000)
    ]
    assert share[1] == pytest.approx(share[0], rel=0.25)


@pytest.mark.parametrize("box", [(10, 10, 10, 10), (10.4, 10.4, 10.6, 10.6), (-5, -5, 300, 300)])
def test_odd_boxes_do_not_fail(box: tuple[float, ...]) -> None:
    assert draw(np.zeros((100, 100, 3), np.uint8), box).any()


def test_nothing_found_gives_the_picture_back() -> None:
    ground = np.arange(300, dtype=np.uint8).reshape(10, 10, 3)
    drawn = draw_detections(ground, np.zeros((0, 4), np.float32), [], np.zeros(0, np.float32), np.zeros(0, np.int64))
    np.testing.assert_array_equal(drawn, ground)
    assert not np.shares_memory(drawn, ground)


def test_without_scores_the_label_stands_alone() -> None:
    ground = np.zeros((200, 400, 3), np.uint8)
    box, ids = np.array([[50, 60, 150, 160]], np.float32), np.array([2])
    width = [
        np.argwhere((draw_detections(ground, box, ["dog"], scores, ids)[50] > 0).any(axis=1)).max()
        for scores in (np.array([0.5], np.float32), None)
    ]
    assert width[1] < width[0]


def test_a_label_without_font_is_written_as_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.drawing.FONTS", ())
    _font.cache_clear()
    ground = np.zeros((200, 300, 3), np.uint8)
    try:
        np.testing.assert_array_equal(
            draw(ground, (50, 60, 150, 160), "口罩", 1), draw(ground, (50, 60, 150, 160), "class 1", 1)
        )
    finally:
        _font.cache_clear()
    assert FONTS  # the real list is not empty


def test_the_best_score_lies_on_top() -> None:
    boxes = np.array([[50, 60, 150, 160], [50, 60, 150, 160]], np.float32)
    drawn = draw_detections(
        np.zeros((200, 200, 3), np.uint8), boxes, ["a", "b"], np.array([0.9, 0.3], np.float32), np.array([3, 4])
    )
    assert (drawn[159, 100] == color_of(3)).all()
