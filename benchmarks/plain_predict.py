"""The peer: what an engineer writes by hand with OpenCV, NumPy and ONNX Runtime to run a YOLOX detector, written well.

Nothing of the toolkit is imported. `benchmarks.predict` checks that both give the same boxes and times them.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import onnxruntime


class PlainDetector:
    """Letterbox by cv2.resize, NumPy normalisation and decoding, cv2's class-wise NMS."""

    def __init__(
        self,
        model: bytes,
        size: tuple[int, int],
        options: onnxruntime.SessionOptions,
        pad_multiple: int | None = None,
    ) -> None:
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.size = size
        self.pad_multiple = pad_multiple

    @functools.lru_cache(maxsize=64)  # noqa: B019  # there is one detector in a process
    def grid(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        rows = []
        for stride in (8, 16, 32):
            y, x = np.mgrid[: height // stride, : width // stride]
            rows.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
        grid = np.concatenate(rows).astype(np.float32)
        return grid[:, :2], grid[:, 2:]

    def decode(self, data: bytes) -> np.ndarray:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    def preprocess(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        height, width = image.shape[:2]
        ratio = min(self.size[0] / height, self.size[1] / width)
        resized = cv2.resize(image, (round(width * ratio), round(height * ratio)), interpolation=cv2.INTER_LINEAR)
        target = self.size
        if self.pad_multiple:
            target = tuple(-(-side // self.pad_multiple) * self.pad_multiple for side in resized.shape[:2])
        padded = np.full((*target, 3), 114, np.uint8)
        padded[: resized.shape[0], : resized.shape[1]] = resized
        return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32), ratio

    def network(self, batch: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"images": batch})[0]

    def postprocess(
        self,
        raw: np.ndarray,
        ratio: float,
        input_size: tuple[int, int],
        image_size: tuple[int, int],
        score_threshold: float,
        iou_threshold: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        raw = raw[0]
        cells, strides = self.grid(*input_size)
        probabilities = 1 / (1 + np.exp(-raw[:, 4:]))
        classes = probabilities[:, 1:].argmax(1)
        scores = probabilities[:, 0] * probabilities[:, 1:].max(1)
        kept = scores >= score_threshold
        raw, scores, classes = raw[kept], scores[kept], classes[kept]
        centre = (raw[:, :2] + cells[kept]) * strides[kept]
        sides = np.exp(raw[:, 2:4]) * strides[kept]
        boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1) / ratio
        boxes = boxes.clip(0, [image_size[1], image_size[0]] * 2)
        if not len(boxes):
            return boxes, scores, classes
        corner_size = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        best = cv2.dnn.NMSBoxesBatched(
            corner_size.tolist(), scores.tolist(), classes.tolist(), score_threshold, iou_threshold
        )
        order = np.asarray(best)[np.argsort(-scores[best], kind="stable")]
        return boxes[order], scores[order], classes[order]
