"""RoIAlign as a differentiable torch function over the operators of `ops`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ops
from zoo.operands import answer_like, operand


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
        where = None if pictures is None else operand(pictures)
        pooled = ops.roi_align(operand(features.float()), operand(boxes.float()), size, pictures=where, **options)
        return answer_like(pooled, features).to(features.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        boxes, pictures = ctx.saved_tensors
        upstream = gradients[0]
        where = None if pictures is None else operand(pictures)
        given = operand(upstream.float()), operand(boxes.float())
        gradient = ops.roi_align_backward(*given, ctx.shape, pictures=where, **ctx.options)
        return answer_like(gradient, upstream).to(upstream.dtype), None, None, None, None


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
