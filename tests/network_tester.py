"""What every network of the zoo must do, written once: a network's own test inherits and says what is expected."""

from __future__ import annotations

import functools
import os
import site
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn


class NetworkTester:
    """Inherit, set the attributes, and pytest runs all of these for the network."""

    build: ClassVar[Callable[..., nn.Module]]  # (num_classes) -> network
    millions: ClassVar[float]  # parameters with 80 classes, as its paper states them
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((64, 64), (32, 96), (160, 32))  # (height, width)
    small: ClassVar[tuple[int, int]] = (64, 64)

    def expected_shape(self, batch: int, size: tuple[int, int], num_classes: int) -> tuple[int, ...]:
        raise NotImplementedError("say what shape the network's output has")

    def network(self, num_classes: int = 3) -> nn.Module:
        torch.manual_seed(0)
        network = type(self).build(num_classes)
        with torch.no_grad():  # batch norms as after some training, not at mean 0 and variance 1
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.uniform_(-0.2, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
        return network

    def pictures(self, batch: int, size: tuple[int, int]) -> Tensor:
        return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1)) * 255

    def test_parameters_are_as_many_as_published(self) -> None:
        count = sum(parameter.numel() for parameter in self.network(80).parameters())
        assert count / 1e6 == pytest.approx(self.millions, abs=0.006)

    @pytest.mark.parametrize("num_classes", [1, 3, 80])
    def test_output_shape(self, num_classes: int) -> None:
        network = self.network(num_classes).eval()
        with torch.inference_mode():
            for size in self.sizes:
                output = network(self.pictures(2, size))
                assert tuple(output.shape) == self.expected_shape(2, size, num_classes)
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
        network, pictures = self.network().eval(), self.pictures(3, self.small)
        with torch.inference_mode():
            together = network(pictures)
            for index in range(3):
                torch.testing.assert_close(
                    network(pictures[index : index + 1])[0], together[index], rtol=1e-4, atol=1e-4
                )

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
            expected = network.eval()(pictures).numpy()
        (result,) = session.run(["raw"], {"images": pictures.numpy()})
        np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)

    def test_onnx_restores_every_parameter(self, exported: tuple[nn.Module, bytes]) -> None:
        from zoo.weights import load_weights, read_onnx

        network, data = exported
        torch.manual_seed(5)
        other = type(self).build(3)
        report = load_weights(other, read_onnx(data))
        assert report.fraction == 1, str(report)
        pictures = self.pictures(2, self.small)
        with torch.inference_mode():
            assert torch.equal(other.eval()(pictures), network.eval()(pictures))

    def test_onnx_names_nothing_of_this_machine(self, exported: tuple[nn.Module, bytes]) -> None:
        here = [str(Path(__file__).parents[1]), str(Path.home()), os.getcwd(), *site.getsitepackages()]
        for text in [*(path for path in here if len(path) > 1), "site-packages", "/home/", "zoo/", ".py"]:
            assert text.encode() not in exported[1], text
