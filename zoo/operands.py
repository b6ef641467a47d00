"""Tensors as the operators of `ops` take them, and their answers as tensors; what lies on a GPU stays there.

A twin runs on torch's present stream of the tensor's device, which is where torch's own kernels before and after it
run: nothing waits, nothing passes through the host.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import torch
from torch import Tensor

from ops._cuda import has_device


@functools.cache
def _twins_run() -> bool:
    """Whether this environment can compile for a GPU."""
    found = has_device()
    if not found:
        warnings.warn(
            "numba finds no CUDA compiler, so losses on this GPU take the way through the host or are torch's own,"
            " which is slower: pip install numba-cuda[cu13] (cu12 for a driver of CUDA 12)",
            RuntimeWarning,
            stacklevel=2,
        )
    return found


def on_twin(tensor: Tensor) -> bool:
    """Whether an operator takes this tensor where it lies on a GPU."""
    return tensor.is_cuda and _twins_run()


def operand(tensor: Tensor) -> Any:
    """Return the values for an operator: on a GPU the tensor itself, else NumPy's view of it."""
    plain = tensor.detach().contiguous()
    return _lent(plain) if on_twin(plain) else plain.cpu().numpy()


def answer_like(answer: Any, tensor: Tensor) -> Tensor:
    """Return an operator's answer as a tensor on the device of ``tensor``, of the same memory if it lies there."""
    return _taken(answer, tensor.device)


def _lent(plain: Tensor) -> Any:
    return plain


def _taken(answer: Any, device: torch.device) -> Tensor:
    return torch.as_tensor(answer, device=device)
