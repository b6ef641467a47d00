"""Bundles whose networks fit on a few lines, one of each task, so that their answers can be worked out by hand.

The detector: on a picture whose mean colour is redder than blue it finds one ``warm`` box, else one ``cold`` box; the
box covers x 1/8..5/8 and y 2/8..6/8 of the network's square input. The classifier says which of ``red``, ``green`` and
``blue`` the picture's mean colour is, and its map says it of each 8 x 8 pixels of the input. The segmenter finds what
is ``warm`` and ``cold`` before a ``background`` of anything else. Swapped colour channels swap all three answers.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolkit.bundle import BundleSpec, Provenance, write_bundle
from toolkit.bundle_spec import ClassifierNetwork, DetectorNetwork, Network, make_spec
from toolkit.preprocess import Preprocessing

SIDE = 64
STRIDES = (8, 16, 32)
LABELS = ("warm", "cold")
OBJECTNESS = 4.0
COLOUR_GAIN = 1 / 16  # class logit per grey level of (mean red - mean blue)
BOX = (8.0, 16.0, 40.0, 48.0)  # in the network's input
_CELL = 4 * (SIDE // 8) + 3  # row 4, column 3 of the finest level: its corner (24, 32) is the box's centre

COLOURS = ("red", "green", "blue")
EVIDENCE_GAIN = 1 / 64  # class logit per grey level of (this colour - mean of the other two)

REGIONS = ("background", "warm", "cold")
WARM, COLD, GREY = (200, 60, 40), (40, 60, 200), (90, 90, 90)
# Half of what (red - blue) of WARM makes: where a warm cell meets a grey one, the border lies half way, as drawn.
_REGION_BIAS = -(WARM[0] - WARM[2]) / 2 * COLOUR_GAIN

Weights = Sequence[Sequence[float]]


def expected_score(rgb: Sequence[float]) -> float:
    """The detector's score on a square picture of one colour, worked out from the definition."""
    logit = abs(rgb[0] - rgb[2]) * COLOUR_GAIN
    return 1 / (1 + math.exp(-OBJECTNESS)) / (1 + math.exp(-logit))


def expected_probabilities(rgb: Sequence[float]) -> list[float]:
    """The classifier's probabilities on a picture of this mean colour, worked out from the definition."""
    powers = [math.exp((level - (sum(rgb) - level) / 2) * EVIDENCE_GAIN) for level in rgb]
    return [power / sum(powers) for power in powers]


def tiny_network(classes: int = 2, batch: int | str = "batch", side: int = SIDE) -> bytes:
    """The detector's ONNX file: images float32 [B, 3, side, side] (BGR) to raw float32 [B, A, 5 + classes]."""
    from onnx import helper

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
    return _onnx_file(nodes, constants, [batch, 3, side, side], {"raw": [batch, cells, 5 + classes]})


