"""Focal losses against NumPy in float64, their gradients by finite differences, and their extremes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zoo.focal_loss import sigmoid_focal_loss, softmax_focal_loss


def plain_sigmoid_focal(x: np.ndarray, t: np.ndarray, alpha: float | None, gamma: float) -> np.ndarray:
    """Equation 5 of Lin et al., for targets of 0 and 1."""
    p = 1 / (1 + np.exp(-x))
    p_t = np.where(t == 1, p, 1 - p)
    weight = 1.0 if alpha is None else np.where(t == 1, alpha, 1 - alpha)
    return -weight * (1 - p_t) ** gamma * np.log(p_t)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 1.0])
def test_sigmoid_is_the_papers_formula(alpha: float | None, gamma: float) -> None:
    generator = np.random.default_rng(0)
    x, t = generator.normal(0, 3, (4, 5, 6)), generator.integers(0, 2, (4, 5, 6))
    for targets in (torch.from_numpy(t), torch.from_numpy(t).bool(), torch.from_numpy(t).double()):
        found = sigmoid_focal_loss(torch.from_numpy(x), targets, alpha=alpha, gamma=gamma)
        np.testing.assert_allclose(found.numpy(), plain_sigmoid_focal(x, t, alpha, gamma), rtol=1e-9)


def test_sigmoid_by_hand() -> None:
    """p = 0.9 for a one: 0.25 * 0.1^2 * -log(0.9)."""
    logit = torch.tensor([np.log(9.0)])
    assert sigmoid_focal_loss(logit, torch.ones(1)).item() == pytest.approx(0.25 * 0.01 * 0.1053605, rel=1e-5)


def test_at_gamma_0_it_is_the_cross_entropy() -> None:
    torch.manual_seed(0)
    x, t = torch.randn(50), torch.rand(50)  # between 0 and 1 as well
    torch.testing.assert_close(
        sigmoid_focal_loss(x, t, alpha=None, gamma=0.0), F.binary_cross_entropy_with_logits(x, t, reduction="none")
    )
    x, ids = torch.randn(9, 4), torch.arange(9) % 4
    torch.testing.assert_close(
        softmax_focal_loss(x, F.one_hot(ids, 4).float(), gamma=0.0), F.cross_entropy(x, ids, reduction="none")
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_sigmoid_gradient(gamma: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    t = torch.rand(3, 4, dtype=torch.float64).round()
    assert torch.autograd.gradcheck(lambda logits: sigmoid_focal_loss(logits, t, gamma=gamma), x)


def example(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("soft", [False, True])
def test_the_operators_value_and_gradient_are_those_of_torch_in_float64(
    alpha: float | None, gamma: float, soft: bool
) -> None:
    """float32 on the CPU is the operator's; its gradient passes where gradcheck passes in float64."""
    x, t = example(0, 3, 5, 7)
    t = t if soft else t.round()
    results = []
    for logits in (x.clone().requires_grad_(), x.double().requires_grad_()):
        loss = sigmoid_focal_loss(logits, t, alpha=alpha, gamma=gamma)
        (loss.square() * torch.linspace(-1, 2, x.numel()).view(x.shape)).sum().backward()
        results.append((loss.detach().double(), logits.grad.double()))
    torch.testing.assert_close(*(loss for loss, _ in results), rtol=5e-6, atol=1e-9)
    torch.testing.assert_close(*(gradient for _, gradient in results), rtol=2e-5, atol=1e-6)
    weight = torch.rand(2, 3, dtype=torch.float64)
    given = x[0, :2, :3].double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda logits: sigmoid_focal_loss(logits, t[0, :2, :3], alpha=alpha, gamma=gamma) * weight, given
    )


def test_the_operators_gradient_is_the_slope_of_its_value() -> None:
    """Central differences of float32 values."""
    x, t = example(1, 400)
    leaf = x.clone().requires_grad_()
    sigmoid_focal_loss(leaf, t.round()).sum().backward()
    step = 2.0**-6
    slope = (sigmoid_focal_loss(x + step, t.round()) - sigmoid_focal_loss(x - step, t.round())) / (2 * step)
    torch.testing.assert_close(leaf.grad, slope, rtol=1e-3, atol=1e-4)


