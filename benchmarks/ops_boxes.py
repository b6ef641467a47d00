"""Suppression, a detection head's numbers and run lengths beside OpenCV, torch, torchvision and pycocotools.

    python -m benchmarks.ops --only nms detections rle [--peers PYTHON]

torchvision runs in the process of ``--peers``, as its compiled operators fit one build of torch only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ops
from benchmarks.beside import Case, Elsewhere, Options, main

SIZE, STRIDES, CLASSES, IOU, LIMIT = 640, (8, 16, 32), 80, 0.6, 300


def same_detections(ours: Any, theirs: Any) -> str:
    """Kept boxes of one class; scores that are equal but for rounding may stand in another order."""
    (boxes, _, classes), (other_boxes, _, other_classes) = ours, theirs
    far = np.abs(boxes[:, None] - other_boxes).max(2, initial=0)
    far[classes[:, None] != other_classes] = np.inf
    nearest = far.min(1, initial=np.inf)
    differ = max(int((nearest > 0.01).sum()), abs(len(boxes) - len(other_boxes)))
    if differ > len(boxes) // 100:
        raise SystemExit(f"a peer kept {len(other_boxes)} boxes where ours kept {len(boxes)}; {differ} differ")
    return f"{differ} of {len(boxes)} boxes differ" if differ else f"the same {len(boxes)} boxes"


def same_indices(ours: Any, theirs: Any) -> str:
    if not np.array_equal(ours, theirs[0]):
        raise SystemExit(f"a peer kept {len(theirs[0])} boxes where ours kept {len(ours)}, or others")
    return f"the same {len(ours)} indices"


def grid() -> tuple[np.ndarray, np.ndarray]:
    """float32 [A, 2] and [A, 1]: the cell, x first, and the stride of each row of a head."""
    rows = []
    for stride in STRIDES:
        y, x = np.mgrid[: SIZE // stride, : SIZE // stride]
        rows.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], 1))
    cells = np.concatenate(rows).astype(np.float32)
    return np.ascontiguousarray(cells[:, :2]), np.ascontiguousarray(cells[:, 2:])


def head(objects: int = 40) -> np.ndarray:
    """What YOLOX gives for a picture of 40 objects, float32 [8400, 85]: each is found by the cells in its middle, well
    or badly; the others hold a doubtful objectness, boxes of about their stride, and class logits of noise."""
    rng = np.random.default_rng(0)
    cells, strides = grid()
    raw = rng.normal(0, 0.4, (len(cells), 5 + CLASSES)).astype(np.float32)
    raw[:, 2:4] += 0.8
    raw[:, 4] = rng.normal(-4.5, 1.5, len(cells))
    raw[:, 5:] = rng.normal(-4, 1.2, (len(cells), CLASSES))
    centres = (cells + 0.5) * strides
    for _ in range(objects):
        sides = np.exp(rng.normal(4.2, 0.7, 2)).clip(12, 400)
        middle, kind = rng.uniform(sides / 2, SIZE - sides / 2), 5 + rng.integers(CLASSES)
        away = np.abs(centres - middle).max(1) / strides[:, 0]
        for i in np.flatnonzero((away < 2.5) & (np.abs(np.log(sides.max() / strides[:, 0] / 5)) < 0.8)):
            raw[i, :2] = middle / strides[i] - cells[i] + rng.normal(0, 0.15, 2)
            raw[i, 2:4] = np.log(sides / strides[i]) + rng.normal(0, 0.08, 2)
            raw[i, 4], raw[i, kind] = rng.normal(2 - away[i], 1), rng.normal(2.5, 1)
    return raw


def by_opencv(raw: np.ndarray, cells: np.ndarray, strides: np.ndarray, least: float) -> tuple[np.ndarray, ...]:
    """As `plain_predict` does, from the square picture."""
    cv2 = importlib.import_module("cv2")
    probabilities = 1 / (1 + np.exp(-raw[:, 4:]))
    classes = probabilities[:, 1:].argmax(1)
    scores = probabilities[:, 0] * probabilities[:, 1:].max(1)
    kept = scores >= least
    raw, scores, classes, cells, strides = raw[kept], scores[kept], classes[kept], cells[kept], strides[kept]
    centre, sides = (raw[:, :2] + cells) * strides, np.exp(raw[:, 2:4]) * strides
    boxes = np.concatenate([centre - sides / 2, centre + sides / 2], 1).clip(0, SIZE)
    corner_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
    best = cv2.dnn.NMSBoxesBatched(corner_size.tolist(), scores.tolist(), classes.tolist(), least, IOU)
    order = np.asarray(best)[np.argsort(-scores[best], kind="stable")][:LIMIT]
    return boxes[order], scores[order], classes[order]


def greedy(torch: Any, boxes: Any, scores: Any, classes: Any) -> Any:
    """What one writes in torch alone: the best box, then what is left of the others, whole arrays at a time."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = scores.argsort(descending=True, stable=True), list[Any]()
    while len(order) and len(kept) < LIMIT:
        best, order = order[0], order[1:]
        kept.append(best)
        sides = torch.minimum(boxes[best, 2:], boxes[order, 2:]) - torch.maximum(boxes[best, :2], boxes[order, :2])
        shared = sides.clamp_(min=0).prod(1)
        iou = shared / (area[best] + area[order] - shared)
        order = order[(iou <= IOU) | (classes[order] != classes[best])]
    return torch.stack(kept)


