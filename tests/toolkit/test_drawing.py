"""Drawing: on a copy, visible on any ground, never outside the picture, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from toolkit import drawing_masks
from toolkit.drawing import FONTS, PALETTE, color_of, draw_classification, draw_detections, draw_segmentation
from toolkit.drawing_scores import blend_heat, heat_colors, oklab_to_rgb
from toolkit.drawing_text import Panel, Row, font_for, percent, tint_of


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
    monkeypatch.setattr("toolkit.drawing_text.FONTS", ())
    font_for.cache_clear()
    ground = np.zeros((200, 300, 3), np.uint8)
    try:
        np.testing.assert_array_equal(
            draw(ground, (50, 60, 150, 160), "口罩", 1), draw(ground, (50, 60, 150, 160), "class 1", 1)
        )
    finally:
        font_for.cache_clear()
    assert FONTS  # the real list is not empty


def test_the_best_score_lies_on_top() -> None:
    boxes = np.array([[50, 60, 150, 160], [50, 60, 150, 160]], np.float32)
    drawn = draw_detections(
        np.zeros((200, 200, 3), np.uint8), boxes, ["a", "b"], np.array([0.9, 0.3], np.float32), np.array([3, 4])
    )
    assert (drawn[159, 100] == color_of(3)).all()


SIZES = [(1, 1), (2, 300), (300, 2), (64, 64), (3000, 4000)]
GREYS = [0, 60, 128, 200, 255]
ANIMALS = ("cat", "dog", "cow", "fox")


def plain(size: tuple[int, int], grey: int = 90) -> np.ndarray:
    return np.full((*size, 3), grey, np.uint8)


def classify(ground: np.ndarray, *probabilities: float, heat: np.ndarray | None = None) -> np.ndarray:
    return draw_classification(ground, np.array(probabilities, np.float32), ANIMALS[: len(probabilities)], heat)


def lengths(drawn: np.ndarray, classes: int) -> list[int]:
    """How long the bar of each class is, in pixels; 0 where it is not drawn."""
    return [int((drawn == tint_of(c)).all(axis=2).sum(axis=1).max()) for c in range(classes)]


@pytest.mark.parametrize("grey", GREYS)
def test_a_panel_is_readable_on_any_ground(grey: int) -> None:
    panel = classify(plain((400, 400), grey), 0.7, 0.3)[:40, :100].reshape(-1, 3)
    under, counts = np.unique(panel, axis=0, return_counts=True)
    assert contrast(panel.max(axis=0), under[counts.argmax()]) >= 4.5  # the letters' white on what is most frequent


def test_bars_are_as_long_as_the_classes_are_likely() -> None:
    drawn = classify(plain((1000, 1000)), 0.1, 0.6, 0.3)
    found = lengths(drawn, 3)
    assert found[1] > 100
    assert found == pytest.approx([found[1] / 6, found[1], found[1] / 2], abs=1)
    rows = [int(np.argwhere((drawn == tint_of(c)).all(axis=2))[:, 0].min()) for c in (1, 2, 0)]
    assert rows == sorted(rows)  # the likeliest first


@pytest.mark.parametrize("class_id", range(len(PALETTE)))
def test_a_bar_stands_out_of_its_track(class_id: int) -> None:
    assert contrast(tint_of(class_id), (0, 0, 0)) >= 3


@pytest.mark.parametrize(
    ("side", "probabilities", "shown"),
    [
        (400, (0.1, 0.2, 0.3, 0.4), [1, 2, 3]),  # three of four
        (400, (0.25, 0.25, 0.25, 0.25), [0, 1, 2]),  # equal: lower id first
        (64, (0.1, 0.2, 0.3, 0.4), [2, 3]),  # half the picture's height is left free
        (20, (0.1, 0.2, 0.3, 0.4), [3]),  # the answer itself is always there
    ],
)
def test_which_classes_are_shown(side: int, probabilities: tuple[float, ...], shown: list[int]) -> None:
    found = lengths(classify(plain((side, side)), *probabilities), 4)
    assert [c for c in range(4) if found[c]] == shown


@pytest.mark.parametrize("size", SIZES)
def test_a_classification_is_drawn_on_any_size(size: tuple[int, int]) -> None:
    ground = plain(size)
    drawn = draw_classification(ground, np.float32([0.25, 0.75]), ("a long label that needs room", "dog"))
    assert (drawn.shape, drawn.dtype) == ((*size, 3), np.uint8)
    assert (ground == 90).all()
    changed = np.argwhere((drawn != 90).any(axis=2))
    assert changed.size
    if min(size) >= 64:
        assert changed[:, 0].max() < size[0] / 2 + 20


def test_a_panel_names_a_class_without_font_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.drawing_text.FONTS", ())
    font_for.cache_clear()
    try:
        rows = [draw_classification(plain((200, 300)), np.float32([1]), (name,)) for name in ("口罩", "class 0")]
        np.testing.assert_array_equal(*rows)
    finally:
        font_for.cache_clear()


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [  # the corners of sRGB as CSS Color 4 gives them in Oklab
        ((1, 0, 0), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 0)),
        ((0.6279554, 0.2248631, 0.1258463), (255, 0, 0)),
        ((0.8664396, -0.2338874, 0.1794985), (0, 255, 0)),
        ((0.4520137, -0.0324698, -0.3115281), (0, 0, 255)),
    ],
)
def test_oklab(lab: tuple[float, ...], rgb: tuple[int, ...]) -> None:
    assert oklab_to_rgb(np.array([lab]))[0].tolist() == list(rgb)


def test_heat_grows_lighter_in_even_steps() -> None:
    """CIE lightness (1976), which the colours were not made from."""
    y = luminance(heat_colors().astype(float))
    lightness = 116 * np.cbrt(y) - 16
    steps = np.diff(lightness[::15])
    assert (np.diff(lightness) > -0.3).all()  # a level of 8-bit colour
    assert steps.min() > 0.6 * steps.max()
    assert (lightness[0], lightness[-1]) == (pytest.approx(10, abs=10), pytest.approx(94, abs=5))


@pytest.mark.parametrize(
    ("cells", "size"), [((1, 1), (5, 7)), ((3, 2), (60, 45)), ((7, 7), (100, 80)), ((9, 9), (4, 5))]
)
def test_heat_covers_the_picture_smoothly(cells: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    heat = rng.random(cells).astype(np.float32)
    ground = rng.integers(0, 256, (*size, 3), np.uint8)
    where = np.meshgrid(*((np.arange(n) + 0.5) * c / n - 0.5 for n, c in zip(size, cells, strict=True)), indexing="ij")
    level = 255 * ndimage.map_coordinates(heat.astype(float), where, order=1, mode="nearest")
    wanted = (ground + heat_colors()[np.rint(level).astype(int)].astype(float)) / 2
    assert np.abs(blend_heat(ground, heat) - wanted).max() <= 2.5  # half a level, and a neighbouring colour
    assert np.abs(blend_heat(ground, heat) - wanted).mean() < 0.5


@pytest.mark.parametrize("grey", GREYS)
def test_heat_is_ordered_on_any_ground(grey: int) -> None:
    heat = np.linspace(0, 1, 8, dtype=np.float32)[None]
    row = blend_heat(plain((4, 800), grey), heat)[0].astype(float)
    assert (np.diff(luminance(row)[50:750:100]) > 0.005).all()


def test_heat_lies_under_the_panel() -> None:
    ground, heat = plain((300, 300)), np.full((2, 2), 0.5, np.float32)
    np.testing.assert_array_equal(classify(ground, 0.4, 0.6, heat=heat), classify(blend_heat(ground, heat), 0.4, 0.6))


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices(size)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def scene(size: tuple[int, int] = (200, 240)) -> np.ndarray:
    """A disc of class 1, a smaller one of class 2 across its edge, and a corner that is not labelled (255)."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    mask[disc(size, (height * 0.6, width * 0.6), height * 0.3)] = 1
    mask[disc(size, (height * 0.6, width * 0.8), height * 0.15)] = 2
    mask[-height // 5 :, : width // 5] = 255
    return mask


ORGANS = ("background", "lung", "lesion")


def legend_of(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> list[Any]:
    """The rows of the legend, and the corner (left, top) where it is put."""
    seen: list[Any] = []

    class Seen(Panel):
        def draw(self, image: np.ndarray, left: int, top: int) -> None:
            seen.extend([list(self.rows), (left, top, self.width, self.height)])

    monkeypatch.setattr(drawing_masks, "Panel", Seen)
    seen.append(draw_segmentation(*arguments, **options))
    return seen


@pytest.mark.parametrize("size", [(200, 240), (1600, 1900)])
def test_regions_are_filled_and_outlined(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel for pixel, with lines from SciPy's filters; the legend is left out."""
    mask = scene(size)
    ground = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    drawn = legend_of(monkeypatch, ground, mask, ORGANS)[-1]
    rank = np.where(mask == 255, 0, mask)
    width = {200: 1, 1600: 3}[size[0]]
    line = (rank > 0) & (ndimage.minimum_filter(rank, 2 * width + 1, mode="nearest") < rank)
    dark = (ndimage.maximum_filter(rank, 2 * max(1, width // 2) + 1, mode="nearest") > rank) & ~line
    assert (drawn[dark] == 0).all()
    for class_id in (1, 2):
        assert (drawn[line & (rank == class_id)] == tint_of(class_id)).all()
        inside = (rank == class_id) & ~line & ~dark
        assert inside.sum() > 500
        blend = ground[inside] + 0.4 * (np.array(color_of(class_id)) - ground[inside].astype(float))
        assert np.abs(drawn[inside] - blend).max() < 1
    outside = (rank == 0) & ~dark  # the corner that is not labelled, too
    np.testing.assert_array_equal(drawn[outside], ground[outside])


@pytest.mark.parametrize("grey", GREYS)
@pytest.mark.parametrize("class_id", range(1, len(PALETTE) + 1))
def test_an_outline_stands_out_on_any_ground(grey: int, class_id: int) -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[200:260, 100:200] = class_id
    drawn = draw_segmentation(plain((300, 300), grey), mask, "abcdefgh")
    across = drawn[230, 95:105].astype(float)
    assert max(contrast(pixel, (grey, grey, grey)) for pixel in across) >= 3


def test_a_region_has_no_line_along_the_picture_s_edge() -> None:
    drawn = draw_segmentation(plain((300, 300)), np.full((300, 300), 3, np.uint8), ANIMALS)
    assert len(np.unique(drawn[200:].reshape(-1, 3), axis=0)) == 1


def test_the_first_class_is_drawn_where_it_is_no_background() -> None:
    mask = np.zeros((300, 300), np.uint8)
    ground = plain((300, 300))
    np.testing.assert_array_equal(draw_segmentation(ground, mask, ("road",)), ground)  # nothing found, no legend
    drawn = draw_segmentation(ground, mask, ("road",), background=None)
    assert (drawn[-1, -1] != 90).all()


def test_the_legend_names_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = scene()
    rows, place, _ = legend_of(monkeypatch, plain((200, 240)), mask, (*ORGANS, "vessel"))
    shares = [100 * (mask == class_id).mean() for class_id in (1, 2)]
    assert rows == [Row(1, "lung", f"{shares[0]:.1f} %"), Row(2, "lesion", f"{shares[1]:.1f} %")]
    assert place[:2] == (0, 0)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_legend_hides_the_least(row: int, column: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one corner is free, and the legend takes it, inside the picture."""
    mask = np.ones((400, 400), np.uint8)
    mask[row * 250 : row * 250 + 150, column * 250 : column * 250 + 150] = 0
    left, top, width, height = legend_of(monkeypatch, plain((400, 400)), mask, ORGANS)[1]
    assert (left, top) == (column * (400 - width), row * (400 - height))


def test_a_legend_without_room_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("background", *(f"class {i}" for i in range(1, 9)))
    mask = np.repeat(np.arange(1, 9), [1, 9, 2, 3, 4, 5, 6, 70]).astype(np.uint8)[:, None].repeat(100, axis=1)
    rows, (_, _, width, height), _ = legend_of(monkeypatch, plain((100, 100)), mask, names)
    assert height <= 50
    assert width <= 100
    *kept, last = rows
    assert [row.class_id for row in kept] == [2, 8]  # the largest, in the classes' order
    assert last.name == "+ 6 more"


@pytest.mark.parametrize("size", SIZES)
def test_a_segmentation_is_drawn_on_any_size(size: tuple[int, int]) -> None:
    ground, mask = plain(size), np.ones(size, np.uint8)
    mask[: size[0] // 2] = 2
    drawn = draw_segmentation(ground, mask, ("background", "a long label that needs room", "dog"))
    assert (drawn.shape, drawn.dtype) == ((*size, 3), np.uint8)
    assert (drawn != 90).any()
    assert (ground == 90).all()


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0 %"), (1e-9, "<0.1 %"), (0.00049, "<0.1 %"), (0.0006, "0.1 %"), (0.2314, "23.1 %"), (1, "100.0 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