def test_the_operator_takes_views_and_is_differentiable_once() -> None:
    x, t = example(2, 6, 8)
    for view in (x.T, x[::2, 1::3], x[0, 0]):
        leaf = view.detach().requires_grad_()
        ones = torch.ones(leaf.shape, dtype=torch.bool)
        torch.testing.assert_close(
            sigmoid_focal_loss(leaf, ones).double(), sigmoid_focal_loss(leaf.double(), ones), rtol=5e-6, atol=1e-9
        )
        sigmoid_focal_loss(leaf, ones).sum().backward()
        assert leaf.grad.shape == leaf.shape
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(sigmoid_focal_loss(x, t).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_targets_that_learn_get_a_gradient() -> None:
    x, t = example(3, 9)
    t.requires_grad_()
    sigmoid_focal_loss(x, t).sum().backward()
    assert t.grad.isfinite().all()
    assert t.grad.any()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_softmax_is_the_formula_summed_over_classes(gamma: float) -> None:
    generator = np.random.default_rng(1)
    x, t, w = generator.normal(0, 2, (6, 4)), generator.dirichlet(np.ones(4), 6), np.array([1.0, 0.5, 2.0, 3.0])
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    expected = (-w * t * (1 - p) ** gamma * np.log(p)).sum(1)
    given = torch.from_numpy(x).requires_grad_()
    found = softmax_focal_loss(given, torch.from_numpy(t), class_weights=torch.from_numpy(w), gamma=gamma)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-9)
    assert torch.autograd.gradcheck(lambda logits: softmax_focal_loss(logits, torch.from_numpy(t), gamma=gamma), given)


def test_what_is_nearly_certain_keeps_its_digits_in_float32() -> None:
    """1 - p as a subtraction would be off by a fifth here."""
    x, t = np.array([15.0, -15.0, 14.0, -13.0]), np.array([1, 0, 1, 0])
    found = sigmoid_focal_loss(torch.from_numpy(x).float(), torch.from_numpy(t), gamma=1.0).numpy()
    np.testing.assert_allclose(found, plain_sigmoid_focal(x, t, 0.25, 1.0), rtol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [20.0, 200.0, 1e4])
def test_certain_predictions_give_finite_losses_and_slopes(size: float, gamma: float) -> None:
    x = torch.tensor([[size, -size], [-size, size]], requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.eye(2), alpha=None, gamma=gamma)  # all right
    wrong = sigmoid_focal_loss(x, 1 - torch.eye(2), alpha=None, gamma=gamma)
    rows = softmax_focal_loss(x, torch.eye(2), gamma=gamma)
    (loss.sum() + wrong.sum() + rows.sum()).backward()
    assert loss.max() < 1e-8
    assert rows.max() < 1e-8
    torch.testing.assert_close(wrong, torch.full((2, 2), size))
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = (torch.arange(-8, 8) * 1.5).to(dtype)
    found = sigmoid_focal_loss(x, torch.ones(16))
    assert found.dtype == torch.float32
    assert torch.equal(found, sigmoid_focal_loss(x.float(), torch.ones(16)))
    rows = softmax_focal_loss(x.reshape(4, 4), torch.full((4, 4), 0.25))
    assert torch.equal(rows, softmax_focal_loss(x.float().reshape(4, 4), torch.full((4, 4), 0.25)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sigmoid_focal_loss(x, x[:1]), "targets: expected the logits' shape (2, 3), got (1, 3)"),
        (lambda x: sigmoid_focal_loss(x, x, alpha=1.5), "alpha: expected 0..1 or None, got 1.5"),
        (lambda x: sigmoid_focal_loss(x, x, gamma=-1.0), "gamma: expected a finite number of at least 0, got -1.0"),
        (lambda x: softmax_focal_loss(x, x, gamma=float("nan")), "gamma: expected a finite number of at least 0"),
        (lambda x: softmax_focal_loss(x, x[0]), "expected logits and targets [N, C], got (2, 3) and (3,)"),
        (lambda x: softmax_focal_loss(x[0], x[0]), "expected logits and targets [N, C], got (3,) and (3,)"),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call(torch.zeros(2, 3))
    assert message in str(caught.value)
