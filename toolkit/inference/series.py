"""Predicting on a CT series: a mask for each slice, made as for any picture, and then the volume as a whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolkit.bundle_spec import BundleSpec, SegmentationSpec
from toolkit.ct.read import read_volume
from toolkit.ct.volume import Volume
from toolkit.errors import UserError
from toolkit.results import CTReport, SegmentationResult

if TYPE_CHECKING:
    from toolkit.inference.model import Model

LUNG = "lung"
# (center, width) in HU of a usual lung window, for bundles that name no other.
LUNG_WINDOW = (-600.0, 1500.0)
_BATCH = 8

Progress = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    pass


def check_takes_series(spec: BundleSpec) -> SegmentationSpec:
    """The spec of a bundle that finds lungs; UserError for any other."""
    if not isinstance(spec, SegmentationSpec) or LUNG not in spec.labels:
        raise UserError(f"{spec.name}: a CT series needs a segmentation model with the class 'lung', as ct_pneumonia")
    return spec


def predict_series(
    model: Model, path: str | Path, *, name: str | None = None, progress: Progress = _silent
) -> CTReport:
    """The report of a CT series, see `toolkit.ct.read.read_volume`; ``name`` becomes its source.

    ``progress`` is told each stage, and how many slices or files of how many are done.
    """
    spec = check_takes_series(model.spec)
    source = name or str(path)
    clock = [time.perf_counter()]
    volume = read_volume(path, name=source, progress=progress)
    clock.append(time.perf_counter())
    mask = _masks(model, volume, _window(spec), progress)
    clock.append(time.perf_counter())
    progress("measuring", len(mask), len(mask))
    return _report(spec, source, volume, mask, clock)


def _window(spec: SegmentationSpec) -> tuple[float, float]:
    return spec.preprocessing.window_hu or LUNG_WINDOW


def _masks(model: Model, volume: Volume, window: tuple[float, float], progress: Progress) -> NDArray[np.uint8]:
    """The network's class of every voxel, uint8 [Z, Y, X], a few slices at a time."""
    from ops import window_hu

    mask = np.empty(volume.hu.shape, np.uint8)
    for first in range(0, len(mask), _BATCH):
        progress("predicting", first, len(mask))
        grey = window_hu(volume.hu[first : first + _BATCH], *window, dtype=np.uint8)
        results = model.run_batch([np.repeat(plane[:, :, None], 3, axis=2) for plane in grey])
        for place, result in enumerate(results, first):
            assert isinstance(result, SegmentationResult)
            mask[place] = result.mask
    return mask


def _report(
    spec: SegmentationSpec, source: str, volume: Volume, mask: NDArray[np.uint8], clock: list[float]
) -> CTReport:
    from toolkit.ct.lungs import clean, measure
    from toolkit.drawing_volume import draw_volume

    names = {spec.labels.index(name): name for name in spec.postprocessing.regions.get(LUNG, (LUNG,))}
    lung = spec.labels.index(LUNG)
    mask, sides, notes = clean(mask, list(names), lung, volume)
    lungs = measure(mask, sides, volume, names)
    clock.append(time.perf_counter())
    stages = ("read", "network", "measure")
    timing = {stage: (clock[at + 1] - clock[at]) * 1e3 for at, stage in enumerate(stages)}
    report = CTReport(
        source=source,
        image_size=(mask.shape[1], mask.shape[2]),
        class_names=spec.labels,
        mask=mask,
        affine=volume.affine,
        lungs=lungs,
        lesions=tuple(name for name in names.values() if name != LUNG),
        notes=(*volume.notes, *notes),
        timing=timing,
    )
    sheet = draw_volume(volume, mask, spec.labels, _window(spec), report.lines())
    return replace(report, picture=sheet.copy)
