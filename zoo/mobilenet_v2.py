"""MobileNetV2 classifiers (inverted residuals, linear bottlenecks) and the same layers as a segmenter's encoder.

Source: Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
arXiv 1801.04381. Parameters carry the names that torchvision's published weights carry.
"""

from __future__ import annotations

from torch import Tensor, nn

from zoo.class_map import class_maps
from zoo.conv_unit import ConvUnit, start_convolutions, start_logits
from zoo.norm_act import NormActSequential

# Table 2 of the paper, between its first and last convolution: expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST_OF_STRIDE = (1, 3, 6, 13, 17)  # index in `features` of the last block at strides 2, 4, 8, 16, 32


def scaled(channels: int, width: float) -> int:
    """Return ``channels * width`` as the next multiple of 8, up if rounding down would take over a tenth away."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


class InvertedResidual(nn.Module):
    """Widen (1x1), filter each channel (3x3), narrow (1x1, linear), with a shortcut where asked for."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, *, stride: int, dilation: int, shortcut: bool
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [ConvUnit(inputs, hidden, 1, activation=nn.ReLU6)] if expansion > 1 else []
        self.conv = NormActSequential(
            *widen,
            ConvUnit(hidden, hidden, 3, stride, groups=hidden, dilation=dilation, activation=nn.ReLU6),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.shortcut else out


class _Trunk(nn.Module):
    """The layers that the classifier and the encoder share: everything before the last convolution."""

    def __init__(self, width: float, output_stride: int = 32) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"mobilenet_v2: width: expected a factor above 0, got {width}")
        if output_stride not in (16, 32):
            raise ValueError(f"mobilenet_v2: output_stride: expected 16 or 32, got {output_stride}")
        inputs = scaled(32, width)
        layers: list[nn.Module] = [ConvUnit(3, inputs, 3, 2, activation=nn.ReLU6)]
        reached, dilation = 2, 1
        for expansion, channels, blocks, first_stride in STAGES:
            outputs = scaled(channels, width)
            for stride in (first_stride, *[1] * (blocks - 1)):
                kept = reached * stride > output_stride  # keep the size, and spread the filters that follow instead
                layers.append(
                    InvertedResidual(
                        inputs,
                        outputs,
                        expansion,
                        stride=1 if kept else stride,
                        dilation=dilation,
                        shortcut=stride == 1 and inputs == outputs,
                    )
                )
                reached, dilation = (reached, dilation * stride) if kept else (reached * stride, dilation)
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.channels = tuple(scaled(channels, width) for channels in (16, 24, 32, 96, 320))


class MobileNetV2(_Trunk):
    """A MobileNetV2 classifier."""

    def __init__(self, num_classes: int, width: float, dropout: float) -> None:
        super().__init__(width)
        last = scaled(1280, max(1.0, width))
        self.num_classes = num_classes
        self.features.append(ConvUnit(self.channels[-1], last, 1, activation=nn.ReLU6))
        linear = nn.Linear(last, num_classes)
        self.classifier = nn.Sequential(nn.Dropout(dropout), linear)
        start_convolutions(self)
        start_logits(linear)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last feature map, float [B, 1280 (more where width > 1), h / 32, w / 32]."""
        out: Tensor = self.features(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, num_classes].
        """
        out: Tensor = self.classifier(self.forward_features(x).mean((2, 3)))
        return out

    def forward_with_map(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and the class activation maps, float [B, num_classes, h / 32, w / 32].

        In evaluation mode the mean of a map is its logit.
        """
        features = self.forward_features(x)
        return self.classifier(features.mean((2, 3))), class_maps(features, self.classifier[1])  # type: ignore[arg-type]


class MobileNetV2Encoder(_Trunk):
    """MobileNetV2 without its last convolution and classifier; returns the features at strides 2, 4, 8, 16 and 32."""

    def __init__(self, *, width: float = 1.0, output_stride: int = 32) -> None:
        super().__init__(width, output_stride)
        start_convolutions(self)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return five maps, coarser and coarser; with output_stride 16 the last is at stride 16 as well.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, channels[i], h / 2^(i+1), w / 2^(i+1)] for i in 0..4.
        """
        found = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in LAST_OF_STRIDE:
                found.append(x)
        return tuple(found)


def mobilenet_v2(*, num_classes: int, width: float = 1.0, dropout: float = 0.2) -> MobileNetV2:
    """MobileNetV2: 3.5 M parameters at width 1 and 1000 classes."""
    return MobileNetV2(num_classes, width, dropout)
