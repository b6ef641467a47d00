"""Class activation maps: where the classifier sees its class, and as a second output of an exported network."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from toolkit.exporting.onnx_export import to_onnx
from zoo.class_map import class_maps
from zoo.resnet import resnet18
from zoo.weights import load_weights, read_onnx


def test_is_the_linear_layer_at_every_position() -> None:
    generator = np.random.default_rng(0)
    features, weight, bias = (
        generator.normal(size=(2, 5, 3, 4)),
        generator.normal(size=(7, 5)),
        generator.normal(size=7),
    )
    linear = nn.Linear(5, 7).double()
    linear.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    maps = class_maps(torch.from_numpy(features), linear).detach().numpy()
    expected = np.einsum("bkhw,ck->bchw", features, weight) + bias[:, None, None]
    np.testing.assert_allclose(maps, expected, rtol=1e-12)
    np.testing.assert_allclose(maps.mean((2, 3)), features.mean((2, 3)) @ weight.T + bias, rtol=1e-12)


def test_exports_as_a_second_output_with_any_batch_size() -> None:
    import onnxruntime

    torch.manual_seed(0)
    network = resnet18(num_classes=3).eval()
    data = to_onnx(network, (64, 96))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        pictures = torch.randn(batch, 3, 64, 96)
        with torch.inference_mode():
            logits, maps = network.forward_with_map(pictures)
        found_logits, found_maps = session.run(["raw", "class_map"], {"images": pictures.numpy()})
        np.testing.assert_allclose(found_logits, logits.numpy(), atol=1e-4 * float(logits.abs().max()))
        np.testing.assert_allclose(found_maps, maps.numpy(), atol=1e-4 * float(maps.abs().max()))
        assert found_maps.shape == (batch, 3, 2, 3)
    other = resnet18(num_classes=3)
    report = load_weights(other, read_onnx(data))
    assert (report.fraction, report.unused) == (1, [])
    assert torch.equal(other.fc.weight, network.fc.weight)
