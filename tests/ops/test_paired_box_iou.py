"""paired_box_iou against box_iou's diagonal, its gradient against torch's in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import ops


def torch_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The definition, in torch's own differentiable operators."""
    size = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    meet = size[:, 0] * size[:, 1]
    area_a, area_b = ((k[:, 2:] - k[:, :2]).prod(1) for k in (a, b))
    return meet / (area_a + area_b - meet)


def random_boxes(count: int, seed: int, scale: float = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, scale, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(scale / 20, scale, (count, 2))], 1).astype(np.float32)


@pytest.mark.parametrize("scale", [1e-8, 1, 100, 1e10])  # 1e10: areas whose square is beyond float32
def test_value_and_gradient_match_torch_in_float64(scale: float) -> None:
    a, b = random_boxes(200, 1, scale), random_boxes(200, 2, scale)
    upstream = np.random.default_rng(3).normal(size=200).astype(np.float32)
    leaf = torch.from_numpy(a).double().requires_grad_()
    expected = torch_iou(leaf, torch.from_numpy(b).double())
    (expected * torch.from_numpy(upstream)).sum().backward()
    assert (expected > 0).sum() > 100

    np.testing.assert_allclose(ops.paired_box_iou(a, b), expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    gradient = ops.paired_box_iou_backward(a, b, upstream)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient * scale, leaf.grad.numpy() * scale, rtol=1e-5, atol=1e-5)


def test_value_is_the_diagonal_of_box_iou() -> None:
    a, b = random_boxes(50, 4), random_boxes(50, 5)
    np.testing.assert_array_equal(ops.paired_box_iou(a, b), ops.box_iou(a, b).diagonal())


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
