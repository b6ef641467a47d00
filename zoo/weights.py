"""Start weights: read them from safetensors or an ONNX file and load what fits, saying what did not."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

# Wrappers under which people save the same network; stripped from the front of a key that the network does not know.
_PREFIXES = ("module.", "model.", "network.")


@dataclass
class LoadReport:
    """What `load_weights` did with each tensor, by parameter name."""

    loaded: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)  # of another shape there: left as initialised here
    missing: list[str] = field(default_factory=list)  # this network has it, the file has not
    unused: list[str] = field(default_factory=list)  # the file has it, this network has not
    outside: list[str] = field(default_factory=list)  # not in a file that holds an encoder only, and no part of that

    @property
    def fraction(self) -> float:
        """Share that was loaded of this network's tensors, or of its encoder's where the file holds no more."""
        total = len(self.loaded) + len(self.reshaped) + len(self.missing)
        return len(self.loaded) / total if total else 0.0

    def __str__(self) -> str:
        def some(names: list[str]) -> str:
            return f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})" if names else ""

        outside = f", {len(self.outside)} outside the encoder left at their start values" if self.outside else ""
        return (
            f"{len(self.loaded)} tensors loaded, {len(self.reshaped)} of another shape left at their start values"
            f"{some(self.reshaped)}, {len(self.missing)} not in the file{some(self.missing)}{outside},"
            f" {len(self.unused)} in the file not used{some(self.unused)}"
        )


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a .safetensors file by name, those of half precision as float32.

    Raises ``ValueError`` if it cannot be read as one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in tensors.items()}


def read_onnx(data: bytes) -> dict[str, np.ndarray]:
    """Return the initialisers of an ONNX model by name; a model exported unoptimised keeps the parameters' names.

    Raises ``ValueError`` if the bytes are no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx import numpy_helper

    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ValueError(f"not an ONNX model ({error})") from error
    # The exporter's own constants have no dot in their names, parameters of a module have.
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if "." in tensor.name}


def load_weights(network: nn.Module, tensors: Mapping[str, np.ndarray]) -> LoadReport:
    """Copy the tensors whose name and shape fit into ``network`` and report on all of them.

    A network may stand on another one and say so by an attribute ``encoder_prefix`` ("encoder."): a name that it does
    not know is then looked for under that prefix, so that a classifier's weights start a segmenter. BatchNorm's
    ``num_batches_tracked`` is bookkeeping and is neither loaded nor counted.
    """
    known = network.state_dict()
    prefix = str(getattr(network, "encoder_prefix", ""))
    report = LoadReport()
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        key = _find(name, known, prefix)
        if key in found:  # the same tensor under two prefixes: the first counts
            report.unused.append(name)
        else:
            found[key] = tensor
    encoder_only = _all_under(prefix, [name for name in found if name in known])
    for name, target in known.items():
        if name.endswith("num_batches_tracked"):
            continue
        value = found.pop(name, None)
        if value is None:
            (report.outside if encoder_only and not name.startswith(prefix) else report.missing).append(name)
        elif tuple(value.shape) != tuple(target.shape):
            report.reshaped.append(name)
        else:
            with torch.no_grad():
                target.copy_(torch.from_numpy(np.array(value)))
            report.loaded.append(name)
    report.unused += [name for name in found if not name.endswith("num_batches_tracked")]
    return report


def _all_under(prefix: str, names: Sequence[str]) -> bool:
    return bool(prefix and names) and all(name.startswith(prefix) for name in names)


def _find(name: str, known: Container[str], prefix: str) -> str:
    """Take wrappers' prefixes off the front of ``name`` until the network or its encoder knows it or none is left."""
    while name not in known:
        if prefix + name in known:
            return prefix + name
        shorter = next((name.removeprefix(wrapper) for wrapper in _PREFIXES if name.startswith(wrapper)), None)
        if shorter is None:
            break
        name = shorter
    return name
