"""paired_iou as a torch function: its gradient against finite differences and torch's own, its rules for autograd."""

from __future__ import annotations

import pytest
import torch

from ops.paired_box_iou import IoUKind
from zoo.box_loss import paired_iou


def plain_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    meet = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    return meet / ((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - meet)


def overlapping(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    corner = torch.rand(2, count, 2) * 40
    boxes = torch.cat([corner, corner + 10 + 50 * torch.rand(2, count, 2)], 2)
    return boxes[0], boxes[1]


def test_gradient_is_the_slope() -> None:
    """Central differences of the definition in float64 against our float32 gradient."""
    a, b = overlapping()
    leaf = a.clone().requires_grad_()
    weight = torch.linspace(-1, 2, len(a))
    (paired_iou(leaf, b) * weight).sum().backward()
    step = 1e-4
    for column in range(4):
        shift = torch.zeros(4, dtype=torch.float64)
        shift[column] = step
        slope = (plain_iou(a.double() + shift, b.double()) - plain_iou(a.double() - shift, b.double())) / (2 * step)
        torch.testing.assert_close(leaf.grad[:, column].double(), slope * weight, rtol=1e-4, atol=1e-6)
    assert leaf.grad.any(1).sum() > len(a) / 2


@pytest.mark.parametrize("kind", ["giou", "diou"])  # of ciou the gradient is not the slope: alpha is held constant
def test_kinds_have_the_slope_of_their_value(kind: IoUKind) -> None:
    """Central differences of the value itself, of pairs that meet and pairs that do not."""
    a, b = overlapping()
    a[::2] += 90
    leaf = a.clone().requires_grad_()
    paired_iou(leaf, b, kind=kind).sum().backward()
    step = 0.25
    for column in range(4):
        shift = torch.zeros(4)
        shift[column] = step
        slope = (paired_iou(a + shift, b, kind=kind) - paired_iou(a - shift, b, kind=kind)) / (2 * step)
        torch.testing.assert_close(leaf.grad[:, column], slope, rtol=5e-3, atol=2e-4)


def test_chains_like_torchs_own() -> None:
    """Through a non-linear loss and a decoding, as training uses it."""
    a, b = overlapping()
    gradients = []
    for function in (paired_iou, plain_iou):
        logits = a.div(10).clone().requires_grad_()
        loss = (1 - function(logits * 10, b).square()).sum()
        loss.backward()
        gradients.append(logits.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


FAR, NEAR = (60.0, 80.0, 110.0, 130.0), (20.0, 10.0, 70.0, 60.0)


@pytest.mark.parametrize(
    ("kind", "start", "rate"), [("iou", NEAR, 100), ("giou", FAR, 300), ("diou", FAR, 300), ("ciou", FAR, 300)]
)
def test_following_the_gradient_finds_the_target(kind: IoUKind, start: tuple[float, ...], rate: float) -> None:
    target = torch.tensor([[10.0, 20.0, 50.0, 70.0]])
    box = torch.tensor([start]).requires_grad_()
    optimizer = torch.optim.SGD([box], lr=rate)
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / 300)
        optimizer.zero_grad()
        (1 - paired_iou(box, target, kind=kind)).sum().backward()
        optimizer.step()
    assert paired_iou(box, target).item() > 0.95


def test_gradients_flow_to_the_boxes_only() -> None:
    a, b = (boxes.requires_grad_() for boxes in overlapping())
    paired_iou(a, b).sum().backward()
    assert a.grad is not None
    assert b.grad is None


def test_a_second_derivative_is_refused_and_not_taken_for_zero() -> None:
    a, b = overlapping()
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(paired_iou(a, b).square().sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_keeps_the_type_it_was_given(dtype: torch.dtype) -> None:
    a, b = (boxes.to(dtype) for boxes in overlapping())
    a.requires_grad_()
    iou = paired_iou(a, b)
    iou.sum().backward()
    assert iou.dtype == a.grad.dtype == dtype
    tolerance = {"rtol": 0.02, "atol": 0.02} if dtype != torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(iou.double(), plain_iou(a.double(), b.double()), **tolerance)


def test_takes_views_and_nothing_at_all() -> None:
    a, b = overlapping()
    torch.testing.assert_close(paired_iou(a.T.contiguous().T, b), paired_iou(a, b))
    none = torch.zeros(0, 4, requires_grad=True)
    paired_iou(none, torch.zeros(0, 4)).sum().backward()
    assert none.grad.shape == (0, 4)


def test_refuses_pairs_of_unequal_number() -> None:
    with pytest.raises(ValueError, match="expected equal lengths, got a 2, b 3"):
        paired_iou(torch.zeros(2, 4), torch.zeros(3, 4))
