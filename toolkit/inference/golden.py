"""Golden pictures: inputs in a bundle with the answers that it gave when it was exported, asked again where it runs.

They catch a machine, a driver or a library that computes something else; they do not measure quality.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit import images
from toolkit.errors import UserError
from toolkit.inference.model import Model
from toolkit.results import DetectionResult

EXPECTED = "golden/expected.json"
BOX_TOLERANCE = 1.0  # pixels
SCORE_TOLERANCE = 1e-3


def make_golden(model: Model, pictures: Sequence[images.RGB]) -> dict[str, bytes]:
    """The files of ``golden/`` by name: each picture (RGB uint8 [H, W, 3]) as PNG, and the model's answers now."""
    files, expected = {}, {}
    for index, (picture, result) in enumerate(zip(pictures, model.run_batch(pictures), strict=True)):
        name = f"{index}.png"
        files[f"golden/{name}"] = images.encode(picture, ".png")
        expected[name] = {
            "image_size": list(result.image_size),
            "boxes": result.boxes.tolist(),
            "scores": result.scores.tolist(),
            "class_ids": result.class_ids.tolist(),
        }
    files[EXPECTED] = (json.dumps({"pictures": expected}, indent=1) + "\n").encode()
    return files


def check_golden(model: Model) -> list[str]:
    """Predict on the bundle's golden pictures; one sentence per difference, so an empty list is good.

    A box may be off by 1 pixel and a score by 0.001; a detection that close to the score threshold may come or go.
    A bundle without golden pictures has nothing to differ from.
    """
    if EXPECTED not in model.spec.files:
        return []
    differences = []
    for name, expected in _expectations(model).items():
        result = model.predict_one(model.bundle.read(f"golden/{name}"), name=f"golden/{name}")
        differences += [f"golden/{name}: {sentence}" for sentence in _differences(expected, result, model)]
    return differences


def _expectations(model: Model) -> dict[str, Any]:
    content = model.bundle.read_json(EXPECTED)
    pictures = content.get("pictures") if isinstance(content, dict) else None
    keys = {"image_size", "boxes", "scores", "class_ids"}
    if not isinstance(pictures, dict) or not all(isinstance(p, dict) and keys <= p.keys() for p in pictures.values()):
        raise UserError(f"bundle {model.bundle.path}: {EXPECTED} is not in the expected form; export the bundle again")
    return pictures


def _differences(expected: dict[str, Any], result: DetectionResult, model: Model) -> list[str]:
    if list(result.image_size) != expected["image_size"]:
        return [f"expected a picture of {expected['image_size']} (height, width), decoded {list(result.image_size)}"]
    sure = model.spec.postprocessing.score_threshold + SCORE_TOLERANCE
    found = list(zip(result.boxes.tolist(), result.scores.tolist(), result.class_ids.tolist(), strict=True))
    sentences = []
    for wanted in zip(expected["boxes"], expected["scores"], expected["class_ids"], strict=True):
        match = next((detection for detection in found if _same(wanted, detection)), None)
        if match is not None:
            found.remove(match)
        elif wanted[1] > sure:
            sentences.append(f"expected {_shown(wanted, model)}, which was not found")
    sentences += [f"found {_shown(extra, model)}, which was not expected" for extra in found if extra[1] > sure]
    return sentences


def _same(wanted: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    return (
        wanted[2] == found[2]
        and abs(wanted[1] - found[1]) <= SCORE_TOLERANCE
        and bool(np.abs(np.subtract(wanted[0], found[0])).max() <= BOX_TOLERANCE)
    )


def _shown(detection: tuple[Any, ...], model: Model) -> str:
    box, score, class_id = detection
    label = model.labels[class_id] if 0 <= class_id < len(model.labels) else f"class {class_id}"
    return f"{label} {score:.4f} at {[round(value, 1) for value in box]}"
