"""Golden pictures: inputs in a bundle with the answers that it gave when it was exported, asked again where it runs.

They catch a machine, a driver or a library that computes something else; they do not measure quality.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from toolkit import images
from toolkit.bundle import Bundle
from toolkit.errors import UserError
from toolkit.inference.model import Model
from toolkit.inference.task import Tolerance, no_gap
from toolkit.results import Result

EXPECTED = "golden/expected.json"
# A box may be off by 1 pixel and a score by 0.001; what is that near to the threshold may come or go.
TOLERANCE = Tolerance(box=1.0, box_relative=0.0, score=1e-3, margin=1e-3, pixels=1e-3)
# Where a sum lies half way between two levels, another processor's rounding makes an int8 step of it.
TOLERANCE_INT8 = Tolerance(box=4.0, box_relative=0.0, score=0.03, margin=0.03, pixels=0.01)
# Said of every answer, but no part of the prediction.
_NOT_PREDICTED = ("source", "class_names", "timing")


def make_golden(model: Model, pictures: Sequence[images.RGB], *, int8: Model | None = None) -> dict[str, bytes]:
    """The files of ``golden/`` by name: each picture (RGB uint8 [H, W, 3]) as PNG, and the answers now.

    ``model`` computes in fp32; ``int8`` is the same bundle in int8 where it has that.
    """
    files = {f"golden/{index}.png": images.encode(picture, ".png") for index, picture in enumerate(pictures)}
    expected: dict[str, dict[str, Any]] = {}
    for each in (model, int8) if int8 else (model,):
        expected[_key(each)] = {
            f"{index}.png": {key: value for key, value in result.to_dict().items() if key not in _NOT_PREDICTED}
            for index, result in enumerate(each.run_batch(pictures))
        }
    files[EXPECTED] = (json.dumps(expected, indent=1) + "\n").encode()
    return files


def _key(model: Model) -> str:
    """Of the answers in that precision."""
    return "pictures" if model.precision == "fp32" else model.precision


def golden_files(bundle: Bundle) -> list[bytes]:
    """The bundle's golden pictures, encoded; UserError where it holds none."""
    files = [bundle.read(name) for name in bundle.names() if name.startswith("golden/") and name != EXPECTED]
    if not files:
        raise UserError(f"bundle {bundle.path}: it holds no golden pictures; give pictures of your own")
    return files


def check_golden(model: Model) -> list[str]:
    """Predict on the bundle's golden pictures; one sentence per difference, so an empty list is good.

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
    pictures = content.get(_key(model)) if isinstance(content, dict) else None
    if not isinstance(pictures, dict) or not all(isinstance(p, dict) and "image_size" in p for p in pictures.values()):
        raise _malformed(model)
    return pictures


def _differences(expected: dict[str, Any], result: Result, model: Model) -> list[str]:
    if list(result.image_size) != expected["image_size"]:
        return [f"expected a picture of {expected['image_size']} (height, width), decoded {list(result.image_size)}"]
    tolerance = TOLERANCE if model.precision == "fp32" else TOLERANCE_INT8
    try:
        return model.task.compare(expected, result.to_dict(), model.spec, tolerance, no_gap).refusals
    except (KeyError, TypeError, ValueError, IndexError, OverflowError):
        raise _malformed(model) from None


def _malformed(model: Model) -> UserError:
    return UserError(f"bundle {model.bundle.path}: {EXPECTED} is not in the expected form; export the bundle again")
