"""What every network of the zoo must do, written once: a network's own test inherits and says what is expected."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import site
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def calibrate(network: nn.Module, pictures: Tensor) -> None:
    """Set the batch norms' statistics to those of ``pictures``: at 0 and 1 signals would die out on the way."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        network.train()(pictures)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


class NetworkTester:
    """Inherit, set the attributes, and pytest runs all of these for the network."""

    build: ClassVar[Callable[..., nn.Module]]  # (num_classes=) -> network
    millions: ClassVar[float]  # parameters, as its paper or its published weights have them
    counted_classes: ClassVar[int] = 80  # for so many classes
    counted_within: ClassVar[float] = 0.006
    golden: ClassVar[dict[str, tuple[int, ...]]]  # a few names and shapes, for 3 classes, that published weights have
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((64, 64), (32, 96), (160, 32))  # (height, width)
    small: ClassVar[tuple[int, int]] = (64, 64)
    pixel_range: ClassVar[tuple[float, float]] = (0, 255)  # what its preprocessing gives

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        raise NotImplementedError("say what shape the network's output has")

    @pytest.fixture(autouse=True)
    def _single_thread(self) -> Iterator[None]:
        """Small pictures are done before a second thread has woken."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    def network(self, num_classes: int = 3) -> nn.Module:
        torch.manual_seed(0)
        network = type(self).build(num_classes=num_classes)
        calibrate(network, self.pictures(2, self.small))
        return network

    def pictures(self, batch: int, size: tuple[int, int]) -> Tensor:
        low, high = self.pixel_range
        return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) * (high - low) + low

    def test_parameters_are_as_many_as_published(self) -> None:
        count = sum(parameter.numel() for parameter in self.network(self.counted_classes).parameters())
        assert count / 1e6 == pytest.approx(self.millions, abs=self.counted_within)

    def test_parameters_keep_their_names(self) -> None:
        """Published weights and the bundles of earlier versions are found by them."""
        found = {name: tuple(tensor.shape) for name, tensor in self.network().state_dict().items()}
        assert self.golden
        assert {name: found.get(name) for name in self.golden} == self.golden

    @pytest.mark.parametrize("num_classes", [1, 3, 80])
    def test_output_shape(self, num_classes: int) -> None:
        network = self.network(num_classes).eval()
        with torch.inference_mode():
            for batch, size in zip(itertools.cycle([2, 1, 3]), self.sizes, strict=False):
                output = network(self.pictures(batch, size))
                assert tuple(output.shape) == self.expected_shape(batch, size, num_classes)
                assert output.dtype == torch.float32
                assert output.isfinite().all()

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_gradients_reach_every_parameter_and_the_input(self, layout: torch.memory_format) -> None:
        network = self.network().train().to(memory_format=layout)
        pictures = self.pictures(2, self.small).contiguous(memory_format=layout).requires_grad_()
        output = network(pictures)
        (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
        for name, tensor in (*network.named_parameters(), ("input", pictures)):
            assert tensor.grad is not None, name
            assert tensor.grad.isfinite().all(), name
            assert tensor.grad.any(), name

    def test_evaluation_repeats_itself_and_changes_nothing(self) -> None:
        network = self.network().eval()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        pictures = self.pictures(1, self.small)
        with torch.inference_mode():
            first, again = network(pictures.clone()), network(pictures.clone())
        assert torch.equal(first, again)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())

    def test_pictures_of_a_batch_do_not_touch_each_other(self) -> None:
        network, pictures = self.network().eval().double(), self.pictures(3, self.small).double()
        with torch.inference_mode():
            together = network(pictures)
            assert (together[0] - together[1]).abs().max() > 1e-3 * together.abs().max(), "no picture was looked at"
            for index in range(3):
                alone = network(pictures[index : index + 1])[0]
                torch.testing.assert_close(alone, together[index], rtol=1e-8, atol=1e-8)

    def test_two_builds_hold_the_same_names_and_shapes(self) -> None:
        first, second = ({n: t.shape for n, t in self.network().state_dict().items()} for _ in range(2))
        assert first == second


@functools.cache
def _export(tester: type[NetworkTester]) -> tuple[nn.Module, bytes]:
    from toolkit.exporting.onnx_export import to_onnx

    network = tester().network()
    return network, to_onnx(network, tester.small)


class ExportTester(NetworkTester):
    """`NetworkTester` and the export to ONNX, which takes seconds: for the smallest of a family."""

    @pytest.fixture
    def exported(self) -> tuple[nn.Module, bytes]:
        return _export(type(self))

    @pytest.mark.parametrize("batch", [1, 3])
    def test_onnx_gives_the_same_numbers(self, exported: tuple[nn.Module, bytes], batch: int) -> None:
        import onnxruntime

        network, data = exported
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        pictures = self.pictures(batch, self.small)
        with torch.inference_mode():
            exact = copy.deepcopy(network).eval().double()(pictures.double()).numpy()
            own = np.abs(network.eval()(pictures).numpy() - exact).max() / np.abs(exact).max()
        (result,) = session.run(["raw"], {"images": pictures.numpy()})
        assert result.shape == exact.shape
        # Seventy untrained layers swell float32's rounding, torch's own as well: up to 5e-4 was seen.
        assert own < 1e-3
        assert np.abs(result - exact).max() / np.abs(exact).max() <= max(1e-4, 4 * own)

    def test_onnx_restores_every_parameter(self, exported: tuple[nn.Module, bytes]) -> None:
        from zoo.weights import load_weights, read_onnx

        network, data = exported
        torch.manual_seed(5)
        other = type(self).build(num_classes=3)
        report = load_weights(other, read_onnx(data))
        assert report.fraction == 1, str(report)
        pictures = self.pictures(2, self.small)
        with torch.inference_mode():
            assert torch.equal(other.eval()(pictures), network.eval()(pictures))

    def test_onnx_names_nothing_of_this_machine(self, exported: tuple[nn.Module, bytes]) -> None:
        import onnx

        model = onnx.load_model_from_string(exported[1])
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # among millions of random bytes any three letters turn up
        said = model.SerializeToString()
        assert b"Conv" in said
        here = [str(Path(__file__).parents[1]), str(Path.home()), os.getcwd(), *site.getsitepackages()]
        for text in [*(path for path in here if len(path) > 1), "site-packages", "/home/", "zoo/", ".py"]:
            assert text.encode() not in said, text
