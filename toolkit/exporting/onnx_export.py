"""A torch network as one ONNX file that keeps the parameters' names, so that others can start from it."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

INPUT, OUTPUT, MAP_OUTPUT = "images", "raw", "class_map"


def has_map(network: nn.Module) -> bool:
    """Whether the network can tell where in the picture it sees each class."""
    return hasattr(network, "forward_with_map")


def to_onnx(network: nn.Module, input_size: tuple[int, int], pad_multiple: int | None = None) -> bytes:
    """Export ``network`` (in evaluation mode) with a free batch size; a classifier with its class activation map.

    With ``pad_multiple`` the height and width are free too: see `Preprocessing.size_for`.

    Nothing is fused: the initialisers carry the parameters' names. Only constants are folded (torch writes every
    convolution's missing bias as a computed zero, which keeps ONNX Runtime from fusing the batch norm after it and
    slows every run), and the exporter's notes are dropped, which hold source paths.
    """
    import onnx_ir
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    network = network.eval().cpu()
    outputs = [OUTPUT]
    if has_map(network):
        network = copy.deepcopy(network)
        network.forward = network.forward_with_map  # type: ignore[assignment]
        outputs = [OUTPUT, MAP_OUTPUT]
    free: dict[int, Any] = {0: torch.export.Dim("batch")}
    if pad_multiple is not None:
        # What all sizes are multiples of: else the exporter could not know that what is halved again and again, and
        # then doubled, has the size that it had. Sides of 1 step would be taken for constants.
        step = math.gcd(*input_size, pad_multiple)
        free |= {2: step * torch.export.Dim("rows"), 3: step * torch.export.Dim("columns")}
        input_size = 4 * step, 6 * step
    example = torch.zeros(2, 3, *input_size)
    names = set(network.state_dict())
    with _quiet():
        program = torch.onnx.export(
            network, (example,), dynamo=True, optimize=False, external_data=False, verbose=False,
            input_names=[INPUT], output_names=outputs, dynamic_shapes=(free,),
        )  # fmt: skip
        if program is None:
            raise RuntimeError("torch.onnx.export returned nothing")
        model = program.model
        # What is computed of a parameter alone is left to the session, or its name would go.
        fold_constants(model, should_fold=lambda node: None if names.isdisjoint(_given(node)) else False)
        remove_unused_nodes(model)
    proto = onnx_ir.to_proto(model)
    proto.doc_string = ""
    del proto.metadata_props[:]
    graph = proto.graph
    for item in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _given(node: Any) -> Iterator[str]:
    """The names of a node's inputs."""
    return (value.name for value in node.inputs if value is not None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress and warns of things that do not concern this network."""
    names = ("torch.onnx", "torch.onnx._internal.exporter._registration", "onnxscript", "torch.export")
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
