"""Training a segmentation network: masks lie where their pixels lie, crops hold what is labelled, numbers are right."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_sets import draw_masks
from PIL import Image

import ops
from toolkit.config import parse_config
from toolkit.data import MaskSample, Table, load_table
from toolkit.errors import UserError
from toolkit.preprocess import Preprocessing, middle
from toolkit.training.network import preprocessing_of
from toolkit.training.segmentation import (
    IGNORED,
    TASK,
    SegmentationModule,
    SegmentationSet,
    check,
    labelled_part,
    place_mask,
)

NAMES = ("background", "warm", "cold")
CONFIG = """
name: tiny
task: segmentation
data: {{format: csv, root: {root}, mask_columns: {{warm: warm, cold: cold}}, group_column: patient,
        classes: [background, warm, cold]}}
model: {{name: unet, input_size: [64, 96]}}
preprocess: {{mean: [0, 0, 0], std: [1, 1, 1]}}
"""


def config_of(*overrides: str, root: Path = Path()) -> Any:
    return parse_config(CONFIG.format(root=root), overrides=overrides).config


def random_mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Every pixel another class: a shift by one pixel changes two thirds of it."""
    return np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)


# preprocessing, picture (height, width), input (height, width)
PLACES = [
    ("letterbox", False, (40, 56), (64, 96)),
    ("letterbox", True, (40, 56), (64, 96)),
    ("letterbox", True, (200, 37), (64, 96)),  # smaller, with bars on both sides
    ("letterbox", False, (64, 96), (64, 96)),
    ("stretch", False, (40, 56), (64, 96)),
    ("stretch", False, (301, 17), (64, 96)),
    ("crop", False, (40, 90), (64, 96)),  # begins before the input, at a fraction of a pixel
    ("crop", False, (91, 33), (64, 96)),
]


def exact_source(position: int, size: int, axis: int, kind: str, center: bool, picture: Any, wanted: Any) -> Fraction:
    """The picture's coordinate under the centre of an input pixel, in fractions, from what each kind promises."""
    centre = Fraction(2 * position + 1, 2)
    if kind == "stretch":
        return centre * picture[axis] / wanted[axis]
    if kind == "crop":
        region = middle(*picture, wanted)
        return Fraction(region[axis]) + centre * Fraction(region[2 + axis]) / wanted[axis]
    ratio = min(wanted[0] / picture[0], wanted[1] / picture[1])
    resized = min(wanted[axis], max(1, round(picture[axis] * ratio)))
    start = (wanted[axis] - resized) // 2 if center else 0
    return (centre - start) * picture[axis] / resized


@pytest.mark.parametrize(("kind", "center", "picture", "wanted"), PLACES)
def test_a_mask_lies_as_its_picture_lies(kind: str, center: bool, picture: Any, wanted: Any) -> None:
    spec = Preprocessing(input_size=wanted, kind=kind, center=center)
    _, placement = spec.apply(np.zeros((*picture, 3), np.uint8))
    mask = random_mask(*picture)
    placed = place_mask(mask, placement, wanted)
    expected = np.full(wanted, IGNORED, np.uint8)
    sources = [[exact_source(i, wanted[a], a, kind, center, picture, wanted) for i in range(wanted[a])] for a in (0, 1)]
    for y, row in enumerate(sources[0]):
        for x, column in enumerate(sources[1]):
            if 0 <= row < picture[0] and 0 <= column < picture[1]:
                expected[y, x] = mask[math.floor(row), math.floor(column)]
    # Where a centre falls between two pixels, both are as near.
    clear = [np.array([source.denominator > 1 for source in axis]) for axis in sources]
    compared = clear[0][:, None] & clear[1][None, :]
    assert compared.mean() > 0.3
    np.testing.assert_array_equal(placed[compared], expected[compared])
    np.testing.assert_array_equal(placed == IGNORED, expected == IGNORED)
    assert placed.dtype == np.uint8


