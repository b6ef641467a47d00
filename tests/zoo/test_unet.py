"""U-Net: what every network must do, its size, what its skips bring, and starting from a classifier's weights."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

pytest.register_assert_rewrite("network_tester")

from network_tester import ExportTester, NetworkTester  # noqa: E402

from zoo.deeplabv3 import deeplabv3  # noqa: E402
from zoo.mobilenet_v2 import mobilenet_v2  # noqa: E402
from zoo.segmentation_loss import segmentation_loss  # noqa: E402
from zoo.unet import DecoderBlock, unet  # noqa: E402
from zoo.weights import load_weights  # noqa: E402

# torchvision's published numbers, less a classifier's last layer, and of MobileNetV2 the convolution before it.
MOBILENET_V2 = 3_504_872 - 1001 * 1000 - 280 * 1000 - (320 * 1280 + 2 * 1280)
RESNET18 = 11_689_512 - 513 * 1000
RESNET50 = 25_557_032 - 2049 * 1000


def separable(inputs: int, outputs: int) -> int:
    """Parameters of a depthwise 3x3 and a pointwise convolution, each with a batch norm."""
    return 9 * inputs + 2 * inputs + inputs * outputs + 2 * outputs


def decoder(encoder: tuple[int, ...], outputs: tuple[int, ...], num_classes: int = 80) -> int:
    """Parameters after the encoder; ``encoder``: its channels from coarse to fine."""
    total = (outputs[-1] + 1) * num_classes
    for before, skip, channels in zip((encoder[0], *outputs), encoder[1:], outputs, strict=False):
        total += separable(before + skip, channels) + separable(channels, channels)
    return total


class Segmenter(NetworkTester):
    sizes = ((64, 64), (33, 47), (32, 96))
    small = (65, 47)  # odd: the skips are cropped
    pixel_range = (-2.1, 2.6)  # normalised by the statistics of ImageNet
    counted_within = 1e-7
    stride = 2

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes, *(-(-side // self.stride) for side in size)


class TestMobileNetV2(Segmenter, ExportTester):
    build = staticmethod(unet)
    millions = (MOBILENET_V2 + decoder((320, 96, 32, 24, 16), (128, 96, 64, 32))) / 1e6
    golden: ClassVar = {
        "encoder.features.0.0.weight": (32, 3, 3, 3),
        "encoder.features.17.conv.2.weight": (320, 960, 1, 1),
        "decoder.0.conv1.0.0.weight": (416, 1, 3, 3),
        "decoder.3.conv2.1.1.running_mean": (32,),
        "head.weight": (3, 32, 1, 1),
    }


class TestHalfWidthStride4(Segmenter):
    build = staticmethod(partial(unet, width=0.5, output_stride=4, decoder_channels=(48, 32, 24)))
    stride = 4
    # Half of MobileNetV2 as timm's table lists it, less its last convolution and layer.
    millions = (1_968_680 - 1_281_000 - 162 * 1280 + decoder((160, 48, 16, 16), (48, 32, 24))) / 1e6
    golden: ClassVar = {"decoder.2.conv1.0.0.weight": (48, 1, 3, 3), "head.bias": (3,)}


class TestResNet18Stride1(Segmenter):
    build = staticmethod(partial(unet, encoder="resnet18", output_stride=1))
    stride = 1
    millions = (RESNET18 + decoder((512, 256, 128, 64, 64, 0), (128, 96, 64, 32, 16))) / 1e6
    golden: ClassVar = {"encoder.layer4.1.bn2.weight": (512,), "decoder.4.conv1.1.0.weight": (16, 32, 1, 1)}


def test_stands_on_resnet50() -> None:
    network = unet(num_classes=80, encoder="resnet50").eval()
    expected = RESNET50 + decoder((2048, 1024, 512, 256, 64), (128, 96, 64, 32))
    assert sum(p.numel() for p in network.parameters()) == expected
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 33, 64)).shape == (1, 80, 17, 32)


@pytest.mark.parametrize("width", [0.5, 1.0])
def test_fits_into_ten_megabytes_of_float32(width: float) -> None:
    count = sum(p.numel() for p in unet(num_classes=5, width=width).parameters())
    assert count < 2_400_000


def test_a_decoder_block_repeats_cells_crops_the_end_and_joins() -> None:
    block = DecoderBlock(2, 3, 4)
    block.conv1 = block.conv2 = nn.Identity()
    x, skip = torch.rand(1, 2, 2, 3), torch.rand(1, 3, 3, 5)
    expected = x.numpy().repeat(2, axis=2).repeat(2, axis=3)[:, :, :3, :5]
    np.testing.assert_array_equal(block(x, skip, (3, 5)).numpy(), np.concatenate([expected, skip], axis=1))
    np.testing.assert_array_equal(block(x, None, (3, 5)).numpy(), expected)


@pytest.mark.parametrize("level", range(5))
def test_every_stride_of_the_encoder_reaches_the_output(level: int) -> None:
    torch.manual_seed(0)
    network = unet(num_classes=2, width=0.35).eval()
    pictures = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(pictures)
        network.encoder.register_forward_hook(
            lambda module, given, maps: tuple(m * (index != level) for index, m in enumerate(maps))
        )
        assert not torch.equal(network(pictures), before)


@pytest.mark.parametrize("build", [unet, deeplabv3])
def test_starts_from_a_classifiers_weights(build) -> None:
    torch.manual_seed(0)
    source, target = mobilenet_v2(num_classes=1000), build(num_classes=3)
    decoder_before = target.head.state_dict()
    report = load_weights(target, {name: t.numpy() for name, t in source.state_dict().items()})
    counted = [name for name in target.encoder.state_dict() if not name.endswith("num_batches_tracked")]
    assert report.loaded == [f"encoder.{name}" for name in counted]
    assert (report.fraction, report.missing, report.reshaped) == (1, [], [])
    assert {name.rsplit(".", 1)[0] for name in report.unused} == {"features.18.0", "features.18.1", "classifier.1"}
    assert report.outside
    assert not any(name.startswith("encoder.") for name in report.outside)
    weight = "features.13.conv.1.0.weight"
    assert torch.equal(target.encoder.state_dict()[weight], source.state_dict()[weight])
    assert all(torch.equal(t, decoder_before[name]) for name, t in target.head.state_dict().items())


def test_starts_from_another_segmenters_encoder() -> None:
    source = {name: t.numpy() for name, t in deeplabv3(num_classes=3, channels=8).state_dict().items()}
    target = unet(num_classes=3)
    report = load_weights(target, source)
    assert report.fraction == 1
    assert len(report.loaded) == len(target.encoder.state_dict()) * 5 // 6  # but the counters of batch norms
    assert report.outside


def test_a_narrower_encoders_weights_do_not_fit() -> None:
    source = {name: t.numpy() for name, t in mobilenet_v2(num_classes=3, width=0.5).state_dict().items()}
    report = load_weights(unet(num_classes=3), source)
    assert report.fraction < 0.1
    assert len(report.reshaped) > 200


def test_forty_steps_on_one_picture_learn_it() -> None:
    torch.manual_seed(0)
    network = unet(num_classes=2, width=0.35, decoder_channels=(32, 24, 16, 16)).train()
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    targets = ((rows - 28) ** 2 + (columns - 40) ** 2 < 15**2).long()[None].repeat(2, 1, 1)
    pictures = torch.randn(2, 3, 64, 64) * 0.3 + targets[:, None] * 0.5
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        loss = segmentation_loss(network(pictures), targets)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = network(pictures).argmax(1)
    truth = targets[:, ::2, ::2]
    assert (found & truth).sum() / (found | truth).sum() > 0.85


@pytest.mark.parametrize(("last_activation", "learns"), [("relu", False), ("silu", True), ("none", True)])
def test_places_without_a_feature_learn_nothing_after_relu(last_activation: str, learns: bool) -> None:
    """Where the last batch norm shifts all features below 0, as a network may learn to for one of its classes."""
    torch.manual_seed(0)
    network = unet(num_classes=3, width=0.35, last_activation=last_activation).train()
    nn.init.constant_(network.decoder[-1].conv2[1][1].bias, -9.0)
    logits = network(torch.rand(1, 3, 64, 64))
    assert torch.equal(logits, network.head.bias[:, None, None].expand_as(logits)) is not learns
    segmentation_loss(logits, torch.zeros(1, 64, 64, dtype=torch.int64))["loss"].backward()
    gradient = network.encoder.features[0][0].weight.grad
    assert gradient is not None
    assert bool(gradient.any()) is learns
    assert network.head.bias.grad.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 8}, "unet: output_stride: expected one of (1, 2, 4), got 8"),
        (
            {"decoder_channels": (64, 32, 16)},
            "unet: decoder_channels: expected 4 numbers, from stride 16 to stride 2, got (64, 32, 16)",
        ),
        ({"last_activation": "gelu"}, "unet: last_activation: expected one of relu, silu, none, got 'gelu'"),
        ({"encoder": "vgg"}, "encoder: expected one of mobilenet_v2, resnet18, resnet50, got 'vgg'"),
    ],
)
def test_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        unet(num_classes=2, **options)
    assert message in str(caught.value)
