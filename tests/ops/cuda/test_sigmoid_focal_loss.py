"""The twins of sigmoid_focal_loss and its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ops

LOGITS = np.concatenate([np.random.default_rng(0).normal(0, 5, 150), [0, 90, -90, 1e30, np.inf, -np.inf, np.nan]])


# Powers other than the square differ in their last digits.
@pytest.mark.parametrize(("gamma", "within"), [(2.0, 0), (0.5, 1e-6), (0.0, 0)])
@pytest.mark.parametrize("soft", [False, True])
def test_logits(twin: Any, gamma: float, within: float, soft: bool) -> None:
    x = LOGITS.astype(np.float32)
    t = np.random.default_rng(1).uniform(size=x.size).astype(np.float32)
    t = t if soft else t.round()
    upstream = np.random.default_rng(2).normal(size=x.size).astype(np.float32)
    twin.check(ops.sigmoid_focal_loss, x, t, gamma=gamma, within=within)
    twin.check(ops.sigmoid_focal_loss_backward, x, t, upstream, gamma=gamma, within=within)


@pytest.mark.parametrize("shape", [(1,), (0, 3), (2, 3, 5)])
def test_shapes(twin: Any, shape: Any) -> None:
    x = np.full(shape, 0.5, np.float32)
    twin.check(ops.sigmoid_focal_loss, x, x, alpha=None)
    twin.check(ops.sigmoid_focal_loss_backward, x, x, x, alpha=None)
