"""YOLOX detectors (anchor-free, decoupled head).

Source: Ge, Liu, Wang, Li and Sun, "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430. Parameters carry the names
that Megvii's published weights carry, so those load without a table.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.norm_act import conv_norm_act, norm_act

STRIDES = (8, 16, 32)


class ConvUnit(nn.Module):
    """Convolution, batch normalisation, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.act = nn.SiLU()  # in place, autograd would clone what it overwrites

    def forward(self, x: Tensor) -> Tensor:
        return conv_norm_act(x, self.conv, self.bn, self.act)


class SeparableUnit(nn.Module):
    """Depthwise convolution followed by a pointwise one: the lean form that YOLOX-nano is made of."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvUnit(inputs, inputs, kernel, stride, groups=inputs)
        self.pconv = ConvUnit(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pconv(self.dconv(x))
        return out


Unit = Callable[..., nn.Module]


class Bottleneck(nn.Module):
    """1x1 then 3x3 convolution, with a shortcut where asked for."""

    def __init__(self, channels: int, unit: Unit, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(channels, channels, 1)
        self.conv2 = unit(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out + x if self.shortcut else out


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half of the channels pass through bottlenecks, half go around them."""

    def __init__(self, inputs: int, outputs: int, depth: int, unit: Unit, shortcut: bool = True) -> None:
        super().__init__()
        hidden = outputs // 2
        self.conv1 = ConvUnit(inputs, hidden, 1)
        self.conv2 = ConvUnit(inputs, hidden, 1)
        self.conv3 = ConvUnit(2 * hidden, outputs, 1)
        self.m = nn.Sequential(*(Bottleneck(hidden, unit, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], dim=1))
        return out


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling with windows of 5, 9 and 13 cells."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs // 2
        self.conv1 = ConvUnit(inputs, hidden, 1)
        self.m = nn.ModuleList(nn.MaxPool2d(size, 1, size // 2) for size in (5, 9, 13))
        self.conv2 = ConvUnit(4 * hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        out: Tensor = self.conv2(torch.cat([x, *(pool(x) for pool in self.m)], dim=1))
        return out


class Focus(nn.Module):
    """Space to depth, every 2x2 block of pixels one cell of four times the channels, and a 3x3 convolution of cells.

    In evaluation, and so in the exported network, it is a 6x6 convolution of pixels with stride 2 and the same weights:
    no time goes into taking the picture apart.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvUnit(4 * inputs, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            pixels = nn.functional.conv2d(x, self._of_pixels(), stride=2, padding=2)
            return norm_act(pixels, self.conv.bn, self.conv.act)
        parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        out: Tensor = self.conv(torch.cat(parts, dim=1))
        return out

    def _of_pixels(self) -> Tensor:
        """The weights [O, 4C, 3, 3] of cells as those of pixels [O, C, 6, 6]."""
        cells = self.conv.conv.weight
        outputs, inputs = cells.shape[0], cells.shape[1] // 4
        apart = cells.reshape(outputs, 2, 2, inputs, 3, 3)  # column and row in the block, channel, row and column of it
        return apart.permute(0, 3, 4, 2, 5, 1).reshape(outputs, inputs, 6, 6)


class CSPDarknet(nn.Module):
    """The backbone; returns the features at strides 8, 16 and 32."""

    def __init__(self, depth: float, width: float, unit: Unit) -> None:
        super().__init__()
        base, blocks = int(64 * width), max(round(3 * depth), 1)
        self.stem = Focus(3, base)
        self.dark2 = nn.Sequential(unit(base, 2 * base, 3, 2), CSPLayer(2 * base, 2 * base, blocks, unit))
        self.dark3 = nn.Sequential(unit(2 * base, 4 * base, 3, 2), CSPLayer(4 * base, 4 * base, 3 * blocks, unit))
        self.dark4 = nn.Sequential(unit(4 * base, 8 * base, 3, 2), CSPLayer(8 * base, 8 * base, 3 * blocks, unit))
        self.dark5 = nn.Sequential(
            unit(8 * base, 16 * base, 3, 2),
            SPPBottleneck(16 * base, 16 * base),
            CSPLayer(16 * base, 16 * base, blocks, unit, shortcut=False),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.dark3(self.dark2(self.stem(x)))
        middle = self.dark4(fine)
        return fine, middle, self.dark5(middle)


class FeaturePyramid(nn.Module):
    """Path-aggregation pyramid: context flows down to the fine features and back up."""

    def __init__(self, depth: float, width: float, unit: Unit) -> None:
        super().__init__()
        c3, c4, c5 = (int(channels * width) for channels in (256, 512, 1024))
        blocks = round(3 * depth)
        self.backbone = CSPDarknet(depth, width, unit)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.lateral_conv0 = ConvUnit(c5, c4, 1)
        self.C3_p4 = CSPLayer(2 * c4, c4, blocks, unit, shortcut=False)
        self.reduce_conv1 = ConvUnit(c4, c3, 1)
        self.C3_p3 = CSPLayer(2 * c3, c3, blocks, unit, shortcut=False)
        self.bu_conv2 = unit(c3, c3, 3, 2)
        self.C3_n3 = CSPLayer(2 * c3, c4, blocks, unit, shortcut=False)
        self.bu_conv1 = unit(c4, c4, 3, 2)
        self.C3_n4 = CSPLayer(2 * c4, c5, blocks, unit, shortcut=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.backbone(x)
        top = self.lateral_conv0(coarse)
        mid = self.reduce_conv1(self.C3_p4(torch.cat([self.upsample(top), middle], dim=1)))
        p3 = self.C3_p3(torch.cat([self.upsample(mid), fine], dim=1))
        p4 = self.C3_n3(torch.cat([self.bu_conv2(p3), mid], dim=1))
        p5 = self.C3_n4(torch.cat([self.bu_conv1(p4), top], dim=1))
        return p3, p4, p5


class DecoupledHead(nn.Module):
    """Separate branches for class and box at each stride; its output is raw, see `YOLOX.forward`."""

    def __init__(self, num_classes: int, width: float, unit: Unit, prior: float = 0.01) -> None:
        super().__init__()
        hidden = int(256 * width)

        def branch() -> nn.Sequential:
            return nn.Sequential(unit(hidden, hidden, 3), unit(hidden, hidden, 3))

        self.stems = nn.ModuleList(ConvUnit(int(channels * width), hidden, 1) for channels in (256, 512, 1024))
        self.cls_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.reg_convs = nn.ModuleList(branch() for _ in STRIDES)
        self.cls_preds = nn.ModuleList(nn.Conv2d(hidden, num_classes, 1) for _ in STRIDES)
        self.reg_preds = nn.ModuleList(nn.Conv2d(hidden, 4, 1) for _ in STRIDES)
        self.obj_preds = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in STRIDES)
        for layer in (*self.cls_preds, *self.obj_preds):
            # Start at 1 % everywhere (Lin et al. 2017), else the many empty cells swamp the first steps.
            nn.init.constant_(layer.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        levels = []
        for level, feature in enumerate(features):
            x = self.stems[level](feature)
            regression = self.reg_convs[level](x)
            raw = torch.cat(
                [
                    self.reg_preds[level](regression),
                    self.obj_preds[level](regression),
                    self.cls_preds[level](self.cls_convs[level](x)),
                ],
                dim=1,
            )
            levels.append(raw.flatten(2))
        return torch.cat(levels, dim=2).transpose(1, 2)


class YOLOX(nn.Module):
    """A YOLOX detector."""

    strides = STRIDES

    def __init__(self, num_classes: int = 80, depth: float = 0.33, width: float = 0.5, separable: bool = False) -> None:
        super().__init__()
        unit: Unit = SeparableUnit if separable else ConvUnit
        self.num_classes = num_classes
        self.backbone = FeaturePyramid(depth, width, unit)
        self.head = DecoupledHead(num_classes, width, unit)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw head output.

        Args:
            x: float [B, 3, H, W]; H and W multiples of 32.

        Returns:
            float [B, A, 5 + num_classes], A cells over strides 8, 16, 32, row by row: x and y offset in cells, log
            width and height in strides, objectness logit, class logits (`ops.decode_detections` reads this).
        """
        out: Tensor = self.head(self.backbone(x))
        return out


def yolox_nano(num_classes: int = 80) -> YOLOX:
    """YOLOX-nano: 0.9 M parameters, depthwise."""
    return YOLOX(num_classes, depth=0.33, width=0.25, separable=True)


def yolox_tiny(num_classes: int = 80) -> YOLOX:
    """YOLOX-tiny: 5.1 M parameters."""
    return YOLOX(num_classes, depth=0.33, width=0.375)


def yolox_s(num_classes: int = 80) -> YOLOX:
    """YOLOX-s: 9.0 M parameters."""
    return YOLOX(num_classes, depth=0.33, width=0.5)
