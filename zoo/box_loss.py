"""The IoU of paired boxes as a differentiable torch function over the operators of `ops`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import ops
from ops.paired_box_iou import IoUKind
from zoo.operands import answer_like, operand


class _PairedIoU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, boxes: Tensor, targets: Tensor, kind: IoUKind) -> Tensor:
        ctx.save_for_backward(boxes, targets)
        ctx.kind = kind
        iou = ops.paired_box_iou(operand(boxes.float()), operand(targets.float()), kind=kind)
        return answer_like(iou, boxes).to(boxes.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        boxes, targets = ctx.saved_tensors
        given = (operand(tensor.float()) for tensor in (boxes, targets, gradients[0]))
        gradient = ops.paired_box_iou_backward(*given, kind=ctx.kind)
        return answer_like(gradient, boxes).to(boxes.dtype), None, None


def paired_iou(boxes: Tensor, targets: Tensor, *, kind: IoUKind = "iou") -> Tensor:
    """Return the IoU of ``boxes[i]`` with ``targets[i]``, or one with a penalty; gradients flow to ``boxes`` only.

    Args:
        boxes, targets: float [N, 4], xyxy, the same unit; taken as float32. Differentiable once.
        kind: ``iou`` (no slope where the boxes do not meet), ``giou``, ``diou`` or ``ciou``; a loss is 1 less this.

    Returns:
        float [N]: ``iou`` 0..1, ``giou`` and ``diou`` -1..1, ``ciou`` -2..1.
    """
    result: Tensor = _PairedIoU.apply(boxes, targets, kind)  # type: ignore[no-untyped-call]
    return result
