"""Prediction from end to end on a network whose answers are worked out by hand."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import BOX, MAKERS, expected_score, flat, flat_png, make_tiny_bundle

from toolkit.bundle import pack
from toolkit.errors import PictureError, PictureTooLarge, UserError
from toolkit.inference import Model, load, predict
from toolkit.results import DetectionResult, Failure

RED, BLUE, GREY = (200, 60, 40), (20, 60, 90), (90, 90, 90)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, device="cpu", threads=1)


@pytest.mark.parametrize("form", ["path", "str", "bytes", "bytearray", "array", "pil", "zip", "grey array"])
def test_every_form_of_input_gives_the_same_answer(form: str, tiny_bundle: Path, tmp_path: Path) -> None:
    data = flat_png(RED)
    (tmp_path / "a.png").write_bytes(data)
    contents: dict[str, Any] = {
        "path": tmp_path / "a.png",
        "str": str(tmp_path / "a.png"),
        "bytes": data,
        "bytearray": bytearray(data),
        "array": flat(RED),
        "pil": Image.new("RGB", (64, 64), RED),
        "zip": data,
        "grey array": np.full((64, 64), 90, np.uint8),
    }
    bundle = pack(tiny_bundle, tmp_path / "b.zip") if form == "zip" else tiny_bundle
    result = predict(bundle, contents[form], device="cpu")
    colour = GREY if form == "grey array" else RED
    assert result.labels == ["warm"]
    assert result.image_size == (64, 64)
    np.testing.assert_allclose(result.boxes, [BOX], atol=1e-3)
    np.testing.assert_allclose(result.scores, [expected_score(colour)], atol=1e-5)
    assert (result.boxes.dtype, result.scores.dtype, result.class_ids.dtype) == (np.float32, np.float32, np.int64)
    assert result.draw().shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((64, 64), (8, 16, 40, 48)),
        ((128, 128), (16, 32, 80, 96)),
        ((32, 32), (4, 8, 20, 24)),
        ((64, 128), (16, 32, 80, 64)),  # half as high: the box reaches below the picture and is clipped
        ((128, 32), (16, 32, 32, 96)),  # narrow: clipped at the right
    ],
)
def test_boxes_are_in_the_pictures_own_pixels(size: tuple[int, int], box: tuple[int, ...], model: Model) -> None:
    result = model.predict_one(flat(RED, size))
    assert result.image_size == size
    np.testing.assert_allclose(result.boxes, [box], atol=1e-3)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, 1),
        ({"score_threshold": 0.4}, 1),
        ({"score_threshold": 0.5}, 0),  # grey scores 0.491
        ({"score_threshold": 0.0, "iou_threshold": 1.0, "max_detections": 10}, 10),
        ({"score_threshold": 0.0, "iou_threshold": 1.0, "max_detections": 1000}, 84),  # every cell
    ],
)
@pytest.mark.parametrize("way", ["predict", "predict_one", "run_batch"])
def test_options_hold_for_the_call_alone(way: str, options: dict[str, Any], found: int, model: Model) -> None:
    picture = flat(GREY)
    if way == "predict":
        (result,) = model.predict(picture, **options)
    elif way == "predict_one":
        result = model.predict_one(picture, **options)
    else:
        (result,) = model.run_batch([picture], **options)
    assert len(result.scores) == found
    assert (np.diff(result.scores) <= 0).all()
    assert len(model.predict_one(picture).scores) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 2}, "score_threshold: expected a number from 0 to 1, got 2"),
        ({"max_detections": 0}, "max_detections: expected an integer from 1"),
        ({"batch_size": 0}, "batch_size: expected an integer from 1 up, got 0"),
        ({"batch_size": 2.0}, "batch_size: expected an integer from 1 up, got 2.0"),
        ({"on_error": "ignore"}, "on_error: expected 'report' or 'raise', got 'ignore'"),
    ],
)
def test_wrong_options_are_told_at_the_call(options: dict[str, Any], message: str, model: Model) -> None:
    with pytest.raises(UserError) as caught:
        model.predict(flat(RED), **options)  # not iterated
    assert str(caught.value).startswith(message)


def test_wrong_paths_are_told_at_the_call(model: Model) -> None:
    with pytest.raises(UserError, match="no file or folder called 'nowhere'"):
        model.predict([flat(RED), "nowhere"])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
def test_order_and_failures_at_any_batch_size(batch_size: int, model: Model) -> None:
    """A picture that cannot be used stands in its place, and its neighbours are as if it were not there."""
    good = {0: RED, 2: BLUE, 3: RED, 6: BLUE, 7: BLUE, 9: RED}
    inputs = [flat(good[index], (64 + index, 64)) if index in good else b"broken" for index in range(10)]
    results = list(model.predict(inputs, batch_size=batch_size))
    assert [type(result) for result in results] == [
        DetectionResult if index in good else Failure for index in range(10)
    ]
    for index, result in enumerate(results):
        if isinstance(result, DetectionResult):
            alone = model.predict_one(inputs[index], name=f"array[{index}]")
            assert result == alone
            assert result.labels == ["warm" if good[index] == RED else "cold"]
        else:
            assert result.source == f"bytes[{index}]"
            assert result.error.startswith(f"bytes[{index}]: is not a picture")


def test_raise_stops_at_the_broken_picture(model: Model) -> None:
    stream = model.predict([flat(RED), b"broken", flat(BLUE)], on_error="raise")
    assert next(stream).labels == ["warm"]  # type: ignore[union-attr]
    with pytest.raises(PictureError, match=r"bytes\[1\]: is not a picture"):
        next(stream)


def test_one_broken_picture_raises(model: Model, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(PictureError, match=r"text\.jpg: is not a picture"):
        model.predict_one(tmp_path / "text.jpg")
    with pytest.raises(PictureError, match=r"upload\.png: is not a picture"):
        model.predict_one(b"hello", name="upload.png")


def test_the_pixel_limit_reaches_decoding(model: Model) -> None:
    with pytest.raises(PictureTooLarge, match="64x64"):
        model.decode(flat_png(RED), max_pixels=100)
    (failure,) = model.predict(flat_png(RED), max_pixels=100)
    assert not failure


def test_a_name_becomes_the_source(model: Model) -> None:
    assert model.predict_one(flat_png(RED), name="upload.png").source == "upload.png"
    assert model.run_batch([model.decode(flat_png(RED), name="upload.png")])[0].source == "upload.png"


def test_timing_names_every_stage(model: Model) -> None:
    for result in model.predict([flat_png(RED)] * 3, batch_size=3):
        assert list(result.timing) == ["decode", "preprocess", "network", "postprocess"]  # type: ignore[union-attr]
        assert all(value > 0 for value in result.timing.values())  # type: ignore[union-attr]


def test_a_batch_is_one_run_of_the_network(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    real = model._engine.run
    monkeypatch.setattr(model._engine, "run", lambda batch, names: shapes.append(batch.shape) or real(batch, names))
    list(model.predict([flat(RED)] * 7, batch_size=3))
    assert shapes == [(3, 3, 64, 64), (3, 3, 64, 64), (1, 3, 64, 64)]


def test_stages_one_by_one_are_the_whole(model: Model) -> None:
    images = [flat(RED, (50, 70)), flat(BLUE, (70, 50))]
    batch, placements = model.preprocess(images)
    (raw,) = model.network(batch)
    for image, row, placement, result in zip(images, raw, placements, model.run_batch(images), strict=True):
        fields = model.postprocess([row], placement, image.shape[:2])
        assert list(fields) == ["boxes", "scores", "class_ids", "abstention", "bins"]
        for name, values in fields.items():
            np.testing.assert_array_equal(values, getattr(result, name))
    again, _ = model.preprocess(images)
    assert not np.shares_memory(batch, again)


def test_a_reused_input_holds_what_a_fresh_one_would(tiny_bundle: Path) -> None:
    """Sizes that stay, change, come back or move to another place of the batch: no other picture's border is left."""
    model = load(tiny_bundle, "cpu", threads=1)
    random = np.random.default_rng(0)
    wide, tall, square = (random.integers(0, 256, (*size, 3), np.uint8) for size in ((30, 60), (60, 30), (50, 50)))
    for pictures in ([wide], [wide], [tall], [wide], [square, wide], [wide, tall], [tall, tall, wide], [wide]):
        held, placements = model.preprocess(pictures, reuse=True)
        fresh, expected = model.preprocess(pictures)
        np.testing.assert_array_equal(held, fresh)
        assert placements == expected


