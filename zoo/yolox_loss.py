"""The YOLOX training loss: SimOTA assignment, then box IoU, objectness and class terms.

Source: Ge et al. 2021 (arXiv 2107.08430), section 2; the box term weighs 5, as there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import ops
from zoo.box_loss import paired_iou
from zoo.operands import answer_like, operand
from zoo.ranks import ALONE, Ranks

BOX_WEIGHT = 5.0


def cell_grid(input_size: tuple[int, int], strides: Sequence[int]) -> Tensor:
    """Return float [A, 3]: x and y index and stride of every cell, in the order of the head's output."""
    parts = []
    for stride in strides:
        rows, columns = input_size[0] // stride, input_size[1] // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        parts.append(torch.stack([x, y, torch.full_like(x, stride)], dim=-1).reshape(-1, 3))
    return torch.cat(parts).float()


def decode_boxes(raw: Tensor, grid: Tensor) -> Tensor:
    """Return boxes [..., 4] (xyxy, input pixels) of raw outputs [..., 5 + C] at the given cells [..., 3]."""
    centre = (raw[..., :2] + grid[..., :2]) * grid[..., 2:]
    half = raw[..., 2:4].clamp(max=20).exp() * grid[..., 2:] * 0.5  # exp(20) strides is past any picture
    return torch.cat([centre - half, centre + half], dim=-1)


def yolox_loss(
    raw: Tensor,
    boxes: Sequence[np.ndarray],
    class_ids: Sequence[np.ndarray],
    *,
    input_size: tuple[int, int],
    strides: Sequence[int] = (8, 16, 32),
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """Return the loss and its parts for a batch.

    Args:
        raw: float [B, A, 5 + C], the network's output.
        boxes: per picture float32 [N, 4], xyxy in input pixels.
        class_ids: per picture int64 [N].
        input_size: (height, width) of the input.
        strides: of the head's levels.
        ranks: the processes that share the batch.

    Returns:
        ``loss`` (to minimise), ``box``, ``objectness``, ``classes`` (its weighted parts), all scalars, and
        ``positives``, the number of cells that learn a box. All parts are sums divided by the positives. Of a shared
        batch all of it is meant, not this process's share.
    """
    raw = raw.float()  # the exponentials overflow in half precision
    counts = [len(picture) for picture in boxes]
    truths = torch.from_numpy(np.concatenate(boxes).astype(np.float32).reshape(-1, 4)).to(raw.device)
    truth_classes = torch.from_numpy(np.concatenate(class_ids).astype(np.int64)).to(raw.device)
    assigned = ops.simota_assign(
        operand(raw), operand(truths), operand(truth_classes), counts, input_size=input_size, strides=strides
    )
    matched, ious = (answer_like(each, raw) for each in assigned)
    picture, cell = torch.nonzero(matched >= 0, as_tuple=True)
    starts = torch.tensor([0, *counts[:-1]]).cumsum(0).to(raw.device)
    truth = starts[picture] + matched[picture, cell]

    positives = raw[picture, cell]
    grid = cell_grid(input_size, strides).to(raw.device)[cell]
    iou = paired_iou(decode_boxes(positives, grid), truths[truth])
    box = BOX_WEIGHT * (1.0 - iou.square()).sum()

    object_target = (matched >= 0).to(raw.dtype)
    objectness = F.binary_cross_entropy_with_logits(raw[..., 4], object_target, reduction="sum")

    # The class target is the IoU of the prediction, so that the score ranks boxes by how well they fit.
    class_target = torch.zeros_like(positives[:, 5:])
    class_target[torch.arange(len(picture), device=raw.device), truth_classes[truth]] = ious[picture, cell]
    classes = F.binary_cross_entropy_with_logits(positives[:, 5:], class_target, reduction="sum")
    number = raw.new_full((), float(len(picture)))
    box, objectness, classes, number = ranks.totals(box, objectness, classes, number)
    box, objectness, classes = (part / number.clamp(min=1) for part in (box, objectness, classes))
    return {
        "loss": box + objectness + classes,
        "box": box.detach(),
        "objectness": objectness.detach(),
        "classes": classes.detach(),
        "positives": number,
    }
