"""A loaded bundle: picture to result in four timed stages, decode, preprocess, network, postprocess.

Each stage is a method, so that the parity check and the service can stand between them.
"""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal, Unpack, cast

import numpy as np
from numpy.typing import NDArray

from ops import Placement
from toolkit.bundle import Bundle
from toolkit.bundle_spec import BundleSpec, Postprocessing
from toolkit.errors import PictureError, UserError
from toolkit.images import MAX_PIXELS, RGB
from toolkit.inference.engine import Engine, usable_cores
from toolkit.inference.series import predict_series
from toolkit.inference.sources import (
    Input,
    Picture,
    Series,
    check_inputs,
    decode_ahead,
    expand,
    series_of,
    single_picture,
)
from toolkit.inference.task import Options, task_of
from toolkit.preprocess import Preprocessing
from toolkit.results import Failure, Result

MAX_DECODERS = 4


class Model:
    """A bundle ready to predict. Several threads may use one model at once."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        allow_spinning: bool = True,
    ) -> None:
        """See ``toolkit.load``, which finds the bundle too."""
        self.bundle = bundle
        self.task = task_of(bundle.spec.task)
        outputs = self.task.outputs(bundle.spec)
        self.asked_precision = precision
        self._engine = Engine(
            bundle, outputs, device=device, precision=precision, threads=threads, allow_spinning=allow_spinning
        )
        self._buffers = threading.local()

    def described(self, spec: BundleSpec) -> Model:
        """The same network, described otherwise: as ``spec``, which must be of this task."""
        other = copy.copy(self)
        other.bundle = replace(self.bundle, spec=spec)
        return other

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

    @property
    def precision(self) -> str:
        """What the network computes in: "fp32" or "int8"."""
        return self._engine.precision

    @property
    def threads(self) -> int:
        """How many work on one batch."""
        return self._engine.threads

    def decode(self, content: Input, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
        """Decode one picture; call the result for its RGB uint8 [H, W, 3].

        ``name`` becomes the result's source. Raises PictureError for a picture that cannot be used, and UserError for
        a path that is missing or is not one picture.
        """
        return single_picture(content, name).decode(max_pixels)

    def input_size_for(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the network's input for a picture of that size: those of one such size share a batch."""
        return self.spec.preprocessing.size_for(height, width)

    def preprocess(
        self, pictures: Sequence[RGB], out: NDArray[np.float32] | None = None, *, reuse: bool = False
    ) -> tuple[NDArray[np.float32], list[Placement]]:
        """Pictures RGB uint8 [H, W, 3] to the network's input float32 [B, 3, h, w], written to ``out`` if given.

        Where the bundle pads to a multiple, ``h`` and ``w`` are the pictures' own, and all must share them: see
        `input_size_for`; `run_batch` takes any.
        ``reuse`` writes into a buffer of the calling thread, which its next call overwrites: that saves fresh memory
        and, for pictures of the size of the ones before, the area beside them.
        """
        preprocessing = self.spec.preprocessing
        sizes = {self.input_size_for(*picture.shape[:2]) for picture in pictures} or {preprocessing.input_size}
        if len(sizes) > 1:
            raise ValueError(f"pictures: expected one size of the network's input, got {sorted(sizes)}")
        size = sizes.pop()
        if reuse:
            return self._held(len(pictures)).fill(preprocessing, pictures, size)
        if out is None:
            out = np.empty((len(pictures), 3, *size), np.float32)
        return out, [preprocessing.apply(picture, out=row)[1] for picture, row in zip(pictures, out, strict=True)]

    def network(self, batch: NDArray[np.float32], *, explain: bool = False) -> list[NDArray[np.float32]]:
        """The raw outputs of a batch, each float32 [B, ...]; ``explain`` asks for what a heat map is drawn from too."""
        return self._engine.run(batch, self.task.wanted(self.spec, explain))

    def give_back(self) -> None:
        """Let the next run of the network give back the memory that larger runs before it left."""
        self._engine.give_back()

    def postprocess(
        self,
        raw: Sequence[NDArray[np.float32]],
        placement: Placement,
        image_size: tuple[int, int],
        options: Postprocessing | None = None,
    ) -> dict[str, Any]:
        """One picture's raw outputs to the result's own fields, such as boxes, scores and class ids."""
        return self.task.answer(raw, placement, image_size, self.spec, options or self.spec.postprocessing)

    def run_batch(
        self,
        pictures: Sequence[RGB | Picture],
        *,
        explain: bool = False,
        **options: Unpack[Options],
    ) -> list[Result]:
        """Predict on decoded pictures (from ``decode``, or RGB uint8 arrays) at once, in the calling thread.

        Those of one `input_size_for` are one batch.
        """
        settings = self.settings(explain, **options)
        held = [
            item if isinstance(item, Picture) else Picture(f"array[{index}]", item).decode()
            for index, item in enumerate(pictures)
        ]
        return self._run(held, settings)

    def predict_one(
        self,
        content: Input,
        *,
        name: str | None = None,
        explain: bool = False,
        **options: Unpack[Options],
    ) -> Result:
        """Predict on one picture. Raises PictureError when it cannot be used; options override the bundle's.

        A CT series (a folder or zip of DICOM files, a NIfTI file) is one input too, and gives a ``CTReport``.
        ``explain`` gives a classifier's result its heat map of the evidence, which ``draw`` then shows.
        """
        settings = self.settings(explain, **options)
        if series := series_of(content):
            return predict_series(self, series.path, name=name)
        picture = self.decode(content, name=name)
        result = self._run([picture], settings)[0]
        picture.release()
        return result

    def predict(
        self,
        inputs: Input | Iterable[Input],
        *,
        batch_size: int = 1,
        on_error: Literal["report", "raise"] = "report",
        max_pixels: int = MAX_PIXELS,
        explain: bool = False,
        **options: Unpack[Options],
    ) -> Iterator[Result | Failure]:
        """Predict on paths, folders, patterns, videos, bytes, arrays, PIL images, or an iterable of these.

        Lazy and in the order of the inputs: pictures are decoded ahead in threads, a few batches at most, so memory
        does not grow with their number. A picture that cannot be used comes as a ``Failure``, or raises PictureError
        with ``on_error="raise"``. Wrong paths and options raise UserError here, before any work. A CT series (a folder
        or zip of DICOM files, a NIfTI file) is one input and comes as a ``CTReport``.
        """
        settings = self.settings(explain, **options)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size: expected an integer from 1 up, got {batch_size!r}")
        if on_error not in ("report", "raise"):
            raise UserError(f"on_error: expected 'report' or 'raise', got {on_error!r}")
        check_inputs(inputs)
        return self._stream(expand(inputs), batch_size, settings, on_error, max_pixels)

    def settings(self, explain: bool = False, **options: Unpack[Options]) -> CallSettings:
        """What a call asks for; UserError for an option that the task does not have or a value out of range."""
        self.task.wanted(self.spec, explain)
        return CallSettings(self.spec.postprocessing.override(**options), explain)

    def result(
        self,
        picture: Picture,
        raw: Sequence[NDArray[np.float32]],
        placement: Placement,
        settings: CallSettings,
        *,
        preprocess: float,
        network: float,
    ) -> Result:
        """The result of one decoded picture from its raw outputs; the two stages before it took these milliseconds."""
        clock = _Clock()
        image = picture()
        size = (image.shape[0], image.shape[1])
        fields = self.postprocess(raw, placement, size, settings.postprocessing)
        timing = {
            "decode": picture.milliseconds,
            "preprocess": preprocess,
            "network": network,
            "postprocess": clock.lap(),
        }
        return self.task.result_type(
            source=picture.source, image_size=size, class_names=self.labels, timing=timing, picture=picture, **fields
        )

    def _stream(
        self,
        inputs: Iterator[Picture | Series],
        batch_size: int,
        settings: CallSettings,
        on_error: str,
        max_pixels: int,
    ) -> Iterator[Result | Failure]:
        for is_series, run in groupby(inputs, lambda item: isinstance(item, Series)):
            if is_series:
                yield from (self._series(item, on_error) for item in cast("Iterator[Series]", run))
            else:
                pictures = cast("Iterator[Picture]", run)
                yield from self._pictures(pictures, batch_size, settings, on_error, max_pixels)

    def _series(self, series: Series, on_error: str) -> Result | Failure:
        try:
            return predict_series(self, series.path)
        except PictureError as error:
            if on_error == "raise":
                raise
            return Failure(series.source, str(error))

    def _pictures(
        self,
        pictures: Iterator[Picture],
        batch_size: int,
        settings: CallSettings,
        on_error: str,
        max_pixels: int,
    ) -> Iterator[Result | Failure]:
        workers = min(MAX_DECODERS, usable_cores())
        waiting: list[Picture | Failure] = []
        for picture, decoding in decode_ahead(pictures, max_pixels, workers, batch_size + workers):
            waiting.append(_decoded(picture, decoding, on_error))
            if len(waiting) == batch_size:
                yield from self._flush(waiting, settings)
                waiting = []
        yield from self._flush(waiting, settings)

    def _flush(self, waiting: list[Picture | Failure], settings: CallSettings) -> Iterator[Result | Failure]:
        pictures = [item for item in waiting if isinstance(item, Picture)]
        results = iter(self._run(pictures, settings))
        for item in waiting:
            if isinstance(item, Failure):
                yield item
            else:
                yield next(results)
                item.release()

    def _run(self, pictures: Sequence[Picture], settings: CallSettings) -> list[Result]:
        images = [picture() for picture in pictures]
        batches: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            batches.setdefault(self.input_size_for(*image.shape[:2]), []).append(index)
        found: dict[int, Result] = {}
        for chosen in batches.values():
            results = self._run_alike(
                [pictures[index] for index in chosen], [images[index] for index in chosen], settings
            )
            found |= zip(chosen, results, strict=True)
        return [found[index] for index in range(len(pictures))]

    def _run_alike(self, pictures: Sequence[Picture], images: Sequence[RGB], settings: CallSettings) -> list[Result]:
        """Predict on pictures that make inputs of one size."""
        clock = _Clock()
        batch, placements = self.preprocess(images, reuse=True)
        preprocess = clock.lap() / len(images)
        raw = self.network(batch, explain=settings.explain)
        network = clock.lap() / len(images)
        return [
            self.result(
                picture,
                [output[index] for output in raw],
                placement,
                settings,
                preprocess=preprocess,
                network=network,
            )
            for index, (picture, placement) in enumerate(zip(pictures, placements, strict=True))
        ]

    def _held(self, count: int) -> HeldInput:
        """This thread's input, kept between calls: fresh pages for every picture cost more than filling them."""
        held: HeldInput | None = getattr(self._buffers, "input", None)
        if held is None or held.count < count:
            held = self._buffers.input = HeldInput(count, self.spec.preprocessing.input_size)
        return held