def test_a_border_is_written_once_for_pictures_of_one_size(tiny_bundle: Path) -> None:
    model = load(tiny_bundle, "cpu", threads=1)
    picture = np.zeros((30, 60, 3), np.uint8)
    first, _ = model.preprocess([picture], reuse=True)
    first[0, :, -1, -1] = -7  # beside the picture: its border is trusted, not written again
    second, _ = model.preprocess([picture], reuse=True)
    assert second[0, :, -1, -1].tolist() == [-7] * 3


def test_prediction_is_lazy_and_memory_stays_flat(model: Model) -> None:
    """Of 200 pictures only a few batches are ever alive, though every result is kept."""
    alive: set[int] = set()
    most, taken = 0, 0

    def feed() -> Iterator[bytes]:
        nonlocal taken
        while taken < 200:
            taken += 1
            yield flat_png(RED)

    results = []
    for index, result in enumerate(model.predict(feed(), batch_size=4)):
        if index == 0:
            assert taken <= 4 + 4 + 4 + 1  # batch, decoded ahead, workers
        results.append(result)
        picture = result.picture()  # type: ignore[union-attr, misc]
        alive.add(id(picture))
        weakref.finalize(picture, alive.discard, id(picture))
        del picture
        most = max(most, len(alive))
    assert len(results) == 200
    assert most <= 4
    assert results[0].draw().shape == (64, 64, 3)  # type: ignore[union-attr]  # decoded again


