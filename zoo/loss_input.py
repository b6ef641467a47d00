"""What the losses do with their inputs before computing: precision, class weights, checks that several share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision as float32, since exponentials overflow in it; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def weights_like(class_weights: Tensor | Sequence[float] | None, logits: Tensor, function: str) -> Tensor | None:
    """Return the class weights as a tensor like ``logits`` [B, C, ...], or None.

    Raises ``ValueError`` unless they are C finite numbers above 0: zeros alone in a batch would divide by zero.
    """
    if class_weights is None:
        return None
    weights = torch.as_tensor(class_weights).to(logits)
    if weights.shape != logits.shape[1:2]:
        raise ValueError(
            f"{function}: class_weights: expected {logits.shape[1]} numbers, got shape {tuple(weights.shape)}"
        )
    if not (weights > 0).all() or not weights.isfinite().all():
        raise ValueError(f"{function}: class_weights: expected finite numbers above 0, got {weights.tolist()}")
    return weights


def check_gamma(name: str, gamma: float) -> None:
    """Raise ``ValueError`` unless ``gamma`` is a focal exponent."""
    if not 0 <= gamma < float("inf"):
        raise ValueError(f"{name}: expected a finite number of at least 0, got {gamma}")
