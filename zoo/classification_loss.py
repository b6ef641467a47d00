"""The loss of classifiers: cross-entropy with class weights, label smoothing and soft targets, or its focal variant.

Sources: label smoothing: Szegedy et al. 2016 (arXiv 1512.00567); soft targets of blended pictures: Zhang et al. 2018
(mixup, arXiv 1710.09412) and Yun et al. 2019 (CutMix, arXiv 1905.04899); focal: Lin et al. 2017, over a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.focal_loss import softmax_focal_loss
from zoo.loss_input import at_least_float32, weights_like
from zoo.ranks import ALONE, Ranks


def classification_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    class_weights: Tensor | Sequence[float] | None = None,
    smoothing: float = 0.0,
    focal_gamma: float | None = None,
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """Return the loss of a batch and what it can be compared by.

    Args:
        logits: float [B, C]; half precision is computed in float32.
        targets: class ids int64 [B], or float [B, C], a distribution over the classes per picture.
        class_weights: of the C classes, above 0. As in torch's cross-entropy the loss of class ids is divided by the
            sum of their weights, that of distributions by B.
        smoothing: share of every target that is spread evenly over all classes, 0..1.
        focal_gamma: weighs every class's term by (1 - p)^gamma; None is plain cross-entropy.
        ranks: the processes that share the batch.

    Returns:
        ``loss`` (to minimise); ``cross_entropy``, the same without the focal weighting, and ``accuracy``, the share of
        pictures whose likeliest class is the target's, 0..1, both without a graph. All scalars. Of a shared batch all
        of it is meant, not this process's share.

    Raises:
        ValueError: for shapes or dtypes that do not fit, class ids out of range, smoothing or gamma out of range.
    """
    _check(logits, targets, smoothing)
    logits = at_least_float32(logits)
    weights = weights_like(class_weights, logits, "classification_loss")
    soft = targets.is_floating_point()
    targets = targets.to(logits) if soft else targets
    terms = F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing, reduction="sum")
    cross_entropy = terms.detach()
    if focal_gamma is not None:
        classes = logits.shape[1]
        spread = (targets if soft else F.one_hot(targets, classes).to(logits)) * (1 - smoothing) + smoothing / classes
        terms = softmax_focal_loss(logits, spread, class_weights=weights, gamma=focal_gamma).sum()
    truth = targets.argmax(dim=1) if soft else targets
    right = (logits.detach().argmax(dim=1) == truth).to(logits).sum()
    pictures = logits.new_full((), float(len(logits)))
    divisor = pictures if soft or weights is None else weights[targets].sum()
    terms, cross_entropy, right, pictures, divisor = ranks.totals(terms, cross_entropy, right, pictures, divisor)
    return {"loss": terms / divisor, "cross_entropy": cross_entropy / divisor, "accuracy": right / pictures}


def _check(logits: Tensor, targets: Tensor, smoothing: float) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"classification_loss: logits: expected float [B, C], got shape {tuple(logits.shape)}")
    batch, classes = logits.shape
    ids = targets.dtype == torch.int64
    if tuple(targets.shape) != ((batch,) if ids else (batch, classes)) or not (ids or targets.is_floating_point()):
        raise ValueError(
            f"classification_loss: targets: expected int64 [{batch}] or float [{batch}, {classes}], got"
            f" {targets.dtype} {list(targets.shape)}"
        )
    low, high = (int(targets.min()), int(targets.max())) if ids else (0, 0)
    if low < 0 or high >= classes:
        raise ValueError(f"classification_loss: targets: expected 0..{classes - 1}, got {low}..{high}")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"classification_loss: smoothing: expected 0..1, got {smoothing}")
