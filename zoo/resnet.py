"""ResNet classifiers (residual learning) and the same layers as a segmenter's encoder.

Source: He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385. ResNet-50
strides in the 3x3 convolution of a block, as torchvision does ("v1.5"), not in its first 1x1. Parameters carry the
names that torchvision's published weights carry.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.class_map import class_maps
from zoo.conv_unit import start_convolutions
from zoo.norm_act import NormActSequential, conv_norm_act


def _conv3x3(inputs: int, outputs: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)


class _Residual(nn.Module):
    """What both kinds of block do: add the input, projected where its shape differs, and rectify."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int, project: bool) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            NormActSequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if project
            else None
        )

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__}.residual: the kind of block says what it adds to its input")

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self.residual(x) + shortcut)
        return out


class BasicBlock(_Residual):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, channels: int, stride: int, dilations: tuple[int, int], project: bool) -> None:
        super().__init__(inputs, channels, stride, project)
        self.conv1 = _conv3x3(inputs, channels, stride, dilations[0])
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, 1, dilations[1])
        self.bn2 = nn.BatchNorm2d(channels)

    def residual(self, x: Tensor) -> Tensor:
        x = conv_norm_act(x, self.conv1, self.bn1, self.relu)
        return conv_norm_act(x, self.conv2, self.bn2)


class Bottleneck(_Residual):
    """1x1, 3x3 and 1x1 convolutions, the middle one on a quarter of the channels."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, dilations: tuple[int, int], project: bool) -> None:
        outputs = channels * self.expansion
        super().__init__(inputs, outputs, stride, project)
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, stride, dilations[0])
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)

    def residual(self, x: Tensor) -> Tensor:
        x = conv_norm_act(x, self.conv1, self.bn1, self.relu)
        x = conv_norm_act(x, self.conv2, self.bn2, self.relu)
        return conv_norm_act(x, self.conv3, self.bn3)


Block = type[BasicBlock] | type[Bottleneck]
VARIANTS: dict[str, tuple[Block, tuple[int, int, int, int]]] = {  # table 1 of the paper: block, how many per stage
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


def _stage(block: Block, inputs: int, channels: int, blocks: int, stride: int, dilated: bool) -> nn.Sequential:
    """Blocks of one size. ``dilated`` keeps the input's size, and spreads the filters after the stride instead."""
    outputs = channels * block.expansion
    spread = stride if dilated else 1
    step = 1 if dilated else stride
    first = block(inputs, channels, step, (1, spread), project=stride > 1 or inputs != outputs)
    rest = (block(outputs, channels, 1, (spread, spread), project=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class _Trunk(nn.Module):
    """The layers that the classifier and the encoder share."""

    def __init__(self, name: str, output_stride: int = 32) -> None:
        super().__init__()
        if name not in VARIANTS:
            raise ValueError(f"resnet: name: expected one of {', '.join(VARIANTS)}, got {name!r}")
        if output_stride not in (16, 32):
            raise ValueError(f"{name}: output_stride: expected 16 or 32, got {output_stride}")
        block, blocks = VARIANTS[name]
        wide = block.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(block, 64, 64, blocks[0], 1, False)
        self.layer2 = _stage(block, 64 * wide, 128, blocks[1], 2, False)
        self.layer3 = _stage(block, 128 * wide, 256, blocks[2], 2, False)
        self.layer4 = _stage(block, 256 * wide, 512, blocks[3], 2, output_stride == 16)
        self.channels = (64, 64 * wide, 128 * wide, 256 * wide, 512 * wide)

    def stages(self, x: Tensor) -> tuple[Tensor, ...]:
        stem = conv_norm_act(x, self.conv1, self.bn1, self.relu)
        fine = self.layer1(self.maxpool(stem))
        middle = self.layer2(fine)
        coarse = self.layer3(middle)
        return stem, fine, middle, coarse, self.layer4(coarse)


class ResNet(_Trunk):
    """A ResNet classifier."""

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__(name)
        self.num_classes = num_classes
        self.fc = nn.Linear(self.channels[-1], num_classes)
        start_convolutions(self)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, float [B, 512 or 2048, h / 32, w / 32]."""
        return self.stages(x)[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, num_classes].
        """
        out: Tensor = self.fc(self.forward_features(x).mean((2, 3)))
        return out

    def forward_with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the class activation maps, float [B, num_classes, h / 32, w / 32].

        The mean of a map is its logit.
        """
        features = self.forward_features(x)
        return self.fc(features.mean((2, 3))), class_maps(features, self.fc)


class ResNetEncoder(_Trunk):
    """A ResNet without its classifier; returns the features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, name: str, *, output_stride: int = 32) -> None:
        super().__init__(name, output_stride)
        start_convolutions(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return five maps, coarser and coarser; with output_stride 16 the last is at stride 16 as well.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, channels[i], h / 2^(i+1), w / 2^(i+1)] for i in 0..4.
        """
        return self.stages(x)


def resnet18(*, num_classes: int) -> ResNet:
    """ResNet-18: 11.7 M parameters at 1000 classes."""
    return ResNet("resnet18", num_classes)


def resnet50(*, num_classes: int) -> ResNet:
    """ResNet-50: 25.6 M parameters at 1000 classes."""
    return ResNet("resnet50", num_classes)
