"""paired_box_iou against box_iou's diagonal, its gradient against torch's in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ops

KIND = pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])


def torch_iou(a: torch.Tensor, b: torch.Tensor, kind: str = "iou") -> torch.Tensor:
    """The definitions, in torch's own differentiable operators; of CIoU alpha is a constant, as in its paper."""
    size = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    meet = size[:, 0] * size[:, 1]
    area_a, area_b = ((k[:, 2:] - k[:, :2]).prod(1) for k in (a, b))
    union = area_a + area_b - meet
    iou = meet / union
    around = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    if kind == "giou":
        return iou - (around.prod(1) - union) / around.prod(1)
    if kind != "iou":
        apart = (a[:, 2:] + a[:, :2] - b[:, 2:] - b[:, :2]) / 2
        aspect_a, aspect_b = (torch.atan((k[:, 2] - k[:, 0]) / (k[:, 3] - k[:, 1])) for k in (a, b))
        v = 4 / np.pi**2 * (aspect_b - aspect_a) ** 2
        alpha = (v / (1 - iou + v)).detach()
        iou = iou - (apart**2).sum(1) / (around**2).sum(1)
        return iou - alpha * v if kind == "ciou" else iou
    return iou


def random_boxes(count: int, seed: int, scale: float = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, scale, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(scale / 20, scale, (count, 2))], 1).astype(np.float32)


@KIND
@pytest.mark.parametrize("scale", [1e-8, 1, 100, 1e10])  # 1e10: areas whose square is beyond float32
def test_value_and_gradient_match_torch_in_float64(scale: float, kind: Any) -> None:
    a, b = random_boxes(200, 1, scale), random_boxes(200, 2, scale)
    upstream = np.random.default_rng(3).normal(size=200).astype(np.float32)
    leaf = torch.from_numpy(a).double().requires_grad_()
    expected = torch_iou(leaf, torch.from_numpy(b).double(), kind)
    (expected * torch.from_numpy(upstream)).sum().backward()
    meet = torch_iou(leaf, torch.from_numpy(b).double()) > 0
    assert 50 < meet.sum() < 190  # pairs that meet and pairs that do not

    np.testing.assert_allclose(ops.paired_box_iou(a, b, kind=kind), expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    gradient = ops.paired_box_iou_backward(a, b, upstream, kind=kind)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient * scale, leaf.grad.numpy() * scale, rtol=1e-5, atol=1e-5)


PAIRWISE = [
    ("iou", ops.box_iou),
    ("giou", ops.generalized_box_iou),
    ("diou", ops.distance_box_iou),
    ("ciou", ops.complete_box_iou),
]


@pytest.mark.parametrize(("kind", "pairwise"), PAIRWISE)
def test_value_is_the_diagonal_of_all_pairs(kind: Any, pairwise: Any) -> None:
    a, b = random_boxes(50, 4), random_boxes(50, 5)
    np.testing.assert_array_equal(ops.paired_box_iou(a, b, kind=kind), pairwise(a, b).diagonal())


POINT, UPRIGHT = (5, 5, 5, 5), (0, 0, 10, 10)
ODD = [(POINT, POINT), (POINT, (9, 5, 9, 5)), (UPRIGHT, UPRIGHT), (POINT, UPRIGHT), ((8, 0, 2, 10), UPRIGHT)]


@KIND
@pytest.mark.parametrize(("box", "target"), [*ODD, *(pair[::-1] for pair in ODD)])
def test_odd_boxes_have_a_finite_gradient(box: Any, target: Any, kind: Any) -> None:
    a, b = np.array([box], np.float32), np.array([target], np.float32)
    assert np.isfinite(ops.paired_box_iou_backward(a, b, np.ones(1, np.float32), kind=kind)).all()


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_boxes_apart_are_drawn_together(kind: Any) -> None:
    """Where the plain IoU has no slope."""
    a, b = np.array([(20, 0, 30, 10)], np.float32), np.array([(0, 0, 10, 10)], np.float32)
    gradient = ops.paired_box_iou_backward(a, b, np.ones(1, np.float32), kind=kind)[0]
    assert gradient[0] < 0
    assert (ops.paired_box_iou_backward(a, b, np.ones(1, np.float32)) == 0).all()


def test_refuses_another_kind() -> None:
    none = np.zeros((0, 4), np.float32)
    with pytest.raises(ValueError, match="kind: expected iou, giou, diou, ciou, got 'siou'"):
        ops.paired_box_iou(none, none, kind="siou")  # type: ignore[arg-type]


TARGET = (0, 0, 10, 10)
# box, gradient of its IoU with TARGET (worked out by hand; where edges coincide, the box's edge counts as inside)
GRADIENTS = [
    ((2, 2, 7, 7), (-0.05, -0.05, 0.05, 0.05)),  # inside: larger is better
    ((-10, 0, 10, 10), (0.025, 0, 0, 0)),  # only the left edge is wrong
    ((20, 20, 30, 30), (0, 0, 0, 0)),  # apart
    ((10, 0, 20, 10), (0, 0, 0, 0)),  # touching
    ((5, 5, 5, 8), (0, 0, 0, 0)),  # no width
    ((7, 2, 2, 7), (0, 0, 0, 0)),  # inverted
]


@pytest.mark.parametrize(("box", "expected"), GRADIENTS)
def test_gradient_by_hand(box: Any, expected: Any) -> None:
    a, b = np.array([box], np.float32), np.array([TARGET], np.float32)
    gradient = ops.paired_box_iou_backward(a, b, np.ones(1, np.float32))[0]
    moved = np.array([edge not in TARGET for edge in box]) | (np.array(expected) == 0).all()
    np.testing.assert_allclose(gradient[moved], np.array(expected)[moved], atol=1e-7)


def test_tiny_boxes_do_not_divide_by_zero() -> None:
    a, b = np.array([[0, 0, 1e-12, 1e-12]], np.float32), np.array([[0, 0, 2e-12, 2e-12]], np.float32)
    assert ops.paired_box_iou(a, b)[0] == pytest.approx(0.25)
    # d iou / d x2 = height / area of the target
    assert ops.paired_box_iou_backward(a, b, np.ones(1, np.float32))[0, 2] == pytest.approx(0.25e12, rel=1e-5)


def test_empty() -> None:
    none = np.zeros((0, 4), np.float32)
    assert ops.paired_box_iou(none, none).shape == (0,)
    assert ops.paired_box_iou_backward(none, none, np.zeros(0, np.float32)).shape == (0, 4)


@pytest.mark.parametrize(
    ("a", "b", "upstream", "message"),
    [
        ((2, 4), (3, 4), 2, "expected equal lengths, got a 2, b 3"),
        ((2, 4), (2, 4), 3, "expected equal lengths, got a 2, upstream 3"),
        ((2, 5), (2, 4), 2, "a: expected a float32 array of shape [N, 4], got float32 array of shape (2, 5)"),
    ],
)
def test_refuses(a: Any, b: Any, upstream: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ops.paired_box_iou_backward(np.zeros(a, np.float32), np.zeros(b, np.float32), np.zeros(upstream, np.float32))
    assert message in str(caught.value)