def by_torch(raw: np.ndarray, cells: np.ndarray, strides: np.ndarray, least: float) -> tuple[np.ndarray, ...]:
    torch = importlib.import_module("torch")
    with torch.inference_mode():
        found, places, steps = map(torch.from_numpy, (raw, cells, strides))
        probabilities = found[:, 4:].sigmoid()
        highest, classes = probabilities[:, 1:].max(1)
        scores = highest * probabilities[:, 0]
        kept = scores >= least
        found, scores, classes, places, steps = found[kept], scores[kept], classes[kept], places[kept], steps[kept]
        centre, sides = (found[:, :2] + places) * steps, found[:, 2:4].exp() * steps
        boxes = torch.cat([centre - sides / 2, centre + sides / 2], 1).clamp_(0, SIZE)
        order = greedy(torch, boxes, scores, classes)
        return boxes[order].numpy(), scores[order].numpy(), classes[order].numpy()


def detections(given: Options) -> Iterator[Case]:
    raw, (cells, strides) = head(), grid()
    for least, bar, compiled_bar in ((0.25, 5, 2), (0.001, 50, 20)):
        compiled = Elsewhere(
            given.peers, "detections", raw=raw, cells=cells, strides=strides, least=np.float64(least),
            threshold=np.float64(IOU), size=np.int64(SIZE), limit=np.int64(LIMIT),
        )  # fmt: skip
        peers: dict[str, Callable[[], Any]] = {
            "opencv, NMSBoxesBatched": lambda least=least: by_opencv(raw, cells, strides, least),
            "torch, greedy": lambda least=least: by_torch(raw, cells, strides, least),
            "torchvision, batched_nms": compiled,
        }
        yield Case(
            f"decode_detections {len(raw)}x{CLASSES}, score {least}",
            lambda least=least: ops.decode_detections(
                raw, input_size=(SIZE, SIZE), score_threshold=least, iou_threshold=IOU, max_detections=LIMIT
            ),
            peers,
            same_detections,
            {"opencv, NMSBoxesBatched": bar, "torch, greedy": bar, "torchvision, batched_nms": compiled_bar},
        )


def suppression(given: Options) -> Iterator[Case]:
    for count in (1_000, 10_000):
        rng = np.random.default_rng(count)
        corners = rng.uniform(0, 1000, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(20, 200, (count, 2))], 1).astype(np.float32)
        scores = rng.permutation(np.linspace(0, 1, count, dtype=np.float32))  # no two alike: torchvision sorts unstably
        peer = Elsewhere(given.peers, "nms", boxes=boxes, scores=scores, threshold=np.float64(0.5))
        yield Case(
            f"nms {count} boxes",
            lambda boxes=boxes, scores=scores: ops.nms(boxes, scores, 0.5),
            {"torchvision": peer},
            same_indices,
            {"torchvision": 2},
        )


def run_lengths(_: Options) -> Iterator[Case]:
    size, count = (480, 640), 100
    rng = np.random.default_rng(5)
    corner = rng.uniform(0, 400, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 240, (count, 2))], 1).astype(np.float32)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    waves = 0.2 * np.sin(rng.uniform(2, 9, (count, 1, 1)) * x) * np.cos(rng.uniform(2, 9, (count, 1, 1)) * y)
    masks = ops.masks_from_rois((1 - x**2 - y**2 + waves).clip(0, 1).astype(np.float32), boxes, size)

    def one_by_one() -> list[str]:
        coco = importlib.import_module("pycocotools.mask")
        return [coco.encode(np.asfortranarray(mask))["counts"].decode() for mask in masks]

    def at_once() -> list[str]:
        coco = importlib.import_module("pycocotools.mask")
        return [rle["counts"].decode() for rle in coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))]

    yield Case(
        f"rle_encode {count} masks {size[0]}x{size[1]}",
        lambda: [rle["counts"] for rle in ops.rle_encode(masks)],
        {"pycocotools, mask by mask": one_by_one, "pycocotools, all at once": at_once},
        lambda ours, theirs: "equal" if ours == theirs else "DIFFERENT",
        {"pycocotools, mask by mask": 2, "pycocotools, all at once": 2},
    )


SECTIONS = {"detections": detections, "nms": suppression, "rle": run_lengths}


if __name__ == "__main__":
    main(SECTIONS)
