"""What all operators have in common, tried on each: odd arrays, wrong ones, and what may be written to.

The answers themselves are held to references in each operator's own file; threads and forks in test_kernel.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import ops

rng = np.random.default_rng(0)
corner = rng.uniform(0, 40, (7, 2))
boxes = np.concatenate([corner, corner + rng.uniform(3, 30, (7, 2))], 1).astype(np.float32)
scores = rng.permutation(np.linspace(0.1, 0.9, 7)).astype(np.float32)
ids = np.array([0, 1, 0, 2, 0, 1, 0])
image = rng.integers(0, 256, (19, 23, 3), np.uint8)
mask = rng.random((5, 9, 11)) < 0.4
rotated = np.concatenate([boxes, scores[:, None]], 1)
x, gain, shift = rng.normal(size=(9, 3)).astype(np.float32), *rng.normal(size=(2, 3)).astype(np.float32)
normed, mean, variance = ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu")
raw = rng.normal(size=(2, 84, 8)).astype(np.float32)
volume = rng.integers(-1000, 400, (4, 6, 7), np.int16)
parts = rng.integers(0, 3, (4, 6, 7), np.uint8)
rles = ops.rle_encode(mask)
found: dict[str, Any] = {
    "found": boxes.astype(np.float64), "scores": scores.astype(np.float64), "class_ids": ids,
    "truths": boxes[:3].astype(np.float64) + 1, "truth_class_ids": ids[:3].copy(), "classes": 3,
    "pictures": np.array([0, 0, 0, 0, 1, 1, 1]), "truth_pictures": np.array([0, 0, 1]), "picture_count": 2,
    "areas": np.full(7, 50.0), "truth_areas": np.full(3, 60.0),
}  # fmt: skip
matches = ops.coco_match(**found)
assigned = {"boxes": boxes[:5], "class_ids": ids[:5] % 3, "counts": [2, 3]}
pair, suppressed = {"a": boxes, "b": boxes[:4] + 1}, {"boxes": boxes, "scores": scores}
paired = {"a": boxes, "b": boxes[::-1].copy() + 1}
aligned = {"boxes": boxes, "pictures": ids % 2, "scale": 0.25}

CALLS: dict[str, dict[str, Any]] = {
    "argmax_resize": {"logits": raw[:, :6].copy(), "image_size": (11, 13)},
    "batch_norm_act": {"x": x, "weight": gain, "bias": shift, "activation": "silu"},
    "batch_norm_act_backward": {
        "dy": normed, "x": x, "mean": mean, "variance": variance, "weight": gain, "bias": shift, "activation": "silu",
    },
    "batched_nms": {**suppressed, "class_ids": ids, "iou_threshold": 0.3},
    "boundary_distance": {"a": mask, "b": mask[::-1].copy(), "spacing": (1.5, 0.7, 0.7)},
    "box_convert": {"boxes": boxes, "source": "xyxy", "target": "cxcywh"},
    "box_iou": pair,
    "boxes_to_picture": {"boxes": boxes, "placement": ops.Placement(0.5, 0.5, 3, 4), "image_size": (90, 80)},
    "channel_statistics": {"image": image},
    "clip_boxes": {"boxes": boxes, "image_size": (30, 35)},
    "coco_accumulate": {"matches": matches, "weights": np.array([1, 2])},
    "coco_average_precision": {"matches": matches, "weights": np.array([[1, 2], [2, 1]])},
    "coco_match": found,
    "complete_box_iou": pair,
    "confusion_matrix": {"truth": parts, "predicted": parts[::-1].copy(), "num_classes": 3},
    "connected_components": {"mask": mask, "connectivity": 26},
    "crop_resize": {"image": image, "boxes": boxes, "size": (5, 6)},
    "decode_detections": {"raw": raw[0], "input_size": (64, 64), "score_threshold": 0.1},
    "distance_box_iou": pair,
    "fill_holes": {"mask": mask},
    "generalized_box_iou": pair,
    "label_components": {"mask": mask, "connectivity": 6},
    "largest_component": {"mask": mask, "connectivity": 6},
    "letterbox": {"image": image, "size": (32, 33)},
    "letterbox_batch": {"images": [image, image[:7, :9].copy()], "size": (32, 33)},
    "lung_statistics": {
        "volume": volume, "labels": parts, "spacing": (1, 1, 2), "num_labels": 2, "edges": [-900, 0, 300],
    },
    "mask_iou": {"a": mask, "b": mask[:2] | mask[1:3]},
    "mask_to_polygons": {"mask": mask[0]},
    "masks_from_rois": {"rois": raw[:, :7, :6].transpose(1, 0, 2).copy(), "boxes": boxes, "size": (60, 70)},
    "mosaic_paste": {"image": image, "canvas": np.zeros((40, 50, 3), np.uint8), "scale": (2, 3), "offset": (-9, 7)},
    "nms": {**suppressed, "iou_threshold": 0.3},
    "paired_box_iou": {**paired, "kind": "ciou"},
    "paired_box_iou_backward": {**paired, "upstream": scores, "kind": "ciou"},
    "polygons_to_mask": {"polygons": [np.array([[1.5, 3], [20, 4], [12, 19]])], "size": (20, 25)},
    "resample_volume": {"volume": volume, "spacing": (1, 1, 1), "new_spacing": (1.5, 0.7, 0.8)},
    "resize_normalize": {"image": image, "size": (11, 12)},
    "rle_area": {"rles": rles},
    "rle_decode": {"rle": rles[0]},
    "rle_encode": {"mask": mask},
    "rle_encode_labels": {"label_map": parts[0], "class_ids": [1, 2]},
    "rle_iou": {"a": rles, "b": rles[:2]},
    "roi_align": {"features": raw.reshape(2, 7, 12, 8), "size": (3, 4), **aligned},
    "roi_align_backward": {"gradient": np.ones((7, 7, 3, 4), np.float32), "shape": (2, 7, 12, 8), **aligned},
    "rotated_box_iou": {"a": rotated, "b": rotated[:4]},
    "rotated_nms": {"boxes": rotated, "scores": scores, "iou_threshold": 0.3},
    "sigmoid_focal_loss": {"logits": x, "targets": (x > 0).astype(np.float32)},
    "sigmoid_focal_loss_backward": {"logits": x, "targets": (x > 0).astype(np.float32), "upstream": x + 1},
    "simota_assign": {"raw": raw, **assigned, "input_size": (64, 64)},
    "soft_nms": {**suppressed, "class_ids": ids},
    "task_aligned_assign": {
        "scores": 1 / (1 + np.exp(-raw)), "predicted": np.tile(boxes, (24, 1)).reshape(2, 84, 4),
        "centres": np.tile(boxes[:, :2], (12, 1)), **assigned,
    },
    "weighted_box_fusion": {"boxes": boxes / 100, "scores": scores, "class_ids": ids, "model_ids": ids % 2},
    "window_hu": {"volume": volume, "center": -600, "width": 1500},
}  # fmt: skip


def arrays() -> Iterator[Any]:
    for name, given in CALLS.items():
        for argument, value in given.items():
            if isinstance(value, np.ndarray):
                yield pytest.param(name, argument, id=f"{name}-{argument}")


def flat(answer: Any) -> list[np.ndarray]:
    """All arrays and numbers of an answer."""
    if hasattr(answer, "__dataclass_fields__"):
        answer = [getattr(answer, field) for field in answer.__dataclass_fields__]
    if isinstance(answer, dict):
        answer = list(answer.values())
    return (
        [leaf for each in answer for leaf in flat(each)] if isinstance(answer, (tuple, list)) else [np.asarray(answer)]
    )


def called(name: str, **changed: Any) -> list[np.ndarray]:
    given = CALLS[name] | changed
    if "canvas" in given and "canvas" not in changed:
        given["canvas"] = given["canvas"].copy()
    return flat(getattr(ops, name)(**given))


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(
        p.dtype == q.dtype and np.array_equal(p, q, equal_nan=p.dtype.kind == "f") for p, q in zip(a, b, strict=True)
    )


def test_every_operator_is_here() -> None:
    made = {"operator", "fuse"}  # what they make is tried in test_operator.py and test_fuse.py
    assert set(CALLS) | made == {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}


@pytest.mark.parametrize(("name", "argument"), list(arrays()))
def test_takes_views_and_read_only_arrays(name: str, argument: str) -> None:
    expected, value = called(name), CALLS[name][argument]
    if argument == "canvas":
        return
    wide = np.zeros((*value.shape[:-1], 2 * value.shape[-1]), value.dtype)
    wide[..., ::2] = value
    frozen = value.copy()
    frozen.flags.writeable = False
    for odd in (wide[..., ::2], np.asfortranarray(value), value[::-1].copy()[::-1], frozen):
        before = odd.copy()
        assert same(called(name, **{argument: odd}), expected)
        np.testing.assert_array_equal(odd, before)


@pytest.mark.parametrize(("name", "argument"), list(arrays()))
def test_names_the_array_that_is_wrong(name: str, argument: str) -> None:
    value, default = CALLS[name][argument], inspect.signature(getattr(ops, name)).parameters[argument].default
    wrong = [value.astype(np.complex64), value.astype("S3"), np.full(value.shape, None)]
    for each in wrong if default is None else [*wrong, None]:
        with pytest.raises((TypeError, ValueError), match=rf"^{argument}: expected .*got "):
            called(name, **{argument: each})
    if name != "window_hu":  # of any shape
        with pytest.raises(ValueError, match=r"expected .*got "):
            called(name, **{argument: value[None][None]})


# By what is wrong with them: a size, a number from 0 to 1, a whole number, three numbers.
SIZES = [(), (5,), (5, 6, 7), (np.nan, 5), (5, np.inf), (5.5, 6), (-1, 5), 5, "x", None]
FRACTIONS = [np.nan, np.inf, -0.1, 1.1, "x", None]
COUNTS = [np.nan, np.inf, -1, 1.5, "x"]
STRIDES = [(), (8, 0), (8, -16), (8, 16.5), (8, np.nan), (8, None), 8, "x", None]
SPACINGS = [(), (1, 1), (1, 1, 0), (1, np.nan, 1), (1, 1, np.inf), 5, "x"]
WRONG_NUMBERS = {
    **{(name, "size"): SIZES for name in ("crop_resize", "letterbox", "letterbox_batch", "masks_from_rois",
                                          "polygons_to_mask", "resize_normalize", "roi_align")},
    **{(name, "image_size"): SIZES for name in ("argmax_resize", "boxes_to_picture")},
    ("decode_detections", "image_size"): [size for size in SIZES if size is not None],  # None: as the input
    **{(name, "input_size"): SIZES for name in ("decode_detections", "simota_assign")},
    **{(name, "strides"): STRIDES for name in ("decode_detections", "simota_assign")},
    ("decode_detections", "bins"): [*COUNTS, 0, None],
    ("decode_detections", "max_detections"): [*COUNTS, 0, None],
    ("decode_detections", "score_threshold"): [*FRACTIONS, [0.5]],
    ("task_aligned_assign", "top_k"): [*COUNTS, 0, 65, None],
    ("clip_boxes", "image_size"): [size for size in SIZES if size != (5.5, 6)],
    ("roi_align_backward", "shape"): [(), (1, 2, 3), (2, 7, 12, np.nan), (2, 7, 12, 0), 5, "x"],
    **{(name, "iou_threshold"): FRACTIONS for name in ("nms", "batched_nms", "rotated_nms", "soft_nms",
                                                       "weighted_box_fusion", "decode_detections")},
    ("coco_match", "classes"): COUNTS,
    ("coco_match", "picture_count"): COUNTS,
    ("lung_statistics", "num_labels"): [*COUNTS, 0, 256],
    ("roi_align", "sampling_ratio"): COUNTS,
    ("batch_norm_act", "eps"): [np.nan, np.inf, -1.0],
    ("coco_accumulate", "weights"): [np.array([-1, 2]), np.array([2**62, 1]), np.array([2**31, 0])],
    ("coco_average_precision", "weights"): [np.array([[-1, 2]]), np.array([[1, 1], [2**62, 2**62]])],
    ("weighted_box_fusion", "model_ids"): [ids - 1, np.full(7, 2**62)],
    ("mosaic_paste", "scale"): [(), (1, 0), (1, -1), (1, np.nan), (1, np.inf), (1, 1, 1), 5, "x"],
    ("mosaic_paste", "offset"): [(), (1, np.nan), (1, np.inf), (1, 1, 1), 5, "x"],
    **{(name, "spacing"): SPACINGS for name in ("boundary_distance", "lung_statistics", "resample_volume")},
    ("simota_assign", "counts"): [(), (2, 2), (2, np.nan), (6, -1), 5, "x"],
    **{(name, "connectivity"): [5, np.nan, "x"] for name in ("connected_components", "label_components", "fill_holes",
                                                             "largest_component")},
}  # fmt: skip


@pytest.mark.parametrize(("name", "argument"), WRONG_NUMBERS)
def test_names_the_number_that_is_wrong(name: str, argument: str) -> None:
    for wrong in WRONG_NUMBERS[name, argument]:
        with pytest.raises((TypeError, ValueError), match=rf"^{argument}: expected .*got "):
            called(name, **{argument: wrong})


# What has no answer without a pixel or a row, and what is sized by another argument: their own files try fewer rows.
NOT_EMPTY = {"argmax_resize", "batch_norm_act", "batch_norm_act_backward", "channel_statistics", "letterbox",
             "mosaic_paste", "resample_volume", "resize_normalize"}  # fmt: skip
SIZED = {"coco_accumulate", "decode_detections", "simota_assign", "task_aligned_assign"}
COUNTED_BY = {"crop_resize": "boxes", "roi_align": "boxes"}


def rows(name: str, chosen: slice) -> dict[str, Any]:
    """The call's arguments that have a row for each of the first one, or of `COUNTED_BY`, cut to some rows."""
    given = {argument: value for argument, value in CALLS[name].items() if isinstance(value, np.ndarray)}
    count = len(given[COUNTED_BY.get(name) or next(iter(given))])
    return {argument: value[chosen] for argument, value in given.items() if len(value) == count}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", sorted({each.values[0] for each in arrays()} - SIZED))