def test_eight_threads_share_a_model(model: Model) -> None:
    colours = [(200, 60, 8 * index) for index in range(8)]
    wrong: list[str] = []

    def ask(index: int) -> None:
        for turn in range(30):
            count = 1 + (turn + index) % 3
            for result in model.run_batch([flat(colours[index])] * count):
                if abs(float(result.scores[0]) - expected_score(colours[index])) > 1e-5:
                    wrong.append(f"{index}: {result}")

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_result_can_be_drawn_after_the_file_changed_only_if_it_fits(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(flat_png(RED))
    result = model.predict_one(path)
    path.write_bytes(flat_png(RED, (32, 32)))
    with pytest.raises(PictureError, match="has changed since the prediction"):
        result.draw()


def test_three_labels(tmp_path: Path) -> None:
    model = load(make_tiny_bundle(tmp_path / "b", labels=("a", "b", "c")), device="cpu")
    assert model.predict_one(flat(BLUE)).labels == ["b"]
    assert (model.name, model.labels, model.device) == ("tiny", ("a", "b", "c"), "cpu")
    assert model.spec.name == "tiny"


@pytest.mark.parametrize("task", MAKERS)
def test_predicting_needs_no_torch(task: str, tmp_path: Path) -> None:
    """In a process of its own: nothing of the training side is imported on the way to a result."""
    bundle = MAKERS[task](tmp_path / "b")
    script = (
        "import sys, numpy, toolkit.inference as i;"
        f"r = i.predict({str(bundle)!r}, numpy.zeros((64, 64, 3), numpy.uint8));"
        "r.draw(); r.to_dict();"
        "print(sorted({'torch', 'lightning', 'albumentations', 'onnx', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
