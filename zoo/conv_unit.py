"""Convolution, batch normalisation, activation: the unit of the classifiers and segmenters, and how they start.

A unit is a plain sequence, so that its parameters carry the names ``0`` and ``1`` of torchvision's published weights.
"""

from __future__ import annotations

from typing import TypeAlias

from torch import nn

from zoo.norm_act import NormActSequential

# Those that `zoo.norm_act` computes in one pass with the normalisation before them.
Activation: TypeAlias = type[nn.ReLU] | type[nn.ReLU6] | type[nn.SiLU] | type[nn.Identity]


class ConvUnit(NormActSequential):
    """Convolution without bias, batch normalisation, activation; the size is kept but for the stride (rounded up)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        activation: Activation = nn.ReLU,
    ) -> None:
        padding = dilation * (kernel - 1) // 2
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False),
            nn.BatchNorm2d(outputs),
            activation(inplace=True),
        )


class SeparableUnit(nn.Sequential):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across them: a ninth of the plain one."""

    def __init__(self, inputs: int, outputs: int, activation: Activation = nn.ReLU) -> None:
        """``activation`` is the last one."""
        super().__init__(
            ConvUnit(inputs, inputs, 3, groups=inputs), ConvUnit(inputs, outputs, 1, activation=activation)
        )


def start_convolutions(network: nn.Module) -> None:
    """Draw the convolutions' weights as He et al. 2015 (arXiv 1502.01852) do, by the number of outputs."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def start_logits(layer: nn.Conv2d | nn.Linear) -> None:
    """Draw a last layer's weights so small that a new network calls all classes about equally likely."""
    nn.init.normal_(layer.weight, 0.0, 0.01)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
