"""DeepLabv3: what every network must do, its size, and what its pyramid sees."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pytest
import torch

pytest.register_assert_rewrite("network_tester")

from network_tester import ExportTester, NetworkTester  # noqa: E402

from zoo.deeplabv3 import PyramidPooling, deeplabv3  # noqa: E402


class Segmenter(NetworkTester):
    sizes = ((64, 64), (33, 47), (32, 96))
    small = (65, 47)
    pixel_range = (-2.1, 2.6)  # normalised by the statistics of ImageNet
    counted_within = 1e-7

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes, *(-(-side // 16) for side in size)


def head(inputs: int, channels: int, num_classes: int) -> int:
    """Parameters after the encoder: 1x1, three 3x3, pooled (with bias), projection, 3x3, logits."""
    convolutions = inputs * channels * (1 + 3 * 9 + 1) + 5 * channels**2 + 9 * channels**2
    return convolutions + 6 * 2 * channels + channels + (channels + 1) * num_classes


class TestMobileNetV2(Segmenter, ExportTester):
    build = staticmethod(partial(deeplabv3, channels=64))
    millions = (3_504_872 - 1_281_000 - 412_160 + head(320, 64, 80)) / 1e6
    golden: ClassVar = {
        "encoder.features.14.conv.1.0.weight": (576, 1, 3, 3),
        "pyramid.branches.0.0.weight": (64, 320, 1, 1),
        "pyramid.branches.3.0.weight": (64, 320, 3, 3),
        "pyramid.pooled.bias": (64,),
        "pyramid.project.0.1.running_var": (64,),
        "head.0.0.weight": (64, 64, 3, 3),
        "head.1.weight": (3, 64, 1, 1),
    }


class TestResNet50(Segmenter):
    build = staticmethod(partial(deeplabv3, encoder="resnet50"))
    # torchvision's 42 004 074 less the auxiliary head, and a bias where it has a batch norm's pair.
    millions = (42_004_074 - (9 * 1024 * 256 + 512 + 257 * 21) - 256) / 1e6
    counted_classes = 21
    golden: ClassVar = {"encoder.layer4.2.conv2.weight": (512, 512, 3, 3), "head.1.bias": (3,)}


def test_the_pyramid_reaches_6_12_and_18_cells() -> None:
    """One position of the input moves those at its distance and, through the pooled branch, all others alike."""
    torch.manual_seed(0)
    pyramid = PyramidPooling(2, 4, dropout=0.0).eval()
    x = torch.rand(1, 2, 41, 41)
    touched = x.clone()
    touched[:, :, 20, 20] += 1.0
    with torch.inference_mode():
        for branch, reach in zip(pyramid.branches, (0, 6, 12, 18), strict=True):
            before = branch[0](x)
            moved = (branch[0](touched) != before)[0].any(0)
            steps = range(20 - reach, 20 + reach + 1, reach or 1)
            expected = torch.zeros(41, 41, dtype=torch.bool)
            for row in steps:
                expected[row, list(steps)] = True
            assert torch.equal(moved, expected)
        far = (pyramid(touched) - pyramid(x))[0, :, ::40, ::40]  # the corners
    assert far.abs().max() > 0


def test_a_batch_of_one_trains() -> None:
    network = deeplabv3(num_classes=2, width=0.35, channels=16).train()
    logits = network(torch.rand(1, 3, 64, 64))
    logits.square().sum().backward()
    assert network.pyramid.pooled.weight.grad.isfinite().all()