class HeldInput:
    """A network's input that is filled again and again, and what lies beside the picture in each place of it."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        """For ``count`` pictures of at most that (height, width)."""
        self.count = count
        self._memory = np.empty(count * 3 * math.prod(size), np.float32)
        self.array = self._cut(size)
        self._borders: list[object] = [None] * count

    def fill(
        self, preprocessing: Preprocessing, pictures: Sequence[RGB], size: tuple[int, int]
    ) -> tuple[NDArray[np.float32], list[Placement]]:
        """Preprocess the pictures into the first places; return those and where the pictures lie in them."""
        if size != self.array.shape[2:]:
            self.array, self._borders = self._cut(size), [None] * self.count
        placements = []
        for place, picture in enumerate(pictures):
            border = preprocessing.border_of(picture.shape[0], picture.shape[1])
            known = border is not None and border == self._borders[place]
            self._borders[place] = None  # until it is written
            placements.append(preprocessing.apply(picture, out=self.array[place], border=not known)[1])
            self._borders[place] = border
        return self.array[: len(pictures)], placements

    def _cut(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """The memory as inputs of that size: it is the same for all, so that it does not grow with their number."""
        shape = self.count, 3, *size
        return self._memory[: math.prod(shape)].reshape(shape)


@dataclass(frozen=True)
class CallSettings:
    """What one call asks for."""

    postprocessing: Postprocessing
    explain: bool


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