def tiny_free_network() -> bytes:
    """A detector of any input size: every cell that is WARM in the mean is a box just as large as the cell."""
    from onnx import helper

    weights = np.zeros((7, 3), np.float32)
    weights[4:6] = -COLOUR_GAIN, 0, COLOUR_GAIN  # BGR: objectness and the class
    bias = np.array([0.5, 0.5, 0, 0, _REGION_BIAS, _REGION_BIAS, -10], np.float32)
    constants = {"weights": weights[:, :, None, None], "bias": bias, "flat": np.array([0, 7, -1])}
    nodes = []
    for stride in STRIDES:
        means, cells, level = (f"{name}{stride}" for name in ("means", "cells", "level"))
        nodes += [
            helper.make_node("AveragePool", ["images"], [means], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Conv", [means, "weights", "bias"], [cells]),
            helper.make_node("Reshape", [cells, "flat"], [level]),
        ]
    nodes.append(helper.make_node("Concat", [f"level{stride}" for stride in STRIDES], ["levels"], axis=2))
    nodes.append(helper.make_node("Transpose", ["levels"], ["raw"], perm=[0, 2, 1]))
    return _onnx_file(nodes, constants, ["batch", 3, "height", "width"], {"raw": ["batch", "cells", 7]})


def tiny_classifier_network() -> bytes:
    """Images float32 [B, 3, 64, 64] (BGR) to raw [B, 3] and class_map [B, 3, 8, 8], whose mean raw is."""
    from onnx import helper

    weights = [[EVIDENCE_GAIN if colour == other else -EVIDENCE_GAIN / 2 for other in COLOURS] for colour in COLOURS]
    nodes, constants = _cells(weights, [0, 0, 0], "class_map")
    nodes.append(helper.make_node("ReduceMean", ["class_map", "axes"], ["raw"], keepdims=0))
    outputs = {"raw": ["batch", 3], "class_map": ["batch", 3, 8, 8]}
    return _onnx_file(nodes, {**constants, "axes": np.array([2, 3])}, ["batch", 3, SIDE, SIDE], outputs)


def tiny_segmenter_network() -> bytes:
    """Images float32 [B, 3, 64, 64] (BGR) to raw float32 [B, 3, 8, 8]."""
    weights: Weights = [[0, 0, 0], [COLOUR_GAIN, 0, -COLOUR_GAIN], [-COLOUR_GAIN, 0, COLOUR_GAIN]]
    nodes, constants = _cells(weights, [0, _REGION_BIAS, _REGION_BIAS], "raw")
    return _onnx_file(nodes, constants, ["batch", 3, SIDE, SIDE], {"raw": ["batch", 3, 8, 8]})


def _cells(weights: Weights, bias: Sequence[float], output: str) -> tuple[list[Any], dict[str, Any]]:
    """The mean colour of each 8 x 8 pixels, times ``weights`` [classes, RGB], plus ``bias``: nodes and constants."""
    from onnx import helper

    kernel = np.array(weights, np.float32)[:, ::-1, None, None].copy()  # the network sees BGR
    nodes = [
        helper.make_node("AveragePool", ["images"], ["means"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["means", "weights", "bias"], [output]),
    ]
    return nodes, {"weights": kernel, "bias": np.array(bias, np.float32)}


def _onnx_file(
    nodes: Sequence[Any], constants: Mapping[str, Any], images: Sequence[Any], outputs: Mapping[str, Sequence[Any]]
) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, images)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def tiny_spec(labels: Sequence[str] = LABELS, **changes: Any) -> BundleSpec:
    """What goes with the detector; ``changes`` replace fields."""
    return _spec("detection", labels, DetectorNetwork(architecture="tiny", strides=STRIDES), changes)


def tiny_classifier_spec(labels: Sequence[str] = COLOURS, **changes: Any) -> BundleSpec:
    """What goes with the classifier, which sees the whole picture, stretched."""
    network = ClassifierNetwork(architecture="tiny", map_output="class_map")
    stretched = Preprocessing(input_size=(SIDE, SIDE), kind="stretch")
    return _spec("classification", labels, network, {"preprocessing": stretched, **changes})


def tiny_segmenter_spec(labels: Sequence[str] = REGIONS, **changes: Any) -> BundleSpec:
    """What goes with the segmenter."""
    return _spec("segmentation", labels, Network(architecture="tiny"), changes)


def _spec(task: str, labels: Sequence[str], network: Network, changes: Mapping[str, Any]) -> BundleSpec:
    fields: dict[str, Any] = {
        "name": "tiny",
        "task": task,
        "labels": tuple(labels),
        "network": network,
        "preprocessing": Preprocessing(input_size=(SIDE, SIDE)),
        "licence": "CC0-1.0",
        "data_sources": ("drawn",),
        "intended_use": "tests",
        "provenance": Provenance(toolkit="0", created="2026-01-01T00:00:00Z", seed=0),
    }
    return make_spec(**{**fields, **changes})


def as_png(picture: np.ndarray) -> bytes:
    """The PNG of a picture RGB uint8 [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def flat(rgb: Sequence[int], size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """A picture of one colour, RGB uint8 [H, W, 3]; ``size`` is (height, width)."""
    return np.full((*size, 3), rgb, np.uint8)


def halves(left: Sequence[int], right: Sequence[int], size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """A picture of two colours side by side, RGB uint8 [H, W, 3]."""
    picture = flat(left, size)
    picture[:, size[1] // 2 :] = right
    return picture


def flat_png(rgb: Sequence[int], size: tuple[int, int] = (SIDE, SIDE)) -> bytes:
    """A PNG of one colour; ``size`` is (height, width)."""
    return as_png(flat(rgb, size))


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip of files by name."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def make_tiny_bundle(folder: Path, labels: Sequence[str] = LABELS, **changes: Any) -> Path:
    """Write the detector's bundle, golden pictures and all, into ``folder`` and return it. At least two labels."""
    colours = [(200, 60, 40), (20, 60, 90)]
    golden = [
        (flat(rgb), {"boxes": [list(BOX)], "scores": [expected_score(rgb)], "class_ids": [int(rgb[0] < rgb[2])]})
        for rgb in colours
    ]
    return _write(folder, tiny_spec(labels, **changes), tiny_network(len(labels)), golden, {"AP50": 1.0})


def make_tiny_classifier(folder: Path, labels: Sequence[str] = COLOURS, **changes: Any) -> Path:
    """Write the classifier's bundle into ``folder`` and return it. Three labels."""
    mean = [(a + b) / 2 for a, b in zip(WARM, COLD, strict=True)]
    golden = [
        (flat(WARM), {"probabilities": expected_probabilities(WARM)}),
        (halves(WARM, COLD), {"probabilities": expected_probabilities(mean)}),
    ]
    return _write(folder, tiny_classifier_spec(labels, **changes), tiny_classifier_network(), golden, {"accuracy": 1.0})


def make_tiny_segmenter(folder: Path, labels: Sequence[str] = REGIONS, **changes: Any) -> Path:
    """Write the segmenter's bundle into ``folder`` and return it. Three labels."""
    half = SIDE * SIDE // 2

    def region(class_id: int, *runs: int) -> dict[str, Any]:
        area = sum(runs[1::2])
        return {"class_id": class_id, "label": labels[class_id], "area": area, "rle": _rle(runs)}

    golden = [
        (flat(COLD), {"masks": [region(2, 0, 2 * half)]}),
        (halves(WARM, GREY), {"masks": [region(0, half, half), region(1, 0, half, half)]}),
    ]
    return _write(folder, tiny_segmenter_spec(labels, **changes), tiny_segmenter_network(), golden, {"mIoU": 1.0})


def _rle(runs: Sequence[int]) -> dict[str, Any]:
    """COCO's uncompressed run lengths, which a person can read: off, on, off ... down the columns."""
    return {"size": [SIDE, SIDE], "counts": list(runs)}


MAKERS: dict[str, Callable[..., Path]] = {
    "detection": make_tiny_bundle,
    "classification": make_tiny_classifier,
    "segmentation": make_tiny_segmenter,
}


def _write(
    folder: Path,
    spec: BundleSpec,
    network: bytes,
    golden: Sequence[tuple[np.ndarray, Mapping[str, Any]]],
    metrics: Mapping[str, float],
) -> Path:
    """Write a bundle with golden pictures of the network's size and the answers that were worked out for them."""
    expected = {f"{i}.png": {"image_size": [SIDE, SIDE], **answer} for i, (_, answer) in enumerate(golden)}
    files = {
        "model.onnx": network,
        "metrics.json": json.dumps(metrics).encode(),
        "parity.json": json.dumps({"pictures": 0}).encode(),
        "MODEL_CARD.md": b"# tiny\nDrawn for tests.\n",
        "golden/expected.json": json.dumps({"pictures": expected}).encode(),
        **{f"golden/{i}.png": as_png(picture) for i, (picture, _) in enumerate(golden)},
    }
    write_bundle(folder, spec, files)
    return folder
