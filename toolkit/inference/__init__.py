"""Predicting with a bundle: ``load`` a model, or ``predict`` one picture in one line. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from toolkit.bundle import Bundle
from toolkit.bundles import resolve
from toolkit.inference.golden import check_golden, make_golden
from toolkit.inference.model import Model
from toolkit.inference.sources import Input
from toolkit.inference.task import Options
from toolkit.results import Result

__all__ = ["Model", "check_golden", "load", "make_golden", "predict"]


def load(
    name_or_path: str | Path,
    device: str = "auto",
    *,
    precision: str = "auto",
    threads: int | None = None,
    allow_spinning: bool = True,
) -> Model:
    """Open a shipped bundle by name, a bundle's folder or zip, or a training run, and verify it.

    ``device`` is "cpu", "cuda" or "auto" (CUDA where it works; ``model.device`` says which). ``precision`` is "fp32",
    "int8" or "auto" (int8 on the CPU where the bundle has it; ``model.precision`` says which). ``threads`` work on one
    batch; the default is every core that this process may use. A UserError says what is wrong and what to do.
    """
    bundle = Bundle.open(resolve(name_or_path))
    return Model(bundle, device=device, precision=precision, threads=threads, allow_spinning=allow_spinning)


def predict(
    name_or_path: str | Path,
    content: Input,
    *,
    device: str = "auto",
    precision: str = "auto",
    explain: bool = False,
    **options: Unpack[Options],
) -> Result:
    """Load a model and predict on one picture: a path, encoded bytes, an RGB array or a PIL image; or on a CT series.

    The model is loaded anew each time; keep ``load``'s for a second picture. Raises PictureError for a picture that
    cannot be used. Options (``score_threshold``, ``iou_threshold``, ``max_detections``; ``top_k``) override the
    bundle's; ``explain`` gives a classifier's result its heat map of the evidence.
    """
    return load(name_or_path, device, precision=precision).predict_one(content, explain=explain, **options)
