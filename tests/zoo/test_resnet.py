"""ResNet: what every network must do, its layers against the paper's table, and its encoder."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F

pytest.register_assert_rewrite("network_tester")

from network_tester import ExportTester, NetworkTester, calibrate  # noqa: E402

from zoo.resnet import ResNet, ResNetEncoder, resnet18, resnet50  # noqa: E402
from zoo.weights import load_weights  # noqa: E402


class Classifier(NetworkTester):
    sizes = ((64, 64), (33, 47), (32, 32))
    pixel_range = (-2.1, 2.6)  # normalised by the statistics of ImageNet
    counted_classes, counted_within = 1000, 1e-7

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes


# Parameters and names: torchvision's published weights.
class TestResNet18(Classifier, ExportTester):
    build = staticmethod(resnet18)
    millions = 11.689512
    golden: ClassVar = {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_var": (64,),
        "layer1.0.conv2.weight": (64, 64, 3, 3),
        "layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "layer4.1.bn2.bias": (512,),
        "fc.weight": (3, 512),
    }


class TestResNet50(Classifier):
    build = staticmethod(resnet50)
    millions = 25.557032
    golden: ClassVar = {
        "layer1.0.downsample.1.running_mean": (256,),
        "layer3.5.conv1.weight": (256, 1024, 1, 1),
        "layer4.0.conv2.weight": (512, 512, 3, 3),
        "layer4.2.bn3.num_batches_tracked": (),
        "fc.bias": (3,),
    }


def plain_forward(state: dict[str, torch.Tensor], x: torch.Tensor, convolutions: int) -> torch.Tensor:
    """Table 1 written out in float64; ``convolutions`` in a block, the one with a 3x3 kernel first strides."""

    def conv(x: torch.Tensor, weight: str, norm: str, stride: int = 1) -> torch.Tensor:
        kernel = state[weight + ".weight"]
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)
        return F.batch_norm(x, *(state[f"{norm}.{name}"] for name in names))

    strides = (2, 1) if convolutions == 2 else (1, 2, 1)
    x = F.max_pool2d(conv(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for stage in range(1, 5):
        block = 0
        while (at := f"layer{stage}.{block}.") + "conv1.weight" in state:
            halve, y = stage > 1 and block == 0, x
            for index, stride in enumerate(strides, 1):
                y = conv(y, f"{at}conv{index}", f"{at}bn{index}", stride if halve else 1)
                y = y.relu() if index < convolutions else y
            if block == 0 and at + "downsample.0.weight" in state:
                x = conv(x, at + "downsample.0", at + "downsample.1", 2 if halve else 1)
            x, block = (x + y).relu(), block + 1
    return x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]


@pytest.mark.parametrize(("build", "convolutions"), [(resnet18, 2), (resnet50, 3)])
def test_computes_what_the_paper_draws(build, convolutions: int) -> None:
    torch.manual_seed(0)
    network = build(num_classes=5)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2.0)
            module.bias.data.uniform_(-1.0, 1.0)
    pictures = torch.randn(2, 3, 70, 51)
    calibrate(network, pictures)
    network.eval()
    state = {name: tensor.double() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
    with torch.inference_mode():
        expected = plain_forward(state, pictures.double(), convolutions)
        assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
        assert (network(pictures).double() - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_maps_mean_is_the_logit() -> None:
    torch.manual_seed(0)
    network = resnet18(num_classes=4).eval()
    pictures = torch.randn(2, 3, 96, 65)
    with torch.inference_mode():
        logits, maps = network.forward_with_map(pictures)
        assert torch.equal(logits, network(pictures))
        assert network.forward_features(pictures).shape == (2, 512, 3, 3)
    assert maps.shape == (2, 4, 3, 3)
    torch.testing.assert_close(maps.mean((2, 3)), logits, rtol=1e-4, atol=1e-5)


def test_the_encoder_gives_the_classifiers_features_at_five_strides() -> None:
    torch.manual_seed(0)
    network, encoder = resnet18(num_classes=2).eval(), ResNetEncoder("resnet18").eval()
    report = load_weights(encoder, {name: t.numpy() for name, t in network.state_dict().items()})
    assert (report.fraction, report.unused) == (1, ["fc.weight", "fc.bias"])
    pictures = torch.randn(1, 3, 65, 96)
    with torch.inference_mode():
        maps = encoder(pictures)
        assert torch.equal(maps[-1], network.forward_features(pictures))
    sizes = [(33, 48), (17, 24), (9, 12), (5, 6), (3, 3)]
    assert [tuple(m.shape) for m in maps] == [(1, c, *s) for c, s in zip(encoder.channels, sizes, strict=True)]
    assert encoder.channels == (64, 64, 128, 256, 512)


def test_refuses_a_depth_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="expected one of resnet18, resnet50, got 'resnet19'"):
        ResNet("resnet19", 2)
