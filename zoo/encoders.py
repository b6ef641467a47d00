"""The encoders that a segmenter can stand on, by name: classifiers without their heads."""

from __future__ import annotations

from zoo.mobilenet_v2 import MobileNetV2Encoder
from zoo.resnet import VARIANTS, ResNetEncoder

ENCODERS = ("mobilenet_v2", *VARIANTS)

Encoder = MobileNetV2Encoder | ResNetEncoder


def build_encoder(name: str, *, width: float = 1.0, output_stride: int = 32) -> Encoder:
    """Return an encoder whose ``forward`` gives five feature maps and whose ``channels`` tells their channels.

    Args:
        name: one of `ENCODERS`.
        width: factor on the channels of mobilenet_v2; the others have one width.
        output_stride: of the last map, 32 or 16; at 16 the last stage keeps its input's size and its filters are
            spread (dilated), so that every one of its outputs sees what it saw at 32 (Chen et al. 2017).

    Raises:
        ValueError: for another name, a width that the encoder does not come in, another stride.
    """
    if name not in ENCODERS:
        raise ValueError(f"encoder: expected one of {', '.join(ENCODERS)}, got {name!r}")
    if name == "mobilenet_v2":
        return MobileNetV2Encoder(width=width, output_stride=output_stride)
    if width != 1.0:
        raise ValueError(f"encoder: {name} comes in one width: expected width 1.0, got {width}")
    return ResNetEncoder(name, output_stride=output_stride)
