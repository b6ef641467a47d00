"""Start weights: what is loaded, reshaped, missing and unused, by which names, and files that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zoo.weights import LoadReport, load_weights, read_onnx, read_safetensors


class Wrapper(nn.Module):
    """A network whose own names start as wrappers' prefixes do."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(2, 1)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


def tensors(seed: int = 1) -> dict[str, np.ndarray]:
    """Weights for all of `network`: 2 + 4 + 2 tensors that count, and the batch norm's counter."""
    torch.manual_seed(seed)
    other = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))
    other[1].running_mean.normal_()
    other[1].num_batches_tracked.fill_(99)
    return {name: tensor.numpy() for name, tensor in other.state_dict().items()}


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: value for name, value in tensors().items() if name not in names}


REPORTS = [
    # tensors; loaded, reshaped, missing, unused
    (tensors(), 8, [], [], []),
    (
        {},
        0,
        [],
        ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "2.weight", "2.bias"],
        [],
    ),
    (without("2.bias"), 7, [], ["2.bias"], []),
    (without("1.num_batches_tracked"), 8, [], [], []),
    ({**tensors(), "2.weight": np.zeros((5, 4), np.float32)}, 7, ["2.weight"], [], []),  # another number of classes
    ({**tensors(), "2.weight": tensors()["2.weight"].T}, 7, ["2.weight"], [], []),
    ({**tensors(), "3.weight": np.zeros(3, np.float32)}, 8, [], [], ["3.weight"]),
    ({f"model.{name}": value for name, value in tensors().items()}, 8, [], [], []),
    ({f"module.{name}": value for name, value in tensors().items()}, 8, [], [], []),
    ({f"model.module.{name}": value for name, value in tensors().items()}, 8, [], [], []),
    ({f"module.model.network.{name}": value for name, value in tensors().items()}, 8, [], [], []),
    ({f"ema.{name}": value for name, value in without("1.num_batches_tracked").items()}, 0, [], 8, 8),
    ({**tensors(), "model.2.bias": np.full(2, 7, np.float32)}, 8, [], [], ["model.2.bias"]),  # twice: the first counts
]


@pytest.mark.parametrize(("given", "loaded", "reshaped", "missing", "unused"), REPORTS)
def test_report(
    given: dict[str, np.ndarray], loaded: int, reshaped: list, missing: list | int, unused: list | int
) -> None:
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = load_weights(target, given)
    assert len(report.loaded) == loaded
    assert report.reshaped == reshaped
    assert (len(report.missing) if isinstance(missing, int) else report.missing) == missing
    assert (len(report.unused) if isinstance(unused, int) else report.unused) == unused
    assert report.fraction == loaded / 8
    for name, tensor in target.state_dict().items():
        expected = torch.from_numpy(tensors()[name]) if name in report.loaded else before[name]
        assert torch.equal(tensor, expected), name


def test_names_that_the_network_has_itself_are_not_shortened() -> None:
    target = Wrapper()
    given = {"model.weight": np.full((1, 2), 3, np.float32), "module.model.bias": np.full(1, 4, np.float32)}
    assert load_weights(target, given).fraction == 1
    assert (target.model.weight.tolist(), target.model.bias.tolist()) == ([[3, 3]], [4])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_converts_to_the_networks_type(dtype: str) -> None:
    target = network()
    given = {name: value.astype(dtype).astype(np.dtype(dtype).newbyteorder("=")) for name, value in tensors().items()}
    assert load_weights(target, given).fraction == 1
    assert {tensor.dtype for tensor in target.state_dict().values()} == {torch.float32, torch.int64}
    np.testing.assert_allclose(target[0].weight.detach().numpy(), tensors()["0.weight"], atol=1e-3)


def test_copies() -> None:
    given = tensors()
    target = network()
    load_weights(target, given)
    given["0.weight"][:] = np.nan
    assert target[0].weight.isfinite().all()


class Segmenter(nn.Module):
    """A network that stands on `network`: 8 tensors that count in the encoder, 2 outside."""

    encoder_prefix = "encoder."

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = network()
        self.head = nn.Linear(2, 3)


HEAD = {"head.weight": np.ones((3, 2), np.float32), "head.bias": np.ones(3, np.float32)}


def under(prefix: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: value for name, value in given.items()}


