"""Operators for detection, segmentation and classification, compiled by numba: no compiler, no torch, no OpenCV.

Each operator is one file: a public function that checks its arguments, and the kernels under it. Kernels are compiled
or fetched from the cache at their first call, not at import.
"""

from __future__ import annotations

import ops._cache  # noqa: F401  first: the others are decorated at their import
from ops._coco import CocoMatches, CocoProtocol
from ops.argmax_resize import argmax_resize
from ops.batch_norm_act import batch_norm_act, batch_norm_act_backward
from ops.boundary_distance import BoundaryDistances, boundary_distance
from ops.box_convert import box_convert
from ops.box_iou import box_iou, complete_box_iou, distance_box_iou, generalized_box_iou
from ops.boxes_to_picture import boxes_to_picture
from ops.channel_statistics import channel_statistics
from ops.clip_boxes import clip_boxes
from ops.coco_accumulate import CocoCurves, coco_accumulate
from ops.coco_average_precision import coco_average_precision
from ops.coco_match import coco_match
from ops.coco_stream import CocoStream
from ops.confusion_matrix import confusion_matrix
from ops.connected_components import Components, connected_components, label_components
from ops.crop_resize import crop_resize
from ops.decode_detections import decode_detections
from ops.fill_holes import fill_holes
from ops.fuse import fuse
from ops.largest_component import largest_component
from ops.letterbox import Placement, letterbox, letterbox_batch
from ops.lung_statistics import LungStatistics, lung_statistics
from ops.mask_iou import mask_iou
from ops.mask_to_polygons import mask_to_polygons
from ops.masks_from_rois import masks_from_rois
from ops.mosaic_paste import mosaic_paste
from ops.nms import batched_nms, nms
from ops.operator import operator
from ops.paired_box_iou import paired_box_iou, paired_box_iou_backward
from ops.polygons_to_mask import polygons_to_mask
from ops.resample_volume import resample_volume
from ops.resize_normalize import resize_normalize
from ops.rle_area import rle_area
from ops.rle_decode import rle_decode
from ops.rle_encode import rle_encode, rle_encode_labels
from ops.rle_iou import rle_iou
from ops.roi_align import roi_align, roi_align_backward
from ops.rotated_box_iou import rotated_box_iou
from ops.rotated_nms import rotated_nms
from ops.sigmoid_focal_loss import sigmoid_focal_loss, sigmoid_focal_loss_backward
from ops.simota_assign import simota_assign
from ops.soft_nms import soft_nms
from ops.task_aligned_assign import task_aligned_assign
from ops.weighted_box_fusion import weighted_box_fusion
from ops.window_hu import window_hu

__all__ = [
    "BoundaryDistances",
    "CocoCurves",
    "CocoMatches",
    "CocoProtocol",
    "CocoStream",
    "Components",
    "LungStatistics",
    "Placement",
    "argmax_resize",
    "batch_norm_act",
    "batch_norm_act_backward",
    "batched_nms",
    "boundary_distance",
    "box_convert",
    "box_iou",
    "boxes_to_picture",
    "channel_statistics",
    "clip_boxes",
    "coco_accumulate",
    "coco_average_precision",
    "coco_match",
    "complete_box_iou",
    "confusion_matrix",
    "connected_components",
    "crop_resize",
    "decode_detections",
    "distance_box_iou",
    "fill_holes",
    "fuse",
    "generalized_box_iou",
    "label_components",
    "largest_component",
    "letterbox",
    "letterbox_batch",
    "lung_statistics",
    "mask_iou",
    "mask_to_polygons",
    "masks_from_rois",
    "mosaic_paste",
    "nms",
    "operator",
    "paired_box_iou",
    "paired_box_iou_backward",
    "polygons_to_mask",
    "resample_volume",
    "resize_normalize",
    "rle_area",
    "rle_decode",
    "rle_encode",
    "rle_encode_labels",
    "rle_iou",
    "roi_align",
    "roi_align_backward",
    "rotated_box_iou",
    "rotated_nms",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_backward",
    "simota_assign",
    "soft_nms",
    "task_aligned_assign",
    "weighted_box_fusion",
    "window_hu",
]
