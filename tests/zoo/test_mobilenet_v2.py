"""MobileNetV2: what every network must do, its layers against the paper's table, its encoder and its weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

pytest.register_assert_rewrite("network_tester")

from network_tester import ExportTester, NetworkTester, calibrate  # noqa: E402

from zoo.mobilenet_v2 import MobileNetV2Encoder, mobilenet_v2, scaled  # noqa: E402
from zoo.weights import load_weights, read_safetensors  # noqa: E402


class Classifier(NetworkTester):
    sizes = ((64, 64), (33, 47), (32, 32), (95, 160))
    pixel_range = (-2.1, 2.6)  # normalised by the statistics of ImageNet

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        return batch, num_classes


class TestFull(Classifier, ExportTester):
    build = staticmethod(mobilenet_v2)
    millions, counted_classes, counted_within = 3.504872, 1000, 1e-7  # torchvision's published number
    golden: ClassVar = {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.1.weight": (16, 32, 1, 1),
        "features.2.conv.0.1.running_mean": (96,),
        "features.7.conv.1.0.weight": (192, 1, 3, 3),
        "features.17.conv.3.bias": (320,),
        "features.18.1.num_batches_tracked": (),
        "classifier.1.weight": (3, 1280),
    }


class TestHalf(Classifier):
    build = staticmethod(partial(mobilenet_v2, width=0.5))
    millions, counted_classes = 1.97, 1000  # as timm's table of results lists its mobilenetv2_050
    golden: ClassVar = {"features.0.0.weight": (16, 3, 3, 3), "features.18.0.weight": (1280, 160, 1, 1)}


@pytest.mark.parametrize(
    ("channels", "width", "expected"),
    [(32, 1.0, 32), (16, 0.5, 8), (24, 0.5, 16), (24, 0.35, 8), (96, 0.35, 32), (1280, 1.4, 1792), (16, 0.1, 8)],
)
def test_channels_are_multiples_of_8_and_never_cut_by_more_than_a_tenth(
    channels: int, width: float, expected: int
) -> None:
    assert scaled(channels, width) == expected


def randomise(network: torch.nn.Module, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
    """Draw gains and biases so wide that both ends of ReLU6 are met, and return the state in float64."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 2.5)
            module.bias.data.uniform_(-2.0, 4.0)
    calibrate(network, pictures)
    return {name: tensor.double() for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def plain_forward(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The network of table 2 written out in float64: expansion 6, strides by block, ReLU6, linear bottlenecks."""

    def conv(x: torch.Tensor, weight: str, norm: str, stride: int = 1) -> torch.Tensor:
        kernel = state[weight + ".weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2, groups=x.shape[1] // kernel.shape[1])
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{norm}.{name}"] for name in names))

    def relu6(x: torch.Tensor) -> torch.Tensor:
        assert x.min() < 0
        assert x.max() > 6
        return x.clamp(0, 6)

    x = relu6(conv(x, "features.0.0", "features.0.1", 2))
    for block in range(1, 18):
        at, before = f"features.{block}.conv.", x
        if block > 1:
            x = relu6(conv(x, at + "0.0", at + "0.1"))
        middle = "1" if block > 1 else "0"
        x = relu6(conv(x, f"{at}{middle}.0", f"{at}{middle}.1", 2 if block in (2, 4, 7, 14) else 1))
        x = conv(x, f"{at}{int(middle) + 1}", f"{at}{int(middle) + 2}")
        if block in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16):
            x = x + before
    x = relu6(conv(x, "features.18.0", "features.18.1"))
    return x.mean((2, 3)) @ state["classifier.1.weight"].T + state["classifier.1.bias"]


@pytest.mark.parametrize("width", [1.0, 0.35])
def test_computes_what_the_paper_draws(width: float) -> None:
    torch.manual_seed(0)
    network = mobilenet_v2(num_classes=5, width=width)
    pictures = torch.randn(2, 3, 70, 51)
    state = randomise(network, pictures)
    network.eval()
    with torch.inference_mode():
        expected = plain_forward(state, pictures.double())
        assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
        assert (network(pictures).double() - expected).abs().max() < 1e-4 * expected.abs().max()


def test_the_maps_mean_is_the_logit() -> None:
    torch.manual_seed(0)
    network = mobilenet_v2(num_classes=4).eval()
    pictures = torch.randn(2, 3, 96, 65)
    with torch.inference_mode():
        logits, maps = network.forward_with_map(pictures)
        assert torch.equal(logits, network(pictures))
        assert network.forward_features(pictures).shape == (2, 1280, 3, 3)
    assert maps.shape == (2, 4, 3, 3)
    torch.testing.assert_close(maps.mean((2, 3)), logits, rtol=1e-4, atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = mobilenet_v2(num_classes=4, dropout=0.9)
    features = torch.rand(8, 1280)
    first, second = network.train().classifier(features), network.classifier(features)
    assert not torch.equal(first, second)
    network.eval()
    assert torch.equal(network.classifier(features), network.classifier(features))


def test_the_encoder_gives_the_classifiers_features_at_five_strides() -> None:
    torch.manual_seed(0)
    network, encoder = mobilenet_v2(num_classes=2).eval(), MobileNetV2Encoder().eval()
    report = load_weights(encoder, {name: t.numpy() for name, t in network.state_dict().items()})
    assert (report.fraction, report.missing, report.reshaped) == (1, [], [])
    assert {name.split(".")[1] for name in report.unused if name.startswith("features")} == {"18"}
    pictures = torch.randn(1, 3, 65, 96)
    with torch.inference_mode():
        maps = encoder(pictures)
        for found, last in zip(maps, (1, 3, 6, 13, 17), strict=True):  # the last block of a size
            assert torch.equal(found, network.features[: last + 1](pictures))
        assert torch.equal(network.features[18](maps[-1]), network.forward_features(pictures))
    assert [tuple(m.shape) for m in maps] == [
        (1, 16, 33, 48), (1, 24, 17, 24), (1, 32, 9, 12), (1, 96, 5, 6), (1, 320, 3, 3),
    ]  # fmt: skip
    assert encoder.channels == (16, 24, 32, 96, 320)


def test_weights_for_other_classes_leave_the_last_layer(tmp_path: Path) -> None:
    """As a published file comes: convolutions in half precision, 1000 classes there, 3 here."""
    torch.manual_seed(1)
    source = mobilenet_v2(num_classes=1000)
    state = {name: t.half() if t.ndim == 4 else t for name, t in source.state_dict().items()}
    save_file(state, tmp_path / "imagenet.safetensors")
    tensors = read_safetensors(tmp_path / "imagenet.safetensors")
    same = load_weights(mobilenet_v2(num_classes=1000), tensors)
    assert (len(same.loaded), same.reshaped, same.missing, same.unused) == (262, [], [], [])
    target = mobilenet_v2(num_classes=3)
    report = load_weights(target, tensors)
    assert (report.reshaped, report.missing, report.unused) == (["classifier.1.weight", "classifier.1.bias"], [], [])
    assert report.fraction == 260 / 262
    assert torch.equal(target.features[9].conv[2].weight, source.features[9].conv[2].weight.half().float())


@pytest.mark.parametrize("width", [0.0, -1.0])
def test_refuses_a_width_that_is_none(width: float) -> None:
    with pytest.raises(ValueError, match="width: expected a factor above 0, got"):
        mobilenet_v2(num_classes=2, width=width)
