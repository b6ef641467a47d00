"""Batch normalisation and the activation after it with fewer passes over memory than torch's own layers take.

`norm_act` is one differentiable torch function over `ops`, for training on the CPU in float32 with the channels last;
elsewhere (evaluation, export, another device, layout or precision, autocast among them) it calls torch's own two
layers. A trainer gets one pool of threads for torch and numba by importing ``numba.np.ufunc.omppool`` before torch.

`conv_norm_act` is for the convolution before them as well: while a network is trained with fixed statistics, the
normalisation is a factor on the convolution's weights.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ops


def _rows(x: Tensor) -> Any:
    """See a channels-last [N, C, H, W] tensor as NumPy [N * H * W, C], without a copy."""
    return x.detach().permute(0, 2, 3, 1).view(-1, x.shape[1]).numpy()


# The layers that have a fused form, and its name in `ops`.
ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.SiLU: "silu",
}


class _BatchNormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, activation: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.empty_like(x, memory_format=torch.channels_last)
        gain, shift = weight.detach().numpy(), bias.detach().numpy()
        _, mean, variance = ops.batch_norm_act(_rows(x), gain, shift, eps, activation=activation, out=_rows(y))
        ctx.save_for_backward(x, weight, bias)
        ctx.moments, ctx.eps, ctx.activation = (mean, variance), eps, activation
        statistics = torch.from_numpy(mean), torch.from_numpy(variance)
        ctx.mark_non_differentiable(*statistics)
        ctx.set_materialize_grads(False)
        return y, *statistics

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        upstream = gradients[0]
        if upstream is None:
            return (None,) * 5
        x, weight, bias = ctx.saved_tensors
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        dy = upstream.contiguous(memory_format=torch.channels_last)
        gain, shift = weight.detach().numpy(), bias.detach().numpy()
        mean, variance = ctx.moments
        _, dweight, dbias = ops.batch_norm_act_backward(
            _rows(dy), _rows(x), mean, variance, gain, shift, ctx.eps, activation=ctx.activation, out=_rows(dx)
        )
        return dx, torch.from_numpy(dweight), torch.from_numpy(dbias), None, None


@functools.cache
def _threads_agree() -> bool:
    """Whether the threads of torch and of numba leave each other the cores.

    With an OpenMP runtime each, idle threads of the one spin (for milliseconds, by default) where the other computes,
    which costs more than fusing saves. They share a runtime if numba's was loaded before torch, which then does not
    load the one in its own folder.
    """
    if os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE":
        return True
    try:
        loaded = Path("/proc/self/maps").read_text()
    except OSError:  # not Linux: unknown
        return False
    return str(Path(torch.__file__).parent / "lib" / "libgomp") not in loaded


def norm_act(x: Tensor, bn: nn.BatchNorm2d, activation: nn.Module | None = None) -> Tensor:
    """Return ``activation(bn(x))``, in one pass where that may and should be.

    Args:
        x: [N, C, H, W].
        bn: the normalisation.
        activation: any layer; ``None`` is none.
    """
    name = "identity" if activation is None else ACTIVATIONS.get(type(activation))
    if name is not None and fusable(x, bn):
        return batch_norm_act(x, bn, name)
    out: Tensor = bn(x)
    return out if activation is None else activation(out)


class _Clip(torch.autograd.Function):
    """ReLU (no ceiling) and ReLU6 in place. torch's own clones what it overwrites, and keeps the clone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float) -> Tensor:
        x.clamp_(0.0, ceiling)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.ceiling = ceiling
        return x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(upstream, y, 0.0, ctx.ceiling), None


_CEILINGS: dict[type[nn.Module], float] = {nn.ReLU: math.inf, nn.ReLU6: 6.0}


