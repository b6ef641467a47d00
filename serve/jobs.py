"""What a batcher is asked to do: a picture to a result, a tensor to raw outputs, or anything that takes long."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.body import Upload
from serve.observer import Observer
from toolkit.images import RGB
from toolkit.inference import Model
from toolkit.inference.model import CallSettings, HeldInput
from toolkit.inference.sources import Picture
from toolkit.results import Result

# A picture, or what gives it: that is called in a worker thread, so taking a body apart costs the event loop nothing.
Given = Upload | RGB | Callable[[], Upload]
Rows = NDArray[np.float32]


class Slots:
    """Inputs of one picture that are filled again and again: fresh pages for every picture would cost more."""

    def __init__(self, model: Model) -> None:
        self._size = model.spec.preprocessing.input_size
        self._free: deque[HeldInput] = deque()  # its append and pop are safe among threads

    def take(self) -> HeldInput:
        """One that nobody uses."""
        try:
            return self._free.pop()
        except IndexError:
            return HeldInput(1, self._size)

    def give(self, slot: HeldInput) -> None:
        """Take one back."""
        self._free.append(slot)


def decoded(model: Model, picture: Given, max_pixels: int) -> Picture:
    """The picture, decoded now; PictureError for one that cannot be used."""
    if isinstance(picture, np.ndarray):
        return model.decode(picture, max_pixels=max_pixels)
    upload = picture() if callable(picture) else picture
    return model.decode(upload.data, name=upload.name, max_pixels=max_pixels)


class PictureJob:
    """A picture to what ``finish`` makes of its result."""

    rows = 1

    def __init__(
        self,
        model: Model,
        slots: Slots,
        picture: Given,
        max_pixels: int,
        settings: CallSettings,
        finish: Callable[[Result], Any],
        observer: Observer,
    ) -> None:
        self.key = settings.explain
        self._model, self._slots, self._given, self._max_pixels = model, slots, picture, max_pixels
        self._settings, self._finish, self._observer = settings, finish, observer
        self._slot: HeldInput | None = None
        self._picture: Picture
        self._preprocess = 0.0

    def prepare(self) -> Rows:
        self._picture = decoded(self._model, self._given, self._max_pixels)
        begun = time.perf_counter()
        self._slot = self._slots.take()
        image = self._picture()
        size = self._model.input_size_for(image.shape[0], image.shape[1])
        rows, (self._placement,) = self._slot.fill(self._model.spec.preprocessing, [image], size)
        self._preprocess = (time.perf_counter() - begun) * 1e3
        return rows

    def release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._slots.give(slot)

    def finish(self, raw: list[Rows], seconds: float) -> Any:
        result = self._model.result(
            self._picture,
            [output[0] for output in raw],
            self._placement,
            self._settings,
            preprocess=self._preprocess,
            network=seconds * 1e3,
        )
        for stage, milliseconds in result.timing.items():
            self._observer.stage(self._model, stage, milliseconds / 1e3)
        return self._finish(result)


class TensorJob:
    """The network's own input to its raw outputs, in the order of the task's ``wanted``."""

    def __init__(self, model: Model, batch: Rows, explain: bool, observer: Observer) -> None:
        self.key = explain
        self.rows = len(batch)
        self._model, self._batch, self._observer = model, batch, observer

    def prepare(self) -> Rows:
        return np.ascontiguousarray(self._batch)

    def release(self) -> None:
        pass

    def finish(self, raw: list[Rows], seconds: float) -> list[Rows]:
        self._observer.stage(self._model, "network", seconds)
        return raw


class CallJob:
    """Anything that takes long, such as packing an answer; the network is not asked."""

    key = None
    rows = 1

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def prepare(self) -> Rows:
        return np.empty(0, np.float32)

    def release(self) -> None:
        pass

    def finish(self, raw: list[Rows], seconds: float) -> Any:
        return self._function()
