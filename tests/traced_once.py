"""An ONNX export whose graph is traced once for each network: of other weights it is the same, and takes seconds.

The parity check, which every export goes through, holds such a file to its network as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import pytest
from onnx import numpy_helper
from torch import nn

_graphs: dict[tuple[object, ...], bytes] = {}


@contextmanager
def graphs_traced_once() -> Iterator[None]:
    """While it lasts, a run's export takes the graph of a network like its own, where one was traced before."""
    from toolkit.exporting import export

    trace = export.to_onnx

    def to_onnx(network: nn.Module, input_size: tuple[int, int], pad_multiple: int | None = None) -> bytes:
        weights = network.state_dict()
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in weights.items())
        like = (type(network), repr(network), shapes, input_size, pad_multiple)
        if like not in _graphs:
            _graphs[like] = trace(network, input_size, pad_multiple)
            return _graphs[like]
        model = onnx.load_from_string(_graphs[like])
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].numpy(), tensor.name))
        return bytes(model.SerializeToString(deterministic=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", to_onnx)
        yield
