"""Decoded pictures kept in memory, once for the training process and all its loader workers.

Whoever needs a picture first decodes it and puts it there; the others find it.
"""

from __future__ import annotations

import math
import mmap
import multiprocessing.reduction
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from toolkit import images
from toolkit.data.table import Sample
from toolkit.training import desk

Kind = TypeVar("Kind", bound=Sample)


def decode(sample: Sample) -> NDArray[np.uint8]:
    """The sample's picture, RGB uint8 [H, W, 3]."""
    image: NDArray[np.uint8] = images.decode(sample.path)
    return image


class PictureCache(Generic[Kind]):
    """Pictures (``channels`` 3) or masks (0) by index, read-only; those beyond the budget are decoded each time."""

    def __init__(
        self,
        samples: Sequence[Kind],
        budget_mb: float,
        read: Callable[[Kind], NDArray[np.uint8]] = decode,
        channels: int = 3,
    ) -> None:
        self._samples = samples
        self._read = read
        self._shapes = [(*sample.size, channels) if channels else sample.size for sample in samples]
        edges = np.cumsum([0, *(math.prod(shape) for shape in self._shapes)])
        self._kept = int(np.searchsorted(edges, budget_mb * 2**20, side="right")) - 1
        self._edges = edges[: self._kept + 1].tolist()
        self._pixels, self._filled = SharedBytes(self._edges[-1]), SharedBytes(self._kept)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if index >= self._kept:
            return self._decoded(index)
        shape = self._shapes[index]
        place = self._pixels.array[self._edges[index] : self._edges[index + 1]].reshape(shape)
        if not self._filled.array[index]:
            image = self._decoded(index)
            if image.shape != shape:  # another file than when the data was checked
                return image
            place[:] = image
            self._filled.array[index] = 1  # two that come at once write the same
        place.flags.writeable = False
        return place

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        desk.opening(index)
        return self._read(self._samples[index])


class SharedBytes:
    """Bytes, zero at first, that a process started from this one by ``forkserver`` or ``spawn`` sees and changes too.

    They take memory only as far as they are written. Not in /dev/shm, which containers keep small.
    """

    def __init__(self, size: int) -> None:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("pictures")
        else:
            descriptor, name = tempfile.mkstemp()
            os.unlink(name)
        os.ftruncate(descriptor, size)
        self._open(descriptor, size)

    def _open(self, descriptor: int, size: int) -> None:
        self._file = os.fdopen(descriptor, "r+b")  # closed with this object
        self.array = np.frombuffer(mmap.mmap(descriptor, size) if size else bytearray(), np.uint8)

    def __getstate__(self) -> tuple[Any, int]:
        return multiprocessing.reduction.DupFd(self._file.fileno()), self.array.size

    def __setstate__(self, state: tuple[Any, int]) -> None:
        handle, size = state
        self._open(handle.detach(), size)