def conv_norm_act(x: Tensor, conv: nn.Conv2d, bn: nn.BatchNorm2d, activation: nn.Module | None = None) -> Tensor:
    """Return ``activation(bn(conv(x)))``; with fixed statistics in training as one convolution, with its gradients.

    ``bn`` is then a gain and a shift of each channel, so ``gain * weight`` and a bias do the same, and autograd leads
    the gradients through that product to the weight of both layers: neither pass over the feature map is needed.

    Args:
        x: [N, C, H, W].
        conv: the convolution.
        bn: the normalisation of its output.
        activation: any layer; ``None`` is none.
    """
    mean, variance = bn.running_mean, bn.running_var
    if mean is None or variance is None or not folds(bn):
        return norm_act(conv(x), bn, activation)
    gain = bn.weight * torch.rsqrt(variance + bn.eps)
    centre = mean if conv.bias is None else mean - conv.bias
    out: Tensor = conv._conv_forward(x, conv.weight * gain[:, None, None, None], bn.bias - centre * gain)
    if activation is None:
        return out
    ceiling = _CEILINGS.get(type(activation))
    done: Tensor = activation(out) if ceiling is None else _Clip.apply(out, ceiling)  # type: ignore[no-untyped-call]
    return done


def folds(bn: nn.BatchNorm2d) -> bool:
    """Whether gradients are wanted through a normalisation that keeps its statistics."""
    return (
        type(bn) is nn.BatchNorm2d
        and not bn.training
        and bn.affine
        and torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


class NormActSequential(nn.Sequential):
    """Layers in a row as `torch.nn.Sequential` runs them, but normalisations by `norm_act` or `conv_norm_act`."""

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self)

        def take(kinds: Collection[type[nn.Module]]) -> Any:
            return layers.pop(0) if layers and type(layers[0]) in kinds else None

        while layers:
            layer = layers.pop(0)
            if type(layer) is nn.BatchNorm2d:
                x = norm_act(x, layer, take(ACTIVATIONS))
            elif type(layer) is nn.Conv2d and (bn := take((nn.BatchNorm2d,))):
                x = conv_norm_act(x, layer, bn, take(ACTIVATIONS))
            else:
                x = layer(x)
        return x


def fusable(x: Tensor, bn: nn.BatchNorm2d) -> bool:
    """Whether `batch_norm_act` may and should stand in for torch's own layers."""
    return _applies(x, bn) and (torch.get_num_threads() == 1 or _threads_agree())


def _applies(x: Tensor, bn: nn.BatchNorm2d) -> bool:
    """Whether this is plain float32 training on the CPU, channels last."""
    return (
        not torch.compiler.is_compiling()  # true while exporting, too
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and type(bn) is nn.BatchNorm2d
        and bn.training
        and bn.track_running_stats
        and bn.affine
        and torch.is_grad_enabled()
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and bn.weight.dtype == torch.float32
        and x.dim() == 4
        and x.numel() > x.shape[1]  # torch refuses a single value per channel
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and threading.current_thread() is threading.main_thread()
    )


def batch_norm_act(x: Tensor, bn: nn.BatchNorm2d, activation: str) -> Tensor:
    """Return the activation of ``bn(x)`` of a training step and update the running statistics as ``bn`` does itself.

    Args:
        x: float32 [N, C, H, W] on the CPU, channels last, in a training step of the main thread.
        bn: the normalisation; its ``num_batches_tracked``, ``running_mean`` and ``running_var`` move on.
        activation: its name in `ops.batch_norm_act`.

    Returns:
        float32 [N, C, H, W], channels last; differentiable once in ``x``, ``bn.weight`` and ``bn.bias``.

    Raises:
        ValueError: for another tensor or situation.
    """
    if not _applies(x, bn):
        raise ValueError(
            f"batch_norm_act: expected a float32 channels-last CPU tensor [N, C, H, W] in a training step, got "
            f"{x.dtype} of shape {tuple(x.shape)} and strides {x.stride()} on {x.device}, training={bn.training}"
        )
    y, mean, variance = _BatchNormAct.apply(x, bn.weight, bn.bias, bn.eps, activation)  # type: ignore[no-untyped-call]
    _track(bn, mean, variance, x.numel() // x.shape[1])
    result: Tensor = y
    return result


@torch.no_grad()
def _track(bn: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    if bn.num_batches_tracked is None or bn.running_mean is None or bn.running_var is None:
        raise ValueError("batch_norm_act: expected a batch normalisation with running statistics, got one without")
    bn.num_batches_tracked.add_(1)
    momentum = 1.0 / float(bn.num_batches_tracked) if bn.momentum is None else bn.momentum
    bn.running_mean.lerp_(mean.to(bn.running_mean.dtype), momentum)
    bn.running_var.lerp_((variance * (count / (count - 1))).to(bn.running_var.dtype), momentum)