@pytest.mark.parametrize(("kind", "center", "picture", "wanted"), PLACES)
def test_what_is_placed_comes_back_at_the_pictures_own_size(kind: str, center: bool, picture: Any, wanted: Any) -> None:
    spec = Preprocessing(input_size=wanted, kind=kind, center=center)
    _, placement = spec.apply(np.zeros((*picture, 3), np.uint8))
    mask = np.zeros(picture, np.uint8)
    mask[picture[0] // 4 : picture[0] // 2, picture[1] // 5 :] = 1
    mask[picture[0] * 5 // 8 :, : picture[1] // 2] = 2
    placed = place_mask(mask, placement, wanted)
    logits = (np.arange(3)[:, None, None] == placed).astype(np.float32)
    back = ops.argmax_resize(logits, picture, input_size=wanted, placement=placement)
    seen = np.ones(picture, bool)
    if kind == "crop":
        top, left, height, width = middle(*picture, wanted)
        seen = np.zeros(picture, bool)
        seen[math.ceil(top) : math.floor(top + height), math.ceil(left) : math.floor(left + width)] = True
    # A border may move by a pixel of the coarser of the two.
    steps = [math.ceil(1 / scale) for scale in placement[:2]]
    inner = np.ones(picture, bool)
    for axis, step in enumerate(steps):
        for shift in range(-step, step + 1):
            inner &= np.roll(mask, shift, axis) == mask
    assert (inner & seen).sum() > 0.2 * seen.sum()
    np.testing.assert_array_equal(back[inner & seen], mask[inner & seen])


def test_a_picture_that_is_enlarged_twice_comes_back_whole() -> None:
    mask = random_mask(20, 30)
    _, placement = Preprocessing(input_size=(64, 64), center=True).apply(np.zeros((20, 30, 3), np.uint8))
    placed = place_mask(mask, placement, (64, 64))
    logits = (np.arange(3)[:, None, None] == placed).astype(np.float32)
    back = ops.argmax_resize(logits, (20, 30), input_size=(64, 64), placement=placement)
    np.testing.assert_array_equal(back, mask)
    assert (placed == IGNORED).sum() == 64 * 64 - 64 * round(20 * 64 / 30)


def test_pixels_that_do_not_count_stay_so() -> None:
    mask = np.full((8, 8), IGNORED, np.uint8)
    mask[2:4, 2:4] = 1
    _, placement = Preprocessing(input_size=(32, 32), kind="stretch").apply(np.zeros((8, 8, 3), np.uint8))
    placed = place_mask(mask, placement, (32, 32))
    assert (placed[8:16, 8:16] == 1).all()
    assert (placed == IGNORED).sum() == 32 * 32 - 64


def spotted(*rectangles: tuple[slice, slice, int], size: tuple[int, int] = (40, 60)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    for rows, columns, value in rectangles:
        mask[rows, columns] = value
    return mask


ONE = spotted((slice(10, 20), slice(30, 50), 1))
TWO = spotted((slice(10, 20), slice(30, 50), 1), (slice(35, 40), slice(0, 4), 2))
UNLABELLED = spotted((slice(10, 20), slice(30, 50), 1), (slice(0, 40), slice(0, 10), IGNORED))


@pytest.mark.parametrize(
    ("mask", "margin", "rows", "columns"),
    [
        (ONE, 0.0, (10, 20), (30, 50)),
        (ONE, 0.25, (7, 23), (25, 55)),  # 2.5 pixels are rounded up
        (ONE, 1.0, (0, 30), (10, 60)),  # not beyond the picture
        (TWO, 0.0, (10, 40), (0, 50)),  # all classes together
        (UNLABELLED, 0.0, (10, 20), (30, 50)),  # what is not labelled is nothing to crop to
        (spotted(), 0.3, (0, 40), (0, 60)),
        (spotted((slice(0, 40), slice(0, 60), IGNORED)), 0.0, (0, 40), (0, 60)),
        (spotted((slice(39, 40), slice(59, 60), 2)), 0.0, (39, 40), (59, 60)),  # a single pixel in the corner
    ],
)
def test_the_labelled_part(mask: np.ndarray, margin: float, rows: tuple, columns: tuple) -> None:
    found = labelled_part(mask, (margin, margin), np.random.default_rng(0))
    assert [(part.start, part.stop) for part in found] == [rows, columns]


def test_margins_are_drawn_for_each_side() -> None:
    drawn = []
    for seed in range(300):
        rows, columns = labelled_part(ONE, (0.1, 0.5), np.random.default_rng(seed))
        drawn.append([10 - rows.start, rows.stop - 20, 30 - columns.start, columns.stop - 50])
    drawn = np.array(drawn)
    np.testing.assert_array_equal(drawn.min(0), [2, 2, 3, 3])  # just over 0.1 of 10 and 20, rounded up
    np.testing.assert_array_equal(drawn.max(0), [5, 5, 10, 10])
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.3


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    draw_masks(folder, pictures=18)
    return folder


def redness(pixels: np.ndarray) -> np.ndarray:
    """How much redder than blue each place of an input [3, h, w] (RGB grey levels) is: warm above 0, cold below."""
    return pixels[0] - pixels[2]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["preprocess.kind=stretch"],
        ["preprocess.center=true", "augment.crop_to_labels={probability: 1.0}"],
        ["augment.albumentations=[{HorizontalFlip: {p: 1.0}}, {Affine: {rotate: [-40, 40], p: 1.0}}]"],
    ],
    ids=["letterbox", "stretch", "cropped to labels", "turned"],
)
def test_the_mask_of_an_example_lies_on_its_pixels(overrides: list[str], coloured: Path) -> None:
    config = config_of(*overrides, root=coloured)
    data = SegmentationSet(load_table(config).subset("train"), config, preprocessing_of(config))
    right = counted = 0
    for epoch in range(3):
        for index in range(len(data)):
            pixels, mask, _ = data[epoch, index]
            assert mask.shape == (64, 96)
            shown = np.where(redness(pixels) > 60, 1, np.where(redness(pixels) < -60, 2, 0))
            right += int((shown == mask)[mask != IGNORED].sum())
            counted += int((mask != IGNORED).sum())
    assert right / counted > 0.95  # but for the blended pixels along the borders


def test_a_crop_to_labels_keeps_all_that_is_labelled(coloured: Path) -> None:
    config = config_of("augment.crop_to_labels={probability: 1.0, margin: [0, 0]}", root=coloured)
    data = SegmentationSet(load_table(config).subset("train"), config, preprocessing_of(config))
    for index, sample in enumerate(data.table.samples):
        _, mask, _ = data[0, index]
        seen = (mask != IGNORED) & (mask != 0)
        rows, columns = np.flatnonzero((mask != IGNORED).any(1)), np.flatnonzero((mask != IGNORED).any(0))
        assert {1, 2} & set(np.unique(mask)) == {c for c in (1, 2) if sample.pixels[c]}
        # Without a margin the labels touch all four sides of what is seen.
        for side in (seen[rows[0]], seen[rows[-1]], seen[:, columns[0]], seen[:, columns[-1]]):
            assert side.any()


def saved(folder: Path, mask: np.ndarray) -> MaskSample:
    """A validation sample whose mask file holds these class ids."""
    path = folder / f"{len(list(folder.iterdir()))}.png"
    Image.fromarray(mask).save(path)
    size = (mask.shape[0], mask.shape[1])
    pixels = np.bincount(mask.ravel(), minlength=256)[:3]
    return MaskSample(path=path, name=path.name, size=size, split="val", group="", masks=((path, None),), pixels=pixels)


QUARTERS = spotted((slice(0, 20), slice(0, 30), 1), (slice(20, 40), slice(30, 60), 2))
HALF_WRONG = spotted((slice(0, 20), slice(0, 30), 1))  # misses class 2
NOT_ALL = spotted((slice(0, 20), slice(0, 30), 1), (slice(20, 40), slice(30, 60), IGNORED))


@pytest.mark.parametrize(
    ("truth", "said", "mean_dice", "mean_iou", "pixel_accuracy"),
    [
        (QUARTERS, QUARTERS, 1.0, 1.0, 1.0),
        (QUARTERS, HALF_WRONG, 0.5, 0.5, 0.75),
        (QUARTERS, spotted(), 0.0, 0.0, 0.5),
        (NOT_ALL, HALF_WRONG, 1.0, 1.0, 1.0),  # class 2 is neither true nor said, and its pixels do not count
        (spotted(), spotted(), 0.0, 0.0, 1.0),  # nothing to find and nothing found: no Dice, which is logged as 0
    ],
)
def test_validation_numbers(
    truth: np.ndarray, said: np.ndarray, mean_dice: float, mean_iou: float, pixel_accuracy: float, tmp_path: Path
) -> None:
    table = Table(NAMES, (saved(tmp_path, truth),))
    module = SegmentationModule(torch.nn.Identity(), config_of(), table, table, total_steps=1)
    numbers = module.numbers([ops.confusion_matrix(truth, said, 3, ignore=IGNORED)])
    assert numbers == pytest.approx({"mean_dice": mean_dice, "mean_iou": mean_iou, "pixel_accuracy": pixel_accuracy})
    assert tuple(numbers) == TASK.numbers


@pytest.mark.parametrize("stride", [1, 4])
def test_an_answer_counts_the_pixels_of_the_pictures_own_size(stride: int, tmp_path: Path) -> None:
    table = Table(NAMES, (saved(tmp_path, QUARTERS),))
    module = SegmentationModule(torch.nn.Identity(), config_of(), table, table, total_steps=1)
    _, placement = preprocessing_of(config_of()).apply(np.zeros((40, 60, 3), np.uint8))
    placed = place_mask(QUARTERS, placement, (64, 96))[::stride, ::stride]
    answer = module.answer((np.arange(3)[:, None, None] == placed).astype(np.float32), placement, 0)
    assert answer.shape == (3, 3)
    assert answer.sum() == 40 * 60
    assert np.trace(answer) > 0.9 * answer.sum()


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([], NAMES),
        (["loss.class_weights=[0.5, 1, 2]"], NAMES),
        (["postprocess.regions={thing: [warm, cold], all: [background, warm, cold]}"], NAMES),
    ],
)
def test_a_config_that_fits_its_classes_passes(overrides: list[str], names: tuple[str, ...]) -> None:
    check(config_of(*overrides), Table(names, ()))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "loss.class_weights=[1, 2]",
            "loss.class_weights: expected 3 numbers, for background, warm, cold; got 2",
        ),
        (
            "postprocess.regions={thing: [warm, clod]}",
            "postprocess.regions.thing: no class is called 'clod'; did you mean 'cold'?; the classes are"
            " background, warm, cold",
        ),
        (
            "postprocess.regions={a: [warm], b: [tree]}",
            "postprocess.regions.b: no class is called 'tree'; the classes are background, warm, cold",
        ),
        (
            "postprocess.presence={clod: 0.5}",
            "postprocess.presence.clod: no class is called 'clod'; did you mean 'cold'?; the classes are background,"
            " warm, cold",
        ),
        ("postprocess.regions={a: []}", "postprocess.regions.a: expected one or more different classes, got none"),
        (
            "postprocess.regions={a: [warm, warm]}",
            "postprocess.regions.a: expected one or more different classes, got warm, warm",
        ),
    ],
)
def test_a_config_that_speaks_of_other_classes_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        check(config_of(override), Table(NAMES, ()))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "overrides", [["loss.kind=ce"], ["loss.kind=focal", "loss.dice_weight=0.5"], ["loss.kind=bce"]]
)
def test_the_config_reaches_the_loss(overrides: list[str]) -> None:
    from zoo.segmentation_loss import segmentation_loss

    config = config_of(*overrides, "loss.class_weights=[0.5, 1, 2]")
    table = Table(NAMES, ())
    module = SegmentationModule(torch.nn.Identity(), config, table, table, total_steps=1)
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 16, 24)
    targets = torch.from_numpy(np.stack([random_mask(32, 48, 1), random_mask(32, 48, 2)]))
    targets[0, :4] = IGNORED
    parts = module.loss(logits, targets)
    expected = segmentation_loss(
        logits, targets, ignore=255, dice_weight=0.5 if "loss.dice_weight=0.5" in overrides else 1.0,
        class_weights=[0.5, 1, 2], kind=config.loss.kind,
    )  # fmt: skip
    assert parts["loss"].item() == pytest.approx(expected["loss"].item())
    assert set(parts) >= set(TASK.parts)