def test_takes_no_rows_and_one(name: str) -> None:
    called(name, **rows(name, slice(1)))
    if name in NOT_EMPTY:
        with pytest.raises(ValueError, match=r"expected .*got "):
            called(name, **rows(name, slice(0)))
    else:
        called(name, **rows(name, slice(0)))


ODD = [np.nan, np.inf, -np.inf, 1e30, -1e30, 3e38, -1e-40]
# Whose i-th answer is of the i-th row, or of no other.
BY_ROWS = ["box_convert", "box_iou", "boxes_to_picture", "clip_boxes", "complete_box_iou", "crop_resize",
           "distance_box_iou", "generalized_box_iou", "masks_from_rois", "paired_box_iou", "paired_box_iou_backward",
           "roi_align", "rotated_box_iou", "sigmoid_focal_loss", "sigmoid_focal_loss_backward"]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "argument"), list(arrays()))
def test_odd_numbers_harm_nobody_else(name: str, argument: str) -> None:
    """NaN, inf and huge coordinates: an answer each time, the same again, and as before for the other rows."""
    value, expected = CALLS[name][argument], called(name)
    if value.dtype.kind != "f":
        return
    for odd in ODD:
        for place in ((0,) * value.ndim, (-1,), (0, -1)[: value.ndim]):
            changed = value.copy()
            changed[place] = odd
            answer = called(name, **{argument: changed})
            assert same(called(name, **{argument: changed}), answer)
            if name in BY_ROWS and argument in rows(name, slice(None)):
                others = slice(0, -1) if place == (-1,) else slice(1, None)
                assert same([each[others] for each in answer], [each[others] for each in expected])


@pytest.mark.parametrize("name", [name for name in CALLS if "out" in inspect.signature(getattr(ops, name)).parameters])
def test_out_is_the_answer_or_refused(name: str) -> None:
    answer = getattr(ops, name)(**CALLS[name])
    first = answer[0] if isinstance(answer, tuple) else answer
    out = np.zeros((2, *first.shape), first.dtype)[1]
    again = getattr(ops, name)(**CALLS[name], out=out)
    assert (again[0] if isinstance(answer, tuple) else again) is out
    assert same(flat(again), flat(answer))
    frozen = out.copy()
    frozen.flags.writeable = False
    wide = np.zeros((*first.shape, 2), first.dtype)[..., 0]
    for wrong in (out.astype(np.complex64), out[None], frozen, wide, out.tolist()):
        with pytest.raises((TypeError, ValueError), match=r"^out: expected .*got "):
            getattr(ops, name)(**CALLS[name], out=wrong)