@pytest.mark.parametrize(
    ("given", "loaded", "missing", "outside", "unused", "fraction"),
    [
        (tensors(), 8, 0, 2, 0, 1.0),  # a classifier's weights: the encoder is all they can cover
        (under("model.", tensors()), 8, 0, 2, 0, 1.0),
        (under("encoder.", tensors()), 8, 0, 2, 0, 1.0),
        (under("module.encoder.", tensors()), 8, 0, 2, 0, 1.0),
        ({**tensors(), "fc.weight": np.zeros((9, 2), np.float32)}, 8, 0, 2, 1, 1.0),
        (without("0.weight", "0.bias"), 6, 2, 2, 0, 6 / 8),
        ({**under("encoder.", tensors()), **HEAD}, 10, 0, 0, 0, 1.0),  # a segmenter's: all of it counts
        ({**tensors(), "head.bias": HEAD["head.bias"]}, 9, 1, 0, 0, 9 / 10),
        ({**tensors(), **under("encoder.", tensors())}, 8, 0, 2, 9, 1.0),  # twice: the first counts
        (HEAD, 2, 8, 0, 0, 2 / 10),
        ({"stem.weight": np.zeros(3, np.float32)}, 0, 10, 0, 1, 0.0),  # of another network altogether
        ({}, 0, 10, 0, 0, 0.0),
    ],
)
def test_a_network_on_an_encoder(
    given: dict[str, np.ndarray], loaded: int, missing: int, outside: int, unused: int, fraction: float
) -> None:
    target = Segmenter()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    report = load_weights(target, given)
    assert (len(report.loaded), len(report.missing), len(report.outside)) == (loaded, missing, outside)
    assert (report.reshaped, len(report.unused)) == ([], unused)
    assert report.fraction == fraction
    assert not any(name.startswith("encoder.") for name in report.outside)
    for name, tensor in target.state_dict().items():
        short = name.removeprefix("encoder.")
        expected = torch.from_numpy(HEAD[name] if name in HEAD else tensors()[short])
        assert torch.equal(tensor, expected if name in report.loaded else before[name]), name


def test_an_encoder_of_other_shapes_does_not_fit() -> None:
    narrower = {name: value[:1] if value.ndim else value for name, value in tensors().items()}
    report = load_weights(Segmenter(), narrower)
    assert (report.fraction, len(report.reshaped), len(report.outside)) == (0, 8, 2)


def test_what_lies_outside_is_said() -> None:
    report = load_weights(Segmenter(), tensors())
    assert str(report) == (
        "8 tensors loaded, 0 of another shape left at their start values, 0 not in the file, 2 outside the encoder left"
        " at their start values, 0 in the file not used"
    )


def test_report_reads_as_a_sentence() -> None:
    report = LoadReport(["a"] * 3, ["head.cls"], [], [f"x{i}" for i in range(8)])
    assert str(report) == (
        "3 tensors loaded, 1 of another shape left at their start values (head.cls), 0 not in the file,"
        " 8 in the file not used (x0, x1, x2, x3, x4, x5, ...)"
    )
    assert report.fraction == 0.75
    assert LoadReport().fraction == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_reads_safetensors_of_every_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.tensor([[1.5, -2.0]], dtype=dtype), "count": torch.tensor(3)}, path)
    found = read_safetensors(path)
    assert found["a"].dtype == np.float32
    assert (found["a"].tolist(), found["count"].item()) == ([[1.5, -2.0]], 3)


def _truncated(path: Path) -> None:
    save_file({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"this is a text that someone named so"),
        lambda path: path.write_bytes(b"\xff" * 64),  # a header longer than any memory
        _truncated,
        lambda path: path.mkdir(),
        lambda path: None,  # no such file
    ],
    ids=["empty", "text", "noise", "truncated", "folder", "missing"],
)
def test_a_file_that_is_no_safetensors_is_named(tmp_path: Path, make) -> None:
    path = tmp_path / "weights.safetensors"
    make(path)
    with pytest.raises(ValueError, match=r"weights\.safetensors: not a safetensors file \("):
        read_safetensors(path)


def test_reads_the_initialisers_of_an_onnx_model() -> None:
    """That a whole network comes back from its export is tested with the networks."""
    from onnx import helper, numpy_helper

    given = tensors()
    graph = helper.make_graph(
        [], "empty", [], [], [numpy_helper.from_array(value, name) for name, value in given.items()]
    )
    found = read_onnx(helper.make_model(graph).SerializeToString())
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[name], given[name]) for name in given)
    assert load_weights(network(), found).fraction == 1


def test_bytes_that_are_no_onnx_model() -> None:
    with pytest.raises(ValueError, match="not an ONNX model"):
        read_onnx(b"this is a text that someone named so")
