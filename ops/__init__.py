"""Operators for detection, segmentation and classification, compiled by numba: no compiler, no torch, no OpenCV.

Each operator is one file: a public function that checks its arguments, and the kernels under it. Kernels are compiled
or fetched from the cache at their first call, not at import.
"""

from __future__ import annotations

from ops.batch_norm_silu import batch_norm_silu, batch_norm_silu_backward
from ops.box_iou import box_iou
from ops.decode_detections import decode_detections
from ops.letterbox import Placement, letterbox
from ops.mosaic_paste import mosaic_paste
from ops.nms import batched_nms, nms
from ops.paired_box_iou import paired_box_iou, paired_box_iou_backward
from ops.simota_assign import simota_assign

__all__ = [
    "Placement",
    "batch_norm_silu",
    "batch_norm_silu_backward",
    "batched_nms",
    "box_iou",
    "decode_detections",
    "letterbox",
    "mosaic_paste",
    "nms",
    "paired_box_iou",
    "paired_box_iou_backward",
    "simota_assign",
]
