"""The parity certificate: torch, ONNX Runtime and the service give the same answer, stage by stage.

The reference side is what training used: Pillow's decoder, the config's preprocessing, the torch network. The other
side is the bundle, and the service over it through an in-process client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import ops
from toolkit.errors import UserError
from toolkit.inference.model import Model
from toolkit.preprocess import Preprocessing
from zoo.yolox import YOLOX

PICTURES = 32
TOLERANCE = 1e-3  # of an output, relative to its largest value (at least 1)
MARGIN = 1e-4  # a decision nearer than this to its threshold or rival is a near-tie
# Two JPEG decoders may differ by a few grey levels in some pixels; a swapped channel differs by tens on average.
DECODE_TOLERANCE = 2.0
# The service rounds what it sends: boxes to 1/100 pixel, scores to 6 decimals.
SERVICE_BOX, SERVICE_SCORE = 0.011, 2e-6

Ask = Callable[[bytes], dict[str, Any]]
Detections = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True)
class Reference:
    """What training used: the network and its preprocessing."""

    network: YOLOX
    preprocessing: Preprocessing


def certify(reference: Reference, model: Model, pictures: Sequence[Path], ask: Ask) -> dict[str, Any]:
    """Compare both sides on up to `PICTURES` pictures and return the certificate.

    ``ask`` sends encoded bytes to the service and returns its JSON. Raises ``UserError`` that names the stage and the
    picture when an output differs by more than ``1e-3 * max(1, max|a|)`` or a decision differs that is no near-tie.
    """
    chosen = list(pictures)[:PICTURES]
    if not chosen:
        raise UserError("parity: expected at least one validation picture, got none")
    largest = {"decode": 0.0, "preprocess": 0.0, "logits": 0.0, "service_boxes": 0.0}
    ties: list[str] = []
    for path in chosen:
        _one(path, reference, model, ask, largest, ties)
    return {
        "passed": True,
        "pictures": len(chosen),
        "compared": ["torch", f"ONNX Runtime ({model.device})", "service, in process"],
        "largest_difference": {stage: float(value) for stage, value in largest.items()},
        "tolerance": {"outputs": TOLERANCE, "decision_margin": MARGIN, "decode_mean_grey_levels": DECODE_TOLERANCE},
        "near_ties": ties,
        "versions": _versions(),
    }


def _one(path: Path, reference: Reference, model: Model, ask: Ask, largest: dict[str, float], ties: list[str]) -> None:
    data = path.read_bytes()
    picture = model.decode(data, name=path.name)()
    difference = float(np.abs(_pillow(data).astype(np.float32) - picture).mean())
    largest["decode"] = max(largest["decode"], difference)
    if difference > DECODE_TOLERANCE:
        raise _refused("decode", path, f"the pixels differ from Pillow's by {difference:.1f} grey levels on average")

    wanted, placement = reference.preprocessing.apply(picture)
    batch, _ = model.preprocess([picture])
    _compare("preprocess", path, wanted, batch[0], largest)

    with torch.inference_mode():
        raw = reference.network(torch.from_numpy(wanted)[None]).numpy()[0]
    _compare("logits", path, raw, model.network(batch)[0], largest)

    expected = model.postprocess(raw, placement, (picture.shape[0], picture.shape[1]))
    _compare_service(path, expected, ask(data), model, raw, placement, largest, ties)


def _pillow(data: bytes) -> NDArray[np.uint8]:
    import io

    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _compare(stage: str, path: Path, a: NDArray[Any], b: NDArray[Any], largest: dict[str, float]) -> None:
    if a.shape != b.shape:
        raise _refused(stage, path, f"expected shape {a.shape}, got {b.shape}")
    difference = float(np.abs(a - b).max())
    limit = TOLERANCE * max(1.0, float(np.abs(a).max()))
    largest[stage] = max(largest[stage], difference)
    if not difference <= limit:
        raise _refused(stage, path, f"the largest difference is {difference:.3g}, allowed {limit:.3g}")


def _compare_service(
    path: Path,
    expected: Detections,
    answer: dict[str, Any],
    model: Model,
    raw: NDArray[np.float32],
    placement: ops.Placement,
    largest: dict[str, float],
    ties: list[str],
) -> None:
    boxes = np.asarray(answer["boxes"], np.float64).reshape(-1, 4)
    scores = np.asarray(answer["scores"], np.float64)
    classes = np.asarray(answer["class_ids"], np.int64)
    left = set(range(len(scores)))
    for box, score, class_id in zip(*expected, strict=True):
        allowed = SERVICE_BOX + TOLERANCE * max(1.0, float(np.abs(box).max()))
        match = next(
            (
                i for i in sorted(left)
                if classes[i] == class_id
                and abs(scores[i] - score) <= SERVICE_SCORE + TOLERANCE
                and np.abs(boxes[i] - box).max() <= allowed
            ),
            None,
        )  # fmt: skip
        if match is None:
            _tie_or_refuse(path, float(score), model, raw, ties, f"{model.labels[class_id]} {score:.4f} is missing")
            continue
        left.remove(match)
        largest["service_boxes"] = max(largest["service_boxes"], float(np.abs(boxes[match] - box).max()))
    for i in sorted(left):
        what = f"{answer['labels'][i]} {scores[i]:.4f} was not expected"
        _tie_or_refuse(path, float(scores[i]), model, raw, ties, what)


def _tie_or_refuse(
    path: Path, score: float, model: Model, raw: NDArray[np.float32], ties: list[str], what: str
) -> None:
    """A detection on one side only is allowed when its score is a near-tie with the threshold or with another class."""
    near_threshold = abs(score - model.spec.postprocessing.score_threshold) <= MARGIN
    if near_threshold or _class_gap(raw, score) <= MARGIN:
        ties.append(f"{path.name}: {what} (near-tie)")
        return
    raise _refused("result", path, f"the service's answer differs from torch's: {what}")


def _class_gap(raw: NDArray[np.float32], score: float) -> float:
    """The gap between the best two class scores in the cell whose score is nearest to ``score``."""
    probabilities = 0.5 * (1 + np.tanh(0.5 * raw[:, 4:].astype(np.float64)))  # the sigmoid, without overflow
    scores = np.sort(probabilities[:, :1] * probabilities[:, 1:], axis=1)
    cell = scores[np.abs(scores[:, -1] - score).argmin()]
    return float(cell[-1] - cell[-2]) if len(cell) > 1 else 1.0


def _refused(stage: str, path: Path, reason: str) -> UserError:
    return UserError(
        f"export refused by the parity check at stage {stage!r} on {path.name}: {reason};"
        " the bundle would not answer as the trained network does"
    )


def _versions() -> dict[str, str]:
    import onnxruntime

    return {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__}


def to_bytes(certificate: dict[str, Any]) -> bytes:
    """The certificate as ``parity.json``."""
    return (json.dumps(certificate, indent=2, ensure_ascii=False) + "\n").encode()
