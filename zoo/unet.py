"""U-Net segmenters: a classifier's layers as encoder, and a slim decoder of depthwise-separable convolutions.

Source: Ronneberger, Fischer and Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015,
arXiv 1505.04597. Unlike there the encoder is a classifier's, so that its published weights serve as a start, the
convolutions are padded, and the decoder enlarges by repeating cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.conv_unit import Activation, SeparableUnit, start_convolutions, start_logits
from zoo.encoders import build_encoder

OUTPUT_STRIDES = (1, 2, 4)
# After relu the features of a cell may all be 0: then it has the logits' bias for an answer and no gradient, whether it
# is right or wrong. Of the cells that zoo/bundles/ct_pneumonia 1.0.0 calls a lesion 85 % are such.
LAST_ACTIVATIONS: dict[str, Activation] = {"relu": nn.ReLU, "silu": nn.SiLU, "none": nn.Identity}


class DecoderBlock(nn.Module):
    """Enlarge twice, join the encoder's features of that size (where there are any), filter."""

    def __init__(self, inputs: int, skip: int, outputs: int, activation: Activation = nn.ReLU) -> None:
        super().__init__()
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.conv1 = SeparableUnit(inputs + skip, outputs)
        self.conv2 = SeparableUnit(outputs, outputs, activation)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        x = self.upsample(x)
        if tuple(x.shape[2:]) != size:  # the encoder rounded an odd size up
            x = x[..., : size[0], : size[1]]
        out: Tensor = self.conv2(self.conv1(x if skip is None else torch.cat([x, skip], dim=1)))
        return out


class UNet(nn.Module):
    """A U-Net segmenter."""

    encoder_prefix = "encoder."  # under which a classifier's weights load, see `zoo.weights.load_weights`

    def __init__(
        self,
        num_classes: int,
        encoder: str,
        width: float,
        decoder_channels: Sequence[int],
        output_stride: int,
        last_activation: str,
    ) -> None:
        super().__init__()
        if output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"unet: output_stride: expected one of {OUTPUT_STRIDES}, got {output_stride}")
        blocks = {4: 3, 2: 4, 1: 5}[output_stride]
        if len(decoder_channels) < blocks:
            raise ValueError(
                f"unet: decoder_channels: expected {blocks} numbers, from stride 16 to stride {output_stride}, got"
                f" {tuple(decoder_channels)}"
            )
        if last_activation not in LAST_ACTIVATIONS:
            raise ValueError(
                f"unet: last_activation: expected one of {', '.join(LAST_ACTIVATIONS)}, got {last_activation!r}"
            )
        self.num_classes, self.output_stride = num_classes, output_stride
        self.encoder = build_encoder(encoder, width=width)
        skips = (*self.encoder.channels[-2::-1], 0)[:blocks]
        outputs = tuple(decoder_channels)[:blocks]
        inputs = (self.encoder.channels[-1], *outputs[:-1])
        ends = (*[nn.ReLU] * (blocks - 1), LAST_ACTIVATIONS[last_activation])
        self.decoder = nn.ModuleList(DecoderBlock(*block) for block in zip(inputs, skips, outputs, ends, strict=True))
        self.head = nn.Conv2d(outputs[-1], num_classes, 1)
        start_convolutions(self.decoder)
        start_logits(self.head)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits at ``output_stride``; `ops.argmax_resize` interpolates them.

        Args:
            x: float [B, 3, h, w], any size; sizes at strides are rounded up.

        Returns:
            float [B, num_classes, h / output_stride, w / output_stride].
        """
        *skips, out = self.encoder(x)
        for block, skip in zip(self.decoder, (*reversed(skips), None), strict=False):
            size = x.shape[2:] if skip is None else skip.shape[2:]
            out = block(out, skip, tuple(size))
        logits: Tensor = self.head(out)
        return logits


def unet(
    *,
    num_classes: int,
    encoder: str = "mobilenet_v2",
    width: float = 1.0,
    decoder_channels: Sequence[int] = (128, 96, 64, 32, 16),
    output_stride: int = 2,
    last_activation: str = "relu",
) -> UNet:
    """U-Net on one of `zoo.encoders.ENCODERS`: 1.9 M parameters on mobilenet_v2.

    ``width`` scales a mobilenet_v2 encoder; ``decoder_channels`` are those at strides 16, 8, 4, 2 and 1, read as far
    as ``output_stride`` (1, 2 or 4). ``last_activation`` is that of the features before the logits, one of
    `LAST_ACTIVATIONS`.
    """
    return UNet(num_classes, encoder, width, decoder_channels, output_stride, last_activation)
