"""torchvision's ways, run by a Python that has it: `beside.Elsewhere` starts this file there, without the project.

PYTHON benchmarks/peer.py NAME FOLDER      for each line that comes: run, write FOLDER/out.npz, tell the seconds
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision


def nms(boxes: Any, scores: Any, threshold: Any) -> list[Any]:
    return [torchvision.ops.nms(boxes, scores, float(threshold))]


def decoded(raw: Any, cells: Any, strides: Any, least: float) -> tuple[Any, Any, Any]:
    """Boxes, scores and classes of a YOLOX head that reach a score."""
    probabilities = raw[:, 4:].sigmoid()
    highest, classes = probabilities[:, 1:].max(1)
    scores = highest * probabilities[:, 0]
    kept = scores >= least
    raw, scores, classes, cells, strides = raw[kept], scores[kept], classes[kept], cells[kept], strides[kept]
    centre, sides = (raw[:, :2] + cells) * strides, raw[:, 2:4].exp() * strides
    return torch.cat([centre - sides / 2, centre + sides / 2], 1), scores, classes


def detections(raw: Any, cells: Any, strides: Any, least: Any, threshold: Any, size: Any, limit: Any) -> list[Any]:
    boxes, scores, classes = decoded(raw, cells, strides, float(least))
    boxes = torchvision.ops.clip_boxes_to_image(boxes, (int(size), int(size)))
    kept = torchvision.ops.batched_nms(boxes, scores, classes, float(threshold))[: int(limit)]
    return [boxes[kept], scores[kept], classes[kept]]


def roi_align(maps: Any, rows: Any, side: Any, scale: Any, sampling_ratio: Any) -> list[Any]:
    return [torchvision.ops.roi_align(maps, rows, int(side), float(scale), int(sampling_ratio), True)]


WAYS: dict[str, Callable[..., list[Any]]] = {"nms": nms, "detections": detections, "roi_align": roi_align}


def main(name: str, folder: str) -> None:
    with np.load(Path(folder) / "in.npz") as arrays:
        given = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    for _ in sys.stdin:
        started = time.perf_counter()
        answer = WAYS[name](**given)
        seconds = time.perf_counter() - started
        np.savez(Path(folder) / "out.npz", *[each.numpy() for each in answer])
        print(seconds, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
