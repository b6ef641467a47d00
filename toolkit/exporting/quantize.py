"""A network's int8 form: weights a scale for each channel, activations a scale for each tensor, fitted to pictures.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (CVPR 2018,
arXiv 1712.05877), done by ONNX Runtime's static quantization (QDQ nodes, which its session fuses into int8 kernels).
Activations are unsigned and weights signed: what x86's int8 instructions multiply. Needs onnx; running one does not.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batches = Callable[[], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True)
class Scheme:
    """A way to quantize; ``name`` tells it in words.

    ``last`` says whether the layers with weights after which no other comes, and what follows them, are int8 too: a
    detector's boxes and scores share one scale there. ``average``: an activation's range is the mean of the pictures'
    ranges, which leaves out what only a few of them reach.
    """

    name: str
    last: bool = True
    average: bool = False


SCHEMES = (
    Scheme("all layers"),
    Scheme("all layers but the last", last=False),
    Scheme("all layers but the last, ranges averaged over the pictures", last=False, average=True),
)


def quantize(network: bytes, scheme: Scheme, batches: Batches, input_name: str) -> bytes:
    """The ONNX file ``network`` in int8, with the ranges that ``batches`` [B, 3, h, w] show."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter(batches())

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {input_name: batch}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        folded, done = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        _fold(network, folded)
        quantize_static(
            str(folded),
            str(done),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            nodes_to_exclude=[] if scheme.last else the_end(onnx.load(str(folded)).graph),
            extra_options={"CalibMovingAverage": scheme.average, "CalibMovingAverageConstant": 0.05},
        )
        model = onnx.load(str(done))
    model.doc_string = ""
    del model.metadata_props[:]
    return bytes(model.SerializeToString(deterministic=True))


def the_end(graph: Any) -> list[str]:
    """The names of the nodes of ``graph`` with weights (Conv, Gemm, MatMul) after which no other comes, and of all that
    comes after them.
    """
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    followed: set[str] = set()  # names of tensors on the way to a layer with weights
    for node in reversed(graph.node):  # in an ONNX file a node stands after those whose outputs it takes
        if _has_weights(node) or any(name in followed for name in node.output):
            followed.update(node.input)
    behind: set[str] = set()  # names of tensors that a last layer's output is in
    names = []
    for node in graph.node:
        last = _has_weights(node) and followed.isdisjoint(node.output)
        if last or not behind.isdisjoint(node.input):
            behind.update(node.output)
            names.append(node.name)
    return names


def _has_weights(node: Any) -> bool:
    return node.op_type in ("Conv", "Gemm", "MatMul")


def _fold(network: bytes, path: Path) -> None:
    """Write the network with every batch norm folded into the convolution before it, and constants folded."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's tools write advice to the root logger, and give it a handler where it has none."""
    root, silent = logging.getLogger(), logging.NullHandler()
    level = root.level
    root.addHandler(silent)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(silent)
