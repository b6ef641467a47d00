"""What each public function of `ops` is called with, those with a parallel kernel on inputs large enough for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ops

rng = np.random.default_rng(0)
picture = rng.integers(0, 256, (2000, 2100, 3), np.uint8)
small = picture[:300, :400]
corner = rng.uniform(0, 500, (400, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 200, (400, 2))], 1).astype(np.float32)
scores, ids = boxes[:, 0].copy(), rng.integers(0, 3, 400)
raw = rng.normal(size=(3, 84, 8)).astype(np.float32)
x = rng.normal(size=(40000, 16)).astype(np.float32)
gain, shift = rng.normal(size=(2, 16)).astype(np.float32)
y, mean, variance = ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu")
logits = rng.normal(size=(5, 64, 64)).astype(np.float32)
maps = rng.normal(size=(1, 24, 30, 40)).astype(np.float32)
voxels = rng.random((11, 300, 310)) < 0.4
masks = rng.random((40, 300, 310)) < 0.4
hounsfield = rng.integers(-1000, 400, (11, 300, 310), np.int16)
wide, parts = np.tile(hounsfield, (2, 1, 1)), rng.integers(0, 5, (22, 300, 310), np.uint8)
surfaces = voxels[:, :100, :100], parts[:11, :100, :100] == 1
turned = np.c_[boxes, scores]
fractions = boxes / 800
rles = [ops.rle_encode(mask) for mask in masks[:8]]
outline = np.array([[10.5, 3], [250, 40], [120, 290]])
found, classes = rng.uniform(1, 50, (30000, 4)), rng.integers(3, size=30000)
true, places = (rng.uniform(1, 50, (300, 4)), rng.integers(3, size=300)), np.arange(30000) // 100


def matched() -> ops.CocoMatches:
    pictures = {"pictures": places, "truth_pictures": np.arange(300), "picture_count": 300}
    return ops.coco_match(found, found[:, 0].copy(), classes, *true, classes=3, **pictures)  # type: ignore[arg-type]


matches = matched()
vignette = ops.operator(dtype=np.float32)(lambda grey, light: grey / light)
total = ops.operator("reduce", initial=0)(lambda a, b: a + b)
shifted = ops.operator("gather")(lambda y, x, by: (y * by, x))
fused = ops.fuse(vignette, total)
assigned: dict[str, Any] = {"boxes": boxes[:9] / 8, "class_ids": np.zeros(9, np.int64), "counts": [3, 3, 3]}

CALLS: dict[str, Callable[[], Any]] = {
    "argmax_resize": lambda: ops.argmax_resize(logits, (2000, 2100)),
    "batch_norm_act": lambda: ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu"),
    "batch_norm_act_backward": lambda: ops.batch_norm_act_backward(
        y, x, mean, variance, gain, shift, 1e-3, activation="relu6"
    ),
    "batched_nms": lambda: ops.batched_nms(boxes, scores, ids, 0.5),
    "boundary_distance": lambda: ops.boundary_distance(*surfaces, (1.5, 0.7, 0.7)),
    "box_convert": lambda: ops.box_convert(boxes, "xyxy", "cxcywh"),
    "box_iou": lambda: ops.box_iou(boxes, boxes),
    "boxes_to_picture": lambda: ops.boxes_to_picture(boxes, ops.Placement(0.5, 0.5, 3, 4), (900, 900)),
    "channel_statistics": lambda: ops.channel_statistics(picture),
    "clip_boxes": lambda: ops.clip_boxes(boxes, (300, 300)),
    "coco_accumulate": lambda: ops.coco_accumulate(matches).precision,
    "coco_average_precision": lambda: ops.coco_average_precision(matches, np.ones((20, 300), np.int64)),
    "coco_match": lambda: (lambda m: [m.scores, m.hits, m.ignored])(matched()),
    "complete_box_iou": lambda: ops.complete_box_iou(boxes, boxes),
    "confusion_matrix": lambda: ops.confusion_matrix(parts, parts[::-1], 5),
    "connected_components": lambda: ops.connected_components(voxels, 26),
    "crop_resize": lambda: ops.crop_resize(picture, boxes, (24, 24)),
    "decode_detections": lambda: ops.decode_detections(raw[0], input_size=(64, 64), score_threshold=0.1),
    "distance_box_iou": lambda: ops.distance_box_iou(boxes, boxes),
    "fill_holes": lambda: ops.fill_holes(voxels),
    "fuse": lambda: fused(x, 2.0),
    "generalized_box_iou": lambda: ops.generalized_box_iou(boxes, boxes),
    "label_components": lambda: ops.label_components(voxels, 6),
    "largest_component": lambda: ops.largest_component(voxels, 6),
    "letterbox": lambda: [ops.letterbox(picture, (416, 320), exact=exact)[0] for exact in (False, True)],
    "letterbox_batch": lambda: ops.letterbox_batch([small, picture], (416, 320), dtype=np.float16)[0],
    "lung_statistics": lambda: ops.lung_statistics(wide, parts, (1, 1, 1), 4, [-900, -500, 0]),
    "mask_iou": lambda: ops.mask_iou(masks, masks),
    "mask_to_polygons": lambda: ops.mask_to_polygons(masks[0], 8),
    "masks_from_rois": lambda: ops.masks_from_rois(logits, boxes[:5], (500, 600)),
    "mosaic_paste": lambda: (lambda canvas: [ops.mosaic_paste(small, canvas, scale=(2, 3), offset=(-9, 7)), canvas])(
        np.zeros((400, 500, 3), np.uint8)
    ),
    "nms": lambda: ops.nms(boxes, scores, 0.5),
    "operator": lambda: [vignette(x, gain), total(x), shifted(small, 0.5)],
    "paired_box_iou": lambda: ops.paired_box_iou(boxes, boxes[::-1], kind="ciou"),
    "paired_box_iou_backward": lambda: ops.paired_box_iou_backward(boxes, boxes[::-1], scores, kind="ciou"),
    "polygons_to_mask": lambda: ops.polygons_to_mask([outline], (300, 310)),
    "resample_volume": lambda: ops.resample_volume(hounsfield, (1, 1, 1), (1.5, 0.7, 0.8)),
    "resize_normalize": lambda: ops.resize_normalize(picture, (416, 320))[0],
    "rle_area": lambda: ops.rle_area(rles),
    "rle_decode": lambda: ops.rle_decode(rles[0]),
    "rle_encode": lambda: ops.rle_encode(masks[1])["counts"],
    "rle_encode_labels": lambda: [rle["counts"] for rle in ops.rle_encode_labels(parts[0], [1, 3])],
    "rle_iou": lambda: ops.rle_iou(rles, rles),
    "roi_align": lambda: ops.roi_align(maps, boxes, (7, 7), scale=1 / 16),
    "roi_align_backward": lambda: ops.roi_align_backward(
        np.ones((400, 24, 7, 7), np.float32), boxes, maps.shape, scale=1 / 16
    ),
    "rotated_box_iou": lambda: ops.rotated_box_iou(turned[:60], turned[:60]),
    "rotated_nms": lambda: ops.rotated_nms(turned, scores, 0.4),
    "sigmoid_focal_loss": lambda: ops.sigmoid_focal_loss(x, (x > 0).astype(np.float32)),
    "sigmoid_focal_loss_backward": lambda: ops.sigmoid_focal_loss_backward(x, (x > 0).astype(np.float32), x),
    "simota_assign": lambda: ops.simota_assign(raw, **assigned, input_size=(64, 64)),
    "soft_nms": lambda: ops.soft_nms(boxes, scores / 500),
    "task_aligned_assign": lambda: ops.task_aligned_assign(
        1 / (1 + np.exp(-raw)), boxes[:252].reshape(3, 84, 4), boxes[:84, :2].copy(), **assigned
    ),
    "weighted_box_fusion": lambda: ops.weighted_box_fusion(fractions, scores / 500, ids, ids, iou_threshold=0.5),
    "window_hu": lambda: ops.window_hu(wide, -600, 1500),
}

# Where an operator has modes with kernels of their own: a call waits for those of one.
MODES: dict[str, Callable[[], Any]] = {
    "letterbox": lambda: ops.letterbox(picture, (416, 320))[0],
    "letterbox, exact": lambda: ops.letterbox(picture, (416, 320), exact=True)[0],
}
