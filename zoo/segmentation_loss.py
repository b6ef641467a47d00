"""The loss of segmenters: a term per pixel (cross-entropy, binary cross-entropy or focal) plus soft Dice per class.

Sources: Dice: Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, arXiv 1606.04797, with plain sums in the denominator,
over the whole batch or picture by picture; focal: Lin et al. 2017, arXiv 1708.02002.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.focal_loss import sigmoid_focal_loss
from zoo.loss_input import at_least_float32, weights_like
from zoo.ranks import ALONE, Ranks

Kind = Literal["ce", "focal", "bce"]
DiceOver = Literal["batch", "picture"]
FOCAL_GAMMA = 2.0  # the best of table 1b of Lin et al.; their alpha is left to the class weights
DICE_SMOOTHING = 1.0  # pixels: keeps a class of a few pixels from jumping between 0 and 1


def segmentation_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    ignore: int = 255,
    dice_weight: float = 1.0,
    dice_over: DiceOver = "batch",
    class_weights: Tensor | Sequence[float] | None = None,
    kind: Kind = "ce",
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """Return the loss of a batch and its parts. Pixels to ignore count nowhere; without any other all parts are 0.

    Args:
        logits: float [B, C, h, w]; half precision is computed in float32. One channel means one class against the
            rest, for "focal" and "bce" only.
        targets: class ids int64 or uint8 [B, H, W]; of one channel 1 is the class and 0 the rest. Where H x W is more
            than h x w the logits are interpolated (bilinear, between pixels' centres); at h x w the loss is cheaper.
        ignore: the class id of pixels that nobody labelled.
        dice_weight: factor of the Dice term, 1 - (2 sum(p g) + 1) / (sum(p) + sum(g) + 1); the mean over the
            classes that occur in the batch, the first (background) of several left out. At least 0.
        dice_over: "batch" sums over the batch, so that of a class its large regions count; "picture" over each picture
            and takes the mean over those where the class occurs, so that a small region counts like a large one.
        class_weights: of the C channels, above 0. "ce" is divided by the sum of the pixels' weights, as in torch.
        kind: "ce" is a softmax over the channels. "bce" and "focal" (gamma 2) ask every channel by itself; their term
            is the mean over pixels and channels.
        ranks: the processes that share the batch.

    Returns:
        ``loss`` (to minimise), and ``pixels`` and ``dice``, its weighted parts, without a graph. All scalars. Of a
        shared batch all of it is meant, not this process's share.

    Raises:
        ValueError: for shapes, dtypes, class ids or numbers that do not fit.
    """
    _check(logits, targets, dice_weight, kind, dice_over)
    logits = at_least_float32(logits)
    weights = weights_like(class_weights, logits, "segmentation_loss")
    if logits.shape[2:] != targets.shape[1:]:
        logits = F.interpolate(logits, size=targets.shape[1:], mode="bilinear", align_corners=False)
    targets = targets.long()  # before comparing: ignore may be no uint8
    valid = targets != ignore
    labels = targets.masked_fill(~valid, 0)
    _check_labels(labels, max(logits.shape[1], 2))
    truth = _one_hot(labels, logits.shape[1])
    if kind == "ce":
        terms, counted = _cross_entropy(logits, labels, valid, weights)
    else:
        terms, counted = _per_channel(logits, truth, valid, weights, kind)
    p = logits.softmax(dim=1) if kind == "ce" else logits.sigmoid()
    if dice_over == "batch":
        terms, counted, *overlap = ranks.totals(terms, counted, *_overlap(p, truth, valid, (0, 2, 3)))
        missed, occurs = _dice(*overlap)
    else:
        by_picture = (part.sum(0) for part in _dice(*_overlap(p, truth, valid, (2, 3))))
        terms, counted, missed, occurs = ranks.totals(terms, counted, *by_picture)
    pixels = terms / torch.where(counted > 0, counted, 1.0)
    dice = dice_weight * (missed / occurs.clamp(min=1)).sum() / (occurs > 0).sum().clamp(min=1)
    return {"loss": pixels + dice, "pixels": pixels.detach(), "dice": dice.detach()}


def _one_hot(labels: Tensor, channels: int) -> Tensor:
    """Return bool [B, C, H, W]. Ignored pixels stand as 0, the background, which Dice does not ask about."""
    classes = torch.arange(channels, device=labels.device) if channels > 1 else torch.ones(1, device=labels.device)
    return labels[:, None] == classes[:, None, None]


def _cross_entropy(logits: Tensor, labels: Tensor, valid: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sum of the pixels' terms, and what it is divided by."""
    losses = F.cross_entropy(logits, labels, weight=weights, reduction="none")
    counted = valid.to(logits) if weights is None else weights[labels] * valid
    return (losses * valid).sum(), counted.sum()


def _per_channel(
    logits: Tensor, truth: Tensor, valid: Tensor, weights: Tensor | None, kind: Kind
) -> tuple[Tensor, Tensor]:
    """Return the sum of the pixels' and channels' terms, and what it is divided by."""
    targets = truth.to(logits)
    if kind == "focal":
        losses = sigmoid_focal_loss(logits, targets, alpha=None, gamma=FOCAL_GAMMA)
    else:
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    per_channel = (losses * valid[:, None]).sum((0, 2, 3))
    total = (per_channel if weights is None else per_channel * weights).sum()
    return total, valid.sum().to(logits) * logits.shape[1]


def _overlap(p: Tensor, truth: Tensor, valid: Tensor, over: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pixels of each class that Dice asks about: predicted where it is, predicted, true; sums over axes."""
    if p.shape[1] > 1:
        p, truth = p[:, 1:], truth[:, 1:]
    return (p * truth).sum(over), (p * valid[:, None]).sum(over), truth.sum(over).to(p)


def _dice(both: Tensor, predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - Dice where a class occurs, else 0, and where it does, as 1 and 0."""
    dice = (2 * both + DICE_SMOOTHING) / (predicted + true + DICE_SMOOTHING)
    # A class that does not occur has nothing to overlap with; its false alarms are the pixel term's business.
    occurs = (true > 0).to(dice)
    return (1 - dice) * occurs, occurs


def _check(logits: Tensor, targets: Tensor, dice_weight: float, kind: Kind, dice_over: DiceOver) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"segmentation_loss: kind: expected one of {', '.join(get_args(Kind))}, got {kind!r}")
    if dice_over not in get_args(DiceOver):
        raise ValueError(
            f"segmentation_loss: dice_over: expected one of {', '.join(get_args(DiceOver))}, got {dice_over!r}"
        )
    if logits.ndim != 4 or 0 in logits.shape:
        raise ValueError(f"segmentation_loss: logits: expected float [B, C, h, w], got shape {tuple(logits.shape)}")
    if kind == "ce" and logits.shape[1] == 1:
        raise ValueError("segmentation_loss: expected at least 2 channels for kind 'ce', got 1; use 'bce' or 'focal'")
    if targets.dtype not in (torch.int64, torch.uint8) or targets.ndim != 3 or len(targets) != len(logits):
        raise ValueError(
            f"segmentation_loss: targets: expected int64 or uint8 [{len(logits)}, H, W], got {targets.dtype}"
            f" {list(targets.shape)}"
        )
    if targets.shape[1] < logits.shape[2] or targets.shape[2] < logits.shape[3]:
        raise ValueError(
            f"segmentation_loss: targets: expected at least the logits' size {tuple(logits.shape[2:])}, got"
            f" {tuple(targets.shape[1:])}"
        )
    if not 0 <= dice_weight < float("inf"):
        raise ValueError(f"segmentation_loss: dice_weight: expected a finite number of at least 0, got {dice_weight}")


def _check_labels(labels: Tensor, classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(f"segmentation_loss: targets: expected 0..{classes - 1} or ignore, got {low}..{high}")
