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
from torch import nn

from toolkit.errors import UserError
from toolkit.inference.model import Model
from toolkit.inference.task import Tolerance, no_gap
from toolkit.preprocess import Preprocessing

PICTURES = 32
TOLERANCE = 1e-3  # of an output, relative to its largest value (at least 1)
MARGIN = 1e-4  # a decision nearer than this to its threshold or rival is a near-tie
# Two JPEG decoders may differ by a few grey levels in some pixels; a swapped channel differs by tens on average.
DECODE_TOLERANCE = 2.0
# The service rounds what it sends: boxes to 1/100 pixel, scores to 6 decimals.
DECISION = Tolerance(box=0.011, box_relative=TOLERANCE, score=TOLERANCE + 2e-6, margin=MARGIN, pixels=0.0)

Ask = Callable[[bytes], dict[str, Any]]


@dataclass(frozen=True)
class Reference:
    """What training used: the network and its preprocessing."""

    network: nn.Module
    preprocessing: Preprocessing


def certify(reference: Reference, model: Model, pictures: Sequence[Path], ask: Ask) -> dict[str, Any]:
    """Compare both sides on up to `PICTURES` pictures and return the certificate.

    ``ask`` sends encoded bytes to the service and returns its JSON. Raises ``UserError`` that names the stage and the
    picture when an output differs by more than ``1e-3 * max(1, max|a|)`` or a decision differs that is no near-tie.
    """
    chosen = list(pictures)[:PICTURES]
    if not chosen:
        raise UserError("parity: expected at least one validation picture, got none")
    largest = {"decode": 0.0, "preprocess": 0.0, "logits": 0.0, "result": 0.0}
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


def certify_service(model: Model, pictures: Sequence[Path], ask: Ask) -> dict[str, Any]:
    """Compare the service over a model with the model itself, on up to `PICTURES` pictures.

    That is what int8 can promise beside the loss that its metrics are held to: torch has no such network to compare.
    """
    largest, ties = 0.0, []
    for path in list(pictures)[:PICTURES]:
        data = path.read_bytes()
        expected = model.predict_one(data, name=path.name)
        compared = model.task.compare(expected.to_dict(), ask(data), model.spec, DECISION, no_gap)
        largest = max(largest, compared.largest)
        ties += [f"{path.name}: {sentence} (near-tie)" for sentence in compared.ties]
        if compared.refusals:
            raise _refused("service", path, f"it and the bundle differ: {'; '.join(compared.refusals[:3])}")
    return {"pictures": min(len(pictures), PICTURES), "largest_difference": float(largest), "near_ties": ties}


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
    _compare("logits", path, raw, model.network(batch)[0][0], largest)

    size = (picture.shape[0], picture.shape[1])
    expected = model.task.result_type(
        source=path.name, image_size=size, class_names=model.labels, **model.postprocess([raw], placement, size)
    )
    compared = model.task.compare(
        expected.to_dict(), ask(data), model.spec, DECISION, model.task.gap(raw, placement, size, model.spec)
    )
    largest["result"] = max(largest["result"], compared.largest)
    ties += [f"{path.name}: {sentence} (near-tie)" for sentence in compared.ties]
    if compared.refusals:
        raise _refused("result", path, f"torch and the service differ: {'; '.join(compared.refusals[:3])}")


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
