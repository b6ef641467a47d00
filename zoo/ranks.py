"""The processes that train on one batch together, each with a share of its pictures.

A loss that is a mean over the batch, or a ratio of sums over it, needs those sums from all of them: means of the shares
would weigh a share with few objects like one with many.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Ranks:
    """``count`` processes of the default process group. One alone adds up nothing."""

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def totals(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """Return each part (float, any shape) as its sum over the processes, the same in all; one call to the network.

        The gradient goes into this process's part alone, times ``count``. So a loss of totals has one value in all
        processes, and the mean of their gradients, which is what DDP takes, is that of the whole batch.
        """
        if self.count == 1:
            return parts
        whole = torch.cat([part.detach().reshape(-1) for part in parts])
        self.add_up(whole)
        sums = torch.split(whole, [part.numel() for part in parts])
        return tuple(_Share.apply(part, total, self.count) for part, total in zip(parts, sums, strict=True))  # type: ignore[no-untyped-call]

    def add_up(self, values: Tensor) -> None:
        """Replace ``values`` by its sum over the processes."""
        torch.distributed.all_reduce(values)


class _Share(torch.autograd.Function):
    """The total, where this process's part would stand."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, part: Tensor, total: Tensor, count: int) -> Tensor:
        ctx.count = count  # type: ignore[attr-defined]
        return total.reshape(part.shape).to(part.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.count, None, None  # type: ignore[attr-defined]


ALONE = Ranks()
