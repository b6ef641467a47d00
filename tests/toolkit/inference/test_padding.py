"""Predicting with a bundle that pads to a multiple: pictures of any shapes, each in an input of its own shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import GREY, SIDE, STRIDES, WARM, halves, tiny_classifier_spec, tiny_free_network, tiny_spec

from toolkit.bundle import write_bundle
from toolkit.inference import Model, load
from toolkit.preprocess import Preprocessing

ROUNDS = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int | None, Model]:
    """One network, by what its pictures are padded to."""
    folder = tmp_path_factory.mktemp("padded")
    made = {}
    for multiple in (None, 32):
        spec = tiny_spec(preprocessing=Preprocessing(input_size=(SIDE, SIDE), pad_multiple=multiple))
        path = folder / str(multiple)
        write_bundle(path, spec, {"model.onnx": tiny_free_network()})
        made[multiple] = load(path, "cpu", threads=1)
    return made


def warm_cells(high: int, wide: int, scale: float) -> set[tuple[float, ...]]:
    """The cells of all strides in a picture's left half, in its pixels; the picture fills ``high`` x ``wide``."""
    return {
        (x * scale, y * scale, (x + stride) * scale, (y + stride) * scale)
        for stride in STRIDES
        for y in range(0, high, stride)
        for x in range(0, wide // 2, stride)
    }


@pytest.mark.parametrize("multiple", [None, 32])
@pytest.mark.parametrize(
    ("size", "padded", "scale"),
    [
        ((64, 64), (64, 64), 1),
        ((128, 128), (64, 64), 2),
        ((32, 64), (32, 64), 1),
        ((64, 128), (32, 64), 2),
        ((16, 32), (32, 64), 0.5),
    ],
)
def test_boxes_are_in_the_pictures_own_pixels(
    size: tuple[int, int],
    padded: tuple[int, int],
    scale: float,
    multiple: int | None,
    models: dict[int | None, Model],
) -> None:
    model = models[multiple]
    assert model.input_size_for(*size) == (padded if multiple else (SIDE, SIDE))
    found = model.predict_one(halves(WARM, GREY, size), iou_threshold=1)
    # Where 64 rows are cells of 32, each is of the picture alone: the area below it holds none that is warm.
    assert {tuple(box) for box in found.boxes.tolist()} == warm_cells(*padded, scale)
    assert found.image_size == size


def test_a_square_picture_has_the_same_answer_to_the_bit(models: dict[int | None, Model]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    for option in ({}, {"score_threshold": 0.0, "max_detections": 84}):
        whole, padded = (models[multiple].predict_one(picture, **option) for multiple in (None, 32))  # type: ignore[arg-type]
        assert whole == padded


def test_shapes_in_one_call_keep_their_order_and_share_no_padding(
    models: dict[int | None, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models[32]
    rng = np.random.default_rng(1)
    sizes = [(64, 64), (30, 60), (60, 30), (20, 60), (50, 50), (64, 30), (10, 70)]
    pictures = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
    alone = [model.run_batch([picture])[0] for picture in pictures]
    shapes = []
    real = model._engine.run
    monkeypatch.setattr(model._engine, "run", lambda batch, names: shapes.append(batch.shape) or real(batch, names))
    together = model.run_batch(pictures)
    assert shapes == [(2, 3, 64, 64), (3, 3, 32, 64), (2, 3, 64, 32)]
    streamed = list(model.predict(pictures, batch_size=4))
    for expected, *found in zip(alone, together, streamed, strict=True):
        for result in found:
            assert result.image_size == expected.image_size
            for name in ("boxes", "scores", "class_ids"):
                np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    assert model.run_batch([]) == []


def test_one_input_holds_one_shape(models: dict[int | None, Model]) -> None:
    wide, tall = np.zeros((30, 60, 3), np.uint8), np.zeros((60, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected one size of the network's input, got \[\(32, 64\), \(64, 32\)\]"):
        models[32].preprocess([wide, tall])


def test_a_reused_input_serves_all_shapes_from_the_same_memory(models: dict[int | None, Model]) -> None:
    model = models[32]
    rng = np.random.default_rng(2)
    sizes = [(64, 64), (30, 60), (20, 60), (60, 30), (50, 40), (30, 60), (30, 60)]
    first, _ = model.preprocess([np.zeros((64, 64, 3), np.uint8)] * 2, reuse=True)
    memory = first.base
    for size in sizes * ROUNDS:
        pictures = list(rng.integers(0, 256, (2, *size, 3), np.uint8))
        held, placements = model.preprocess(pictures, reuse=True)
        fresh, expected = model.preprocess(pictures)
        np.testing.assert_array_equal(held, fresh)
        assert placements == expected
        assert held.flags.c_contiguous
        assert held.base is memory


def test_all_shapes_take_little_more_memory_than_the_largest(tmp_path: Path) -> None:
    """With the shipped network's size of input, all 31 shapes in turn: sessions keep memory for none of them alone."""
    spec = tiny_spec(preprocessing=Preprocessing(input_size=(512, 512), pad_multiple=32))
    write_bundle(tmp_path / "b", spec, {"model.onnx": tiny_free_network()})
    model = load(tmp_path / "b", "cpu", threads=1)
    sides = range(32, 513, 32)
    pictures = [np.zeros((*size, 3), np.uint8) for side in sides for size in ((512, side), (side, 512))]
    model.run_batch([pictures[-1]] * 4)
    before = resident()
    for _ in range(ROUNDS):
        for picture in pictures:
            model.run_batch([picture])
    assert resident() - before < 32 * 2**20
    assert {model.input_size_for(*picture.shape[:2]) for picture in pictures} >= {(512, 32), (32, 512), (512, 512)}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


@pytest.mark.parametrize("kind", ["letterbox", "stretch"])
def test_only_a_detector_takes_any_shape(kind: str) -> None:
    with pytest.raises(ValueError, match="pad_multiple is for "):
        tiny_classifier_spec(preprocessing=Preprocessing(input_size=(64, 64), kind=kind, pad_multiple=32))  # type: ignore[arg-type]
