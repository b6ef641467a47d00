"""DeepLabv3 segmenters: a dilated encoder and atrous spatial pyramid pooling.

Source: Chen, Papandreou, Schroff and Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017,
arXiv 1706.05587, at output stride 16. Unlike there the pooled branch has a bias instead of batch normalisation, which
cannot learn from one value per channel: a batch of one picture trains, too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.conv_unit import ConvUnit, start_convolutions, start_logits
from zoo.encoders import build_encoder

RATES = (6, 12, 18)  # section 3.3 of the paper, for output stride 16


class PyramidPooling(nn.Module):
    """Looks at every position through windows of several reaches, and at the whole picture."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvUnit(inputs, outputs, 1), *(ConvUnit(inputs, outputs, 3, dilation=rate) for rate in RATES)]
        )
        self.pooled = nn.Conv2d(inputs, outputs, 1)
        self.project = nn.Sequential(ConvUnit((len(self.branches) + 1) * outputs, outputs, 1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        whole = self.pooled(x.mean((2, 3), keepdim=True)).relu()
        seen = [*(branch(x) for branch in self.branches), whole.expand(-1, -1, *x.shape[2:])]
        out: Tensor = self.project(torch.cat(seen, dim=1))
        return out


class DeepLabV3(nn.Module):
    """A DeepLabv3 segmenter."""

    encoder_prefix = "encoder."  # under which a classifier's weights load, see `zoo.weights.load_weights`
    output_stride = 16

    def __init__(self, num_classes: int, encoder: str, width: float, channels: int, dropout: float) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.encoder = build_encoder(encoder, width=width, output_stride=self.output_stride)
        self.pyramid = PyramidPooling(self.encoder.channels[-1], channels, dropout)
        logits = nn.Conv2d(channels, num_classes, 1)
        self.head = nn.Sequential(ConvUnit(channels, channels, 3), logits)
        start_convolutions(self.pyramid)
        start_convolutions(self.head)
        start_logits(logits)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits at stride 16; `ops.argmax_resize` interpolates them.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, num_classes, h / 16, w / 16].
        """
        out: Tensor = self.head(self.pyramid(self.encoder(x)[-1]))
        return out


def deeplabv3(
    *,
    num_classes: int,
    encoder: str = "mobilenet_v2",
    width: float = 1.0,
    channels: int = 256,
    dropout: float = 0.5,
) -> DeepLabV3:
    """DeepLabv3 on one of `zoo.encoders.ENCODERS`: 39.6 M parameters on ResNet-50 with 21 classes.

    ``width`` scales a mobilenet_v2 encoder, ``channels`` is the width of the pyramid, ``dropout`` stands behind it.
    """
    return DeepLabV3(num_classes, encoder, width, channels, dropout)
