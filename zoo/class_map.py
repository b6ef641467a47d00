"""Class activation maps: where in the picture a classifier sees what it says.

Source: Zhou, Khosla, Lapedriza, Oliva and Torralba, "Learning Deep Features for Discriminative Localization", CVPR
2016. It asks for global average pooling and one linear layer, which is how the zoo's classifiers end.
"""

from __future__ import annotations

from torch import Tensor, nn


def class_maps(features: Tensor, linear: nn.Linear) -> Tensor:
    """Return the linear layer's logits at every position; their mean over the positions are the picture's logits.

    Args:
        features: float [B, K, h, w], the last feature map.
        linear: from K features to C logits.

    Returns:
        float [B, C, h, w].
    """
    batch, channels, height, width = features.shape
    # As rows of a matrix: exported, it then is a Gemm that reads the weight as it is stored, under its own name.
    rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
    maps: Tensor = linear(rows)
    return maps.reshape(batch, height, width, -1).permute(0, 3, 1, 2)
