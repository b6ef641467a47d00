"""A loaded bundle: picture to result in four timed stages, decode, preprocess, network, postprocess.

Each stage is a method, so that the parity check and the service can stand between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ops import Placement, decode_detections
from toolkit.bundle import Bundle
from toolkit.bundle_spec import BundleSpec, DetectionPostprocessing
from toolkit.errors import PictureError, UserError
from toolkit.images import MAX_PIXELS, RGB
from toolkit.inference.engine import Engine, usable_cores
from toolkit.inference.sources import Input, Picture, check_inputs, decode_ahead, expand, single_picture
from toolkit.results import DetectionResult, Failure

Detections: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]
MAX_DECODERS = 4


class Model:
    """A bundle ready to predict. Several threads may use one model at once."""

    def __init__(
        self, bundle: Bundle, *, device: str = "auto", threads: int | None = None, allow_spinning: bool = True
    ) -> None:
        """See ``toolkit.load``, which finds the bundle too."""
        self.bundle = bundle
        self._engine = Engine(bundle, device=device, threads=threads, allow_spinning=allow_spinning)
        self._buffers = threading.local()

    @property
    def spec(self) -> BundleSpec:
        return self.bundle.spec

    @property
    def name(self) -> str:
        return self.bundle.spec.name

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.spec.labels

    @property
    def device(self) -> str:
        """Where the network runs: "cpu" or "cuda"."""
        return self._engine.device

    def decode(self, content: Input, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
        """Decode one picture; call the result for its RGB uint8 [H, W, 3].

        ``name`` becomes the result's source. Raises PictureError for a picture that cannot be used, and UserError for
        a path that is missing or is not one picture.
        """
        return single_picture(content, name).decode(max_pixels)

    def preprocess(
        self, pictures: Sequence[RGB], out: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], list[Placement]]:
        """Pictures RGB uint8 [H, W, 3] to the network's input float32 [B, 3, h, w], written to ``out`` if given."""
        preprocessing = self.spec.preprocessing
        if out is None:
            out = np.empty((len(pictures), 3, *preprocessing.input_size), np.float32)
        return out, [preprocessing.apply(picture, out=row)[1] for picture, row in zip(pictures, out, strict=True)]

    def network(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raw predictions float32 [B, A, 5 + C]."""
        return self._engine.run(batch)

    def postprocess(
        self,
        raw: NDArray[np.float32],
        placement: Placement,
        image_size: tuple[int, int],
        options: DetectionPostprocessing | None = None,
    ) -> Detections:
        """One picture's raw predictions [A, 5 + C] to boxes, scores and class ids; see ``ops.decode_detections``."""
        options = options or self.spec.postprocessing
        return decode_detections(
            raw,
            input_size=self.spec.preprocessing.input_size,
            strides=self.spec.network.strides,
            placement=placement,
            image_size=image_size,
            score_threshold=options.score_threshold,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
        )

    def run_batch(
        self,
        pictures: Sequence[RGB | Picture],
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> list[DetectionResult]:
        """Predict on decoded pictures (from ``decode``, or RGB uint8 arrays) as one batch, in the calling thread."""
        options = self.spec.postprocessing.override(score_threshold, iou_threshold, max_detections)
        held = [
            item if isinstance(item, Picture) else Picture(f"array[{index}]", item).decode()
            for index, item in enumerate(pictures)
        ]
        return self._run(held, options)

    def predict_one(
        self,
        content: Input,
        *,
        name: str | None = None,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
    ) -> DetectionResult:
        """Predict on one picture. Raises PictureError when it cannot be used; options override the bundle's."""
        options = self.spec.postprocessing.override(score_threshold, iou_threshold, max_detections)
        picture = self.decode(content, name=name)
        result = self._run([picture], options)[0]
        picture.release()
        return result

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        batch_size: int = 1,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        on_error: Literal["report", "raise"] = "report",
        max_pixels: int = MAX_PIXELS,
    ) -> Iterator[DetectionResult | Failure]:
        """Predict on paths, folders, patterns, videos, bytes, arrays, PIL images, or an iterable of these.

        Lazy and in the order of the inputs: pictures are decoded ahead in threads, a few batches at most, so memory
        does not grow with their number. A picture that cannot be used comes as a ``Failure``, or raises PictureError
        with ``on_error="raise"``. Wrong paths and options raise UserError here, before any work.
        """
        options = self.spec.postprocessing.override(score_threshold, iou_threshold, max_detections)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size: expected an integer from 1 up, got {batch_size!r}")
        if on_error not in ("report", "raise"):
            raise UserError(f"on_error: expected 'report' or 'raise', got {on_error!r}")
        check_inputs(inputs)
        return self._stream(expand(inputs), batch_size, options, on_error, max_pixels)

    def _stream(
        self,
        pictures: Iterator[Picture],
        batch_size: int,
        options: DetectionPostprocessing,
        on_error: str,
        max_pixels: int,
    ) -> Iterator[DetectionResult | Failure]:
        workers = min(MAX_DECODERS, usable_cores())
        waiting: list[Picture | Failure] = []
        for picture, decoding in decode_ahead(pictures, max_pixels, workers, batch_size + workers):
            waiting.append(_decoded(picture, decoding, on_error))
            if len(waiting) == batch_size:
                yield from self._flush(waiting, options)
                waiting = []
        yield from self._flush(waiting, options)

    def _flush(
        self, waiting: list[Picture | Failure], options: DetectionPostprocessing
    ) -> Iterator[DetectionResult | Failure]:
        pictures = [item for item in waiting if isinstance(item, Picture)]
        results = iter(self._run(pictures, options))
        for item in waiting:
            if isinstance(item, Failure):
                yield item
            else:
                yield next(results)
                item.release()

    def _run(self, pictures: Sequence[Picture], options: DetectionPostprocessing) -> list[DetectionResult]:
        if not pictures:
            return []
        clock = _Clock()
        images = [picture() for picture in pictures]
        batch, placements = self.preprocess(images, out=self._buffer(len(images)))
        preprocess = clock.lap() / len(images)
        raw = self.network(batch)
        network = clock.lap() / len(images)
        results = []
        for picture, image, row, placement in zip(pictures, images, raw, placements, strict=True):
            size = (image.shape[0], image.shape[1])
            boxes, scores, class_ids = self.postprocess(row, placement, size, options)
            timing = {
                "decode": picture.milliseconds,
                "preprocess": preprocess,
                "network": network,
                "postprocess": clock.lap(),
            }
            results.append(
                DetectionResult(picture.source, size, self.labels, boxes, scores, class_ids, timing, picture)
            )
        return results

    def _buffer(self, count: int) -> NDArray[np.float32]:
        """This thread's input, kept between calls: fresh pages for every picture cost more than filling them."""
        held: NDArray[np.float32] | None = getattr(self._buffers, "batch", None)
        if held is None or len(held) < count:
            held = np.empty((count, 3, *self.spec.preprocessing.input_size), np.float32)
            self._buffers.batch = held
        return held[:count]


@dataclass
class _Clock:
    """Milliseconds since the last lap."""

    last: float = 0.0

    def __post_init__(self) -> None:
        self.last = time.perf_counter()

    def lap(self) -> float:
        now = time.perf_counter()
        spent, self.last = (now - self.last) * 1e3, now
        return spent


def _decoded(picture: Picture, decoding: Future[Any], on_error: str) -> Picture | Failure:
    try:
        decoding.result()
    except PictureError as error:
        if on_error == "raise":
            raise
        return Failure(picture.source, str(error))
    return picture
