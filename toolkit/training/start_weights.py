"""The weights that training starts from: ``init:`` of the config, and batch-norm statistics of the new pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from toolkit.errors import UserError
from zoo.weights import LoadReport, load_weights, read_onnx, read_safetensors

ZOO = "zoo:"


def read_tensors(init: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors that ``init`` names: ``zoo:NAME``, a bundle or run, or a .safetensors file."""
    from toolkit.bundle import Bundle
    from toolkit.bundles import find

    if init.startswith(ZOO):
        return read_onnx(Bundle.open(find(init.removeprefix(ZOO))).network_bytes())
    path = Path(init)
    if not path.exists():
        raise UserError(f"model.init: {init} does not exist; expected zoo:NAME, a bundle, a run or a .safetensors file")
    if path.suffix == ".safetensors":
        try:
            return read_safetensors(path)
        except ValueError as error:
            raise UserError(f"model.init: {error}") from None
    if path.is_dir() or path.suffix == ".zip":
        return read_onnx(Bundle.open(path).network_bytes())
    raise UserError(f"model.init: {init}: expected zoo:NAME, a bundle, a run or a .safetensors file")


def start_from(network: nn.Module, init: str) -> LoadReport:
    """Load ``init`` into ``network``; raises ``UserError`` when fewer than half of the network's tensors fit."""
    report = load_weights(network, read_tensors(init))
    if report.fraction < 0.5:
        raise UserError(
            f"model.init: {init} does not fit this network ({report}); choose the model it was made with,"
            " or leave init out to start from scratch"
        )
    return report
