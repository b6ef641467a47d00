"""The differentiable RoIAlign of the zoo."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ops
from zoo.roi_align import roi_align

BOXES = torch.tensor([[0.0, 0, 20, 12], [3.5, 4, 11, 15], [-5, -5, 9, 9], [5, 5, 5, 5]])
PICTURES = torch.tensor([0, 1, 1, 0])


def features(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def test_is_the_operator() -> None:
    pooled = roi_align(features(), BOXES, (2, 3), pictures=PICTURES, scale=0.25, sampling_ratio=2, aligned=False)
    expected = ops.roi_align(
        features().detach().numpy(), BOXES.numpy(), (2, 3), pictures=PICTURES.numpy(), scale=0.25, sampling_ratio=2,
        aligned=False,
    )  # fmt: skip
    np.testing.assert_array_equal(pooled.detach().numpy(), expected)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradcheck(ratio: int, aligned: bool) -> None:
    """It is linear, so that differences of any width are right but for float32's rounding."""
    pooled = lambda f: roi_align(  # noqa: E731
        f, BOXES, (2, 2), pictures=PICTURES, scale=0.25, sampling_ratio=ratio, aligned=aligned
    )
    assert torch.autograd.gradcheck(pooled, features(torch.float64), eps=0.25, atol=1e-5, rtol=1e-4, nondet_tol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_answers_in_the_dtype_that_it_is_given(dtype: torch.dtype) -> None:
    given = features(dtype)
    pooled = roi_align(given, BOXES, (2, 2), pictures=PICTURES, scale=0.25)
    assert pooled.dtype == dtype
    pooled.sum().backward()
    assert given.grad is not None
    assert given.grad.dtype == dtype
    assert given.grad.abs().sum() > 0


def test_one_picture_needs_no_numbers_and_gradients_may_be_strided() -> None:
    given = features()
    pooled = roi_align(given[:1], BOXES[:2], (2, 2), scale=0.25)
    pooled.permute(3, 2, 1, 0).expand(2, 2, 3, 2).sum().backward()
    assert given.grad is not None
    assert given.grad[0].sum() == pytest.approx(24.0, abs=1e-4)  # two boxes of four bins, three channels: all inside
    assert (given.grad[1] == 0).all()
