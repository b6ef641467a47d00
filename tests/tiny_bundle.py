"""A bundle whose network fits on one line, so that its answer can be worked out by hand.

On a picture whose mean colour is redder than blue it finds one ``warm`` box, else one ``cold`` box; the box covers
x 1/8..5/8 and y 2/8..6/8 of the network's square input. Swapped colour channels swap the answer.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolkit.bundle import BundleSpec, Network, Provenance, write_bundle
from toolkit.preprocess import Preprocessing

SIDE = 64
STRIDES = (8, 16, 32)
LABELS = ("warm", "cold")
OBJECTNESS = 4.0
COLOUR_GAIN = 1 / 16  # class logit per grey level of (mean red - mean blue)
BOX = (8.0, 16.0, 40.0, 48.0)  # in the network's input
_CELL = 4 * (SIDE // 8) + 3  # row 4, column 3 of the finest level: its corner (24, 32) is the box's centre


def expected_score(rgb: Sequence[float]) -> float:
    """The score on a square picture of one colour, worked out from the definition."""
    logit = abs(rgb[0] - rgb[2]) * COLOUR_GAIN
    return 1 / (1 + math.exp(-OBJECTNESS)) / (1 + math.exp(-logit))


def tiny_network(classes: int = 2, batch: int | str = "batch", side: int = SIDE) -> bytes:
    """The ONNX file: images float32 [B, 3, side, side] (BGR) to raw float32 [B, A, 5 + classes]."""
    from onnx import TensorProto, checker, helper, numpy_helper

    cells = sum((side // stride) ** 2 for stride in STRIDES)
    base = np.full((1, cells, 5 + classes), -10, np.float32)
    base[:, :, :4] = 0
    base[0, _CELL, :5] = 0, 0, math.log(4), math.log(4), OBJECTNESS
    base[0, _CELL, 5:7] = 0
    chosen = np.zeros((1, cells, 1), np.float32)
    chosen[0, _CELL] = 1
    colour = np.zeros((3, 5 + classes), np.float32)  # BGR: blue first
    colour[:, 5] = -COLOUR_GAIN, 0, COLOUR_GAIN
    colour[:, 6] = COLOUR_GAIN, 0, -COLOUR_GAIN
    constants = {"base": base, "chosen": chosen, "colour": colour, "axes": np.array([2, 3]), "one": np.array([1])}
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "colour"], ["logits"]),
        helper.make_node("Unsqueeze", ["logits", "one"], ["per_picture"]),
        helper.make_node("Mul", ["per_picture", "chosen"], ["placed"]),
        helper.make_node("Add", ["placed", "base"], ["raw"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, [batch, cells, 5 + classes])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_spec(labels: Sequence[str] = LABELS, **changes: Any) -> BundleSpec:
    """What goes with the network; ``changes`` replace fields."""
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": "detection",
        "labels": tuple(labels),
        "network": Network(architecture="tiny", strides=STRIDES),
        "preprocessing": Preprocessing(input_size=(SIDE, SIDE)),
        "licence": "CC0-1.0",
        "data_sources": ("drawn",),
        "intended_use": "tests",
        "provenance": Provenance(toolkit="0", created="2026-01-01T00:00:00Z", seed=0),
    }
    return BundleSpec(**{**fields, **changes})


def flat_png(rgb: Sequence[int], size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """A PNG of one colour; ``size`` is (height, width)."""
    buffer = io.BytesIO()
    Image.new("RGB", (size[1], size[0]), tuple(rgb)).save(buffer, "PNG")
    return buffer.getvalue()


def make_tiny_bundle(folder: Path, labels: Sequence[str] = LABELS, **changes: Any) -> Path:
    """Write the bundle, golden pictures and all, into ``folder`` and return it. At least two labels."""
    colours = {"0.png": (200, 60, 40), "1.png": (20, 60, 90)}
    expected = {
        name: {
            "image_size": [SIDE, SIDE],
            "boxes": [list(BOX)],
            "scores": [expected_score(colour)],
            "class_ids": [0 if colour[0] > colour[2] else 1],
        }
        for name, colour in colours.items()
    }
    files = {
        "model.onnx": tiny_network(len(labels)),
        "metrics.json": json.dumps({"AP50": 1.0}).encode(),
        "parity.json": json.dumps({"pictures": 0}).encode(),
        "MODEL_CARD.md": b"# tiny\nDrawn for tests.\n",
        "golden/expected.json": json.dumps({"pictures": expected}).encode(),
        **{f"golden/{name}": flat_png(colour) for name, colour in colours.items()},
    }
    write_bundle(folder, tiny_spec(labels, **changes), files)
    return folder
