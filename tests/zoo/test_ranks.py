"""The losses of a batch that is cut into shares: one value everywhere, and the mean of the gradients is the batch's.

Processes are stood in for: the sums of all shares are collected first, then every share is given them. What the process
group itself does is tested where processes train (`tests/toolkit/training/test_distributed.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo.classification_loss import classification_loss
from zoo.ranks import ALONE, Ranks
from zoo.segmentation_loss import segmentation_loss
from zoo.yolox_loss import yolox_loss

Loss = Callable[[Tensor, slice, Ranks], dict[str, Tensor]]
SIZE = (64, 64)
CELLS = sum((64 // stride) ** 2 for stride in (8, 16, 32))
# One share has three boxes in a picture, one has a single box, one none at all.
BOXES = [
    np.array([[4, 4, 40, 36], [30, 20, 60, 60], [10, 30, 22, 45]], np.float32),
    np.zeros((0, 4), np.float32),
    np.array([[0, 0, 60, 60]], np.float32),
    np.zeros((0, 4), np.float32),
    np.zeros((0, 4), np.float32),
]
CLASS_IDS = [np.array([0, 2, 1]), np.zeros(0, np.int64), np.array([1]), np.zeros(0, np.int64), np.zeros(0, np.int64)]
WEIGHTS = [0.5, 1.0, 4.0]


def detection(raw: Tensor, share: slice, ranks: Ranks) -> dict[str, Tensor]:
    return yolox_loss(raw[share], BOXES[share], CLASS_IDS[share], input_size=SIZE, ranks=ranks)


def no_objects(raw: Tensor, share: slice, ranks: Ranks) -> dict[str, Tensor]:
    empty = np.zeros((0, 4), np.float32)
    pictures = len(raw[share])
    return yolox_loss(raw[share], [empty] * pictures, [CLASS_IDS[1]] * pictures, input_size=SIZE, ranks=ranks)


def classification(**options: object) -> Loss:
    ids = torch.tensor([0, 2, 2, 1, 0])
    targets = torch.softmax(torch.arange(15.0).reshape(5, 3).sin(), 1) if options.pop("soft", False) else ids

    def loss(raw: Tensor, share: slice, ranks: Ranks) -> dict[str, Tensor]:
        return classification_loss(raw[share, 0, :3], targets[share], ranks=ranks, **options)  # type: ignore[arg-type]

    return loss


def segmentation(**options: object) -> Loss:
    generator = np.random.default_rng(0)
    targets = torch.from_numpy(generator.integers(0, 3, (5, 8, 8)))
    targets[torch.from_numpy(generator.random((5, 8, 8)) < 0.3)] = 255
    targets[4] = 255  # a share without anything labelled
    targets[:2] = targets[:2].clamp(max=1) * (targets[:2] < 255) + 255 * (targets[:2] == 255)  # and one without class 2

    def loss(raw: Tensor, share: slice, ranks: Ranks) -> dict[str, Tensor]:
        logits = raw[share, :24].reshape(-1, 3, 8, 8)
        return segmentation_loss(logits, targets[share], ranks=ranks, **options)  # type: ignore[arg-type]

    return loss


class Stand(Ranks):
    """A process whose partners' sums are known."""

    def __init__(self, count: int, sums: list[Tensor]) -> None:
        super().__init__(count)
        self.sums, self.own = sums, []

    def add_up(self, values: Tensor) -> None:
        self.own.append(values.clone())
        if self.sums:
            values.copy_(self.sums[len(self.own) - 1])


def shared(loss: Loss, raw: Tensor, edges: list[int]) -> list[dict[str, Tensor]]:
    """What each of the processes is given, whose shares lie between the edges."""
    shares = [slice(*pair) for pair in pairwise(edges)]
    first = [Stand(len(shares), []) for _ in shares]
    for share, ranks in zip(shares, first, strict=True):
        loss(raw.detach(), share, ranks)
    sums = [torch.stack(parts).sum(0) for parts in zip(*(ranks.own for ranks in first), strict=True)]
    assert len(sums) == 1, "more than one call to the network"
    return [loss(raw, share, Stand(len(shares), sums)) for share in shares]


@pytest.mark.parametrize("edges", [[0, 2, 4, 5], [0, 1, 5]], ids=["three", "two"])
@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(detection, id="detection"),
        pytest.param(no_objects, id="detection without objects"),
        pytest.param(classification(), id="class ids"),
        pytest.param(classification(class_weights=WEIGHTS, smoothing=0.1), id="class ids, weighted"),
        pytest.param(classification(soft=True, class_weights=WEIGHTS), id="distributions"),
        pytest.param(classification(class_weights=WEIGHTS, focal_gamma=1.5), id="focal"),
        pytest.param(segmentation(), id="pixels"),
        pytest.param(segmentation(class_weights=WEIGHTS, dice_weight=0.7), id="pixels, weighted"),
        pytest.param(segmentation(kind="focal", class_weights=WEIGHTS), id="pixels, focal"),
        pytest.param(segmentation(dice_over="picture"), id="pixels, Dice of each picture"),
    ],
)
def test_shares_give_the_loss_and_gradient_of_the_batch(loss: Loss, edges: list[int]) -> None:
    torch.manual_seed(0)
    raw = torch.randn(5, CELLS, 8, requires_grad=True)
    whole = loss(raw, slice(0, 5), ALONE)
    (expected,) = torch.autograd.grad(whole["loss"], raw)
    parts = shared(loss, raw, edges)
    gradients = [torch.autograd.grad(part["loss"], raw)[0] for part in parts]
    for part in parts:
        assert part.keys() == whole.keys()
        for name, value in whole.items():
            assert part[name].item() == pytest.approx(value.item(), rel=1e-5, abs=1e-7), name
            assert part[name].requires_grad == (name == "loss")
    torch.testing.assert_close(torch.stack(gradients).mean(0), expected, rtol=1e-4, atol=1e-7)


def test_one_process_is_given_its_own_tensors() -> None:
    part = torch.ones(2, requires_grad=True)
    assert ALONE.totals(part)[0] is part
