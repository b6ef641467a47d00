"""classification_loss against NumPy in float64, its gradient by finite differences, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.classification_loss import classification_loss

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 2, (7, 4))
IDS = np.array([0, 3, 1, 2, 2, 3, 1])
SOFT = GENERATOR.dirichlet(np.ones(4), 7)
WEIGHTS = [1.0, 0.25, 2.0, 5.0]


def plain_loss(
    logits: np.ndarray, targets: np.ndarray, weights: list[float] | None, smoothing: float, gamma: float
) -> float:
    """Sample by sample and class by class."""
    classes = logits.shape[1]
    w = weights or [1.0] * classes
    total = divisor = 0.0
    for row, target in zip(logits, targets, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        t = np.eye(classes)[target] if np.ndim(target) == 0 else target
        for c in range(classes):
            share = t[c] * (1 - smoothing) + smoothing / classes
            total += -w[c] * share * (1 - p[c]) ** gamma * np.log(p[c])
        divisor += w[target] if np.ndim(target) == 0 else 1.0
    return total / divisor


@pytest.mark.parametrize("gamma", [None, 0.0, 1.5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("targets", [IDS, SOFT], ids=["ids", "soft"])
def test_matches_numpy_in_float64(
    targets: np.ndarray, weights: list[float] | None, smoothing: float, gamma: float | None
) -> None:
    result = classification_loss(
        torch.from_numpy(LOGITS),
        torch.from_numpy(targets),
        class_weights=weights,
        smoothing=smoothing,
        focal_gamma=gamma,
    )
    assert result["loss"].item() == pytest.approx(plain_loss(LOGITS, targets, weights, smoothing, gamma or 0), rel=1e-9)
    plain = plain_loss(LOGITS, targets, weights, smoothing, 0)
    assert result["cross_entropy"].item() == pytest.approx(plain, rel=1e-9)
    truth = targets if targets.ndim == 1 else targets.argmax(1)
    assert result["accuracy"].item() == pytest.approx((LOGITS.argmax(1) == truth).mean())


@pytest.mark.parametrize("gamma", [None, 2.0])
@pytest.mark.parametrize("targets", [IDS, SOFT], ids=["ids", "soft"])
def test_gradient(targets: np.ndarray, gamma: float | None) -> None:
    def loss(logits: torch.Tensor) -> torch.Tensor:
        options = {"class_weights": WEIGHTS, "smoothing": 0.1, "focal_gamma": gamma}
        return classification_loss(logits, torch.from_numpy(targets), **options)["loss"]

    assert torch.autograd.gradcheck(loss, torch.from_numpy(LOGITS).requires_grad_())


def test_one_hot_distributions_are_class_ids() -> None:
    logits, ids = torch.from_numpy(LOGITS), torch.from_numpy(IDS)
    for gamma in (None, 2.0):
        one = classification_loss(logits, ids, smoothing=0.1, focal_gamma=gamma)
        other = classification_loss(logits, F.one_hot(ids, 4).float(), smoothing=0.1, focal_gamma=gamma)
        assert one["loss"].item() == pytest.approx(other["loss"].item(), rel=1e-6)
        assert one["accuracy"] == other["accuracy"]


def test_parts_are_scalars_without_a_graph() -> None:
    result = classification_loss(torch.from_numpy(LOGITS).requires_grad_(), torch.from_numpy(IDS), focal_gamma=2.0)
    assert set(result) == {"loss", "cross_entropy", "accuracy"}
    assert all(value.shape == () for value in result.values())
    assert [name for name, value in result.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("gamma", [None, 2.0])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype, gamma: float | None) -> None:
    logits = torch.from_numpy(LOGITS).to(dtype)
    for targets in (torch.from_numpy(IDS), torch.from_numpy(SOFT).to(dtype)):
        half = classification_loss(logits, targets, focal_gamma=gamma)["loss"]
        full = classification_loss(
            logits.float(), targets.float() if targets.is_floating_point() else targets, focal_gamma=gamma
        )["loss"]
        assert half.dtype == torch.float32
        assert half.item() == full.item()


@pytest.mark.parametrize("gamma", [None, 0.5, 2.0])
def test_extreme_logits_give_a_finite_loss_and_gradient(gamma: float | None) -> None:
    logits = (torch.from_numpy(LOGITS).float() * 1e4).requires_grad_()
    loss = classification_loss(logits, torch.from_numpy(IDS), smoothing=0.1, focal_gamma=gamma)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_focal_turns_from_what_is_known_to_what_is_not() -> None:
    logits = torch.tensor([[4.0, 0.0], [-1.0, 0.0]], requires_grad=True)  # sure and right; wrong
    shares = []
    for gamma in (None, 2.0):
        (gradient,) = torch.autograd.grad(
            classification_loss(logits, torch.tensor([0, 0]), focal_gamma=gamma)["loss"], logits
        )
        shares.append((gradient[0, 0] / gradient[1, 0]).item())
    assert shares[1] < 0.01 * shares[0]


def test_learns_a_line() -> None:
    torch.manual_seed(0)
    points = torch.randn(64, 2)
    ids = (points.sum(1) > 0).long()
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    for _ in range(50):
        result = classification_loss(layer(points), ids, smoothing=0.05)
        optimizer.zero_grad()
        result["loss"].backward()
        optimizer.step()
    assert result["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("logits", "targets", "options", "message"),
    [
        (LOGITS[0], IDS, {}, "logits: expected float [B, C], got shape (4,)"),
        (LOGITS[:0], IDS[:0], {}, "logits: expected float [B, C], got shape (0, 4)"),
        (LOGITS, IDS[:6], {}, "targets: expected int64 [7] or float [7, 4], got torch.int64 [6]"),
        (LOGITS, IDS.astype(np.uint8), {}, "targets: expected int64 [7] or float [7, 4], got torch.uint8 [7]"),
        (LOGITS, np.eye(4)[IDS][:, :3], {}, "targets: expected int64 [7] or float [7, 4], got torch.float64 [7, 3]"),
        (LOGITS, np.eye(4, dtype=bool)[IDS], {}, "expected int64 [7] or float [7, 4], got torch.bool [7, 4]"),
        (LOGITS, IDS + 1, {}, "targets: expected 0..3, got 1..4"),
        (LOGITS, IDS - 1, {}, "targets: expected 0..3, got -1..2"),
        (LOGITS, IDS, {"smoothing": -0.1}, "smoothing: expected 0..1, got -0.1"),
        (LOGITS, IDS, {"focal_gamma": -1.0}, "gamma: expected a finite number of at least 0, got -1.0"),
        (LOGITS, IDS, {"class_weights": [1.0]}, "class_weights: expected 4 numbers, got shape (1,)"),
        (LOGITS, IDS, {"class_weights": [1, 1, 1, 0]}, "class_weights: expected finite numbers above 0, got"),
        (LOGITS, IDS, {"class_weights": [1, 1, 1, np.inf]}, "class_weights: expected finite numbers above 0, got"),
    ],
)
def test_refuses(logits: np.ndarray, targets: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        classification_loss(torch.from_numpy(logits), torch.from_numpy(targets), **options)
    assert message in str(caught.value)
