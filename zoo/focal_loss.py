"""Focal losses: cross-entropy that turns down what is already predicted well.

Source: Lin, Goyal, Girshick, He and Dollár, "Focal Loss for Dense Object Detection", ICCV 2017, arXiv 1708.02002.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import ops
from zoo.loss_input import at_least_float32, check_gamma
from zoo.operands import answer_like, on_twin, operand

# Below this a prediction is perfect; the power of an exact zero has no finite slope for gamma under 1.
_TINY = 1e-12


class _SigmoidFocalLoss(torch.autograd.Function):
    """The operator and its gradient: one pass over the logits each, where torch's own functions need a dozen."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, alpha: float | None, gamma: float) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.settings = {"alpha": alpha, "gamma": gamma}
        return answer_like(ops.sigmoid_focal_loss(operand(logits), operand(targets), **ctx.settings), logits)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        logits, targets = ctx.saved_tensors
        given = (operand(tensor) for tensor in (logits, targets, gradients[0]))
        return answer_like(ops.sigmoid_focal_loss_backward(*given, **ctx.settings), logits), None, None, None


def _operator_applies(logits: Tensor, targets: Tensor) -> bool:
    """Whether these are plain float32 tensors that the operator takes where they are."""
    plain = type(logits) is Tensor and type(targets) is Tensor and not targets.requires_grad
    return plain and logits.dtype == torch.float32 and (logits.device.type == "cpu" or on_twin(logits))


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float | None = 0.25, gamma: float = 2.0) -> Tensor:
    """Return -alpha_t (1 - p_t)^gamma log(p_t) of every element, where p = sigmoid(logit).

    p_t is p where the target is 1 and 1 - p where it is 0, and the mixture in between; alpha_t likewise.

    Args:
        logits: float of any shape; half precision is computed in float32. Differentiable (float32 once).
        targets: 0..1, of the same shape, any dtype.
        alpha: weight of the ones, 0..1 (the zeros weigh 1 - alpha); None weighs both 1.
        gamma: at least 0; at 0 this is the balanced binary cross-entropy.

    Returns:
        float of the shape of ``logits``, not reduced.

    Raises:
        ValueError: for shapes that differ, or alpha or gamma out of range.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"sigmoid_focal_loss: targets: expected the logits' shape {tuple(logits.shape)}, got {tuple(targets.shape)}"
        )
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"sigmoid_focal_loss: alpha: expected 0..1 or None, got {alpha}")
    check_gamma("sigmoid_focal_loss: gamma", gamma)
    logits = at_least_float32(logits)
    targets = targets.to(logits)
    if _operator_applies(logits, targets):
        result: Tensor = _SigmoidFocalLoss.apply(logits, targets, alpha, gamma)  # type: ignore[no-untyped-call]
        return result
    return _by_torch(logits, targets, alpha, gamma)


def _by_torch(logits: Tensor, targets: Tensor, alpha: float | None, gamma: float) -> Tensor:
    # 1 - p as the sigmoid of -logit: a subtraction loses what is left near 0, as torch's own cross-entropy does.
    missed = torch.sigmoid(-logits) * targets + torch.sigmoid(logits) * (1 - targets)
    cross_entropy = -F.logsigmoid(logits) * targets - F.logsigmoid(-logits) * (1 - targets)
    loss = missed.clamp(min=_TINY) ** gamma * cross_entropy
    return loss if alpha is None else loss * (alpha * targets + (1 - alpha) * (1 - targets))


def softmax_focal_loss(
    logits: Tensor, targets: Tensor, *, class_weights: Tensor | None = None, gamma: float = 2.0
) -> Tensor:
    """Return sum over the classes of -w_c t_c (1 - p_c)^gamma log(p_c), where p = softmax(logits).

    Args:
        logits: float [N, C]; half precision is computed in float32. Differentiable.
        targets: float [N, C], a distribution over the classes in every row.
        class_weights: float [C].
        gamma: at least 0; at 0 this is the cross-entropy.

    Returns:
        float [N], not reduced.

    Raises:
        ValueError: for shapes that differ, or gamma out of range.
    """
    if logits.ndim != 2 or logits.shape != targets.shape:
        raise ValueError(
            f"softmax_focal_loss: expected logits and targets [N, C], got {tuple(logits.shape)} and"
            f" {tuple(targets.shape)}"
        )
    check_gamma("softmax_focal_loss: gamma", gamma)
    log_p = at_least_float32(logits).log_softmax(dim=1)
    missed = -torch.expm1(log_p)  # 1 - p
    loss = -(missed.clamp(min=_TINY) ** gamma) * log_p * targets
    return (loss if class_weights is None else loss * class_weights).sum(dim=1)
