"""RoIAlign as a differentiable torch function over the operators of `ops`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ops


class _RoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        boxes: Tensor,
        pictures: Tensor | None,
        size: tuple[int, int],
        options: dict[str, Any],
    ) -> Tensor:
        ctx.save_for_backward(boxes, pictures)
        ctx.shape, ctx.options = tuple(features.shape), options
        pooled = ops.roi_align(
            _array(features.float()), _array(boxes.float()), size, pictures=_array(pictures), **options
        )
        return torch.as_tensor(pooled, device=features.device).to(features.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        boxes, pictures = ctx.saved_tensors
        upstream = gradients[0]
        gradient = ops.roi_align_backward(
            _array(upstream.float()), _array(boxes.float()), ctx.shape, pictures=_array(pictures), **ctx.options
        )
        return torch.as_tensor(gradient, device=upstream.device).to(upstream.dtype), None, None, None, None


def _array(tensor: Tensor | None) -> Any:
    """What an operator takes: a GPU's tensor stays where it is."""
    if tensor is None or tensor.is_cuda:
        return None if tensor is None else tensor.detach()
    return tensor.detach().numpy()


def roi_align(
    features: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    *,
    pictures: Tensor | None = None,
    scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Average what feature maps hold under each box into a grid; gradients flow to ``features`` only.

    Args:
        features: float [N, C, H, W]; computed in float32. Differentiable once.
        boxes, size, pictures, scale, sampling_ratio, aligned: see `ops.roi_align`; tensors on the device of
            ``features``.

    Returns:
        float [K, C, height, width] of the dtype of ``features``.
    """
    options = {"scale": scale, "sampling_ratio": sampling_ratio, "aligned": aligned}
    result: Tensor = _RoIAlign.apply(features, boxes, pictures, size, options)  # type: ignore[no-untyped-call]
    return result
