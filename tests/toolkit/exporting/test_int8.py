"""int8: kept only where it is faster and no class loses; either way the bundle says so, and answers by it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import toolkit
from toolkit.api import export_to
from toolkit.bundle import Bundle
from toolkit.errors import UserError
from toolkit.exporting.int8 import Trial, losses, tell
from toolkit.exporting.quantize import SCHEMES, Scheme, quantize, the_end
from toolkit.inference import check_golden, load

Runs = Callable[[str], Path]


def layers(*nodes: tuple[str, str, str, str]) -> Any:
    """A graph of nodes: operator, name, inputs, outputs."""
    made = [helper.make_node(kind, given.split(), out.split(), name=name) for kind, name, given, out in nodes]
    return helper.make_graph(made, "g", [], [])


@pytest.mark.parametrize(
    ("graph", "last"),
    [
        (layers(("Conv", "a", "x w", "y"), ("Relu", "r", "y", "z"), ("Conv", "b", "z w", "o")), ["b"]),
        (layers(("Conv", "a", "x w", "y"), ("Conv", "b", "y w", "o"), ("Conv", "c", "y w", "p")), ["b", "c"]),
        (layers(("Conv", "a", "x w", "y"), ("Sigmoid", "s", "y", "z"), ("Mul", "m", "y z", "o")), ["a", "s", "m"]),
        (layers(("Conv", "a", "x w", "y"), ("Conv", "b", "x w", "z"), ("Add", "p", "y z", "s"),
                ("Gemm", "g", "s w", "o")), ["g"]),
        # What mixes a last layer's output with an earlier one comes after it.
        (layers(("Conv", "a", "x w", "y"), ("Conv", "b", "y w", "z"), ("Concat", "c", "y z", "o")), ["b", "c"]),
        (layers(("Relu", "r", "x", "y")), []),
    ],
)  # fmt: skip
def test_the_end_of_a_network(graph: Any, last: list[str]) -> None:
    assert the_end(graph) == last


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_int8_computes_what_fp32_does_in_a_quarter_of_the_bytes(scheme: Scheme) -> None:
    """Two convolutions of 64 channels, which NumPy's float64 computes beside both."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1 / 8, (64, 16)), rng.normal(0, 1 / 8, (64, 64))
    network = of_convolutions(first, second)
    pictures = [rng.normal(0, 1, (1, 16, 8, 8)).astype(np.float32) for _ in range(8)]
    small = quantize(network, scheme, lambda: iter(pictures), "images")
    middle = [np.maximum(np.einsum("oc,bchw->bohw", first, picture), 0) for picture in pictures]
    expected = [np.einsum("oc,bchw->bohw", second, each) for each in middle]
    spread = max(float(np.abs(each).max()) for each in expected)
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    two = np.concatenate(pictures[:2])  # the batch stays free
    (found,) = session.run(None, {"images": two})
    error = np.abs(found - np.concatenate(expected[:2]))
    assert error.max() < (0.06 if not scheme.average else 0.25) * spread  # what lies out of an averaged range is cut
    assert error.mean() < 0.01 * spread
    weights = {i.name: i.data_type for i in onnx.load_from_string(small).graph.initializer if len(i.dims) == 4}
    assert sorted(weights.values()) == ([onnx.TensorProto.INT8] * 2 if scheme.last else [1, onnx.TensorProto.INT8])
    assert b"/tmp" not in small


def of_convolutions(*weights: np.ndarray) -> bytes:
    """images [B, C, h, w] through 1 x 1 convolutions with rectifiers between."""
    name, nodes, held = "images", [], []
    for index, values in enumerate(weights):
        held.append(onnx.numpy_helper.from_array(values[:, :, None, None].astype(np.float32), f"w{index}"))
        nodes.append(helper.make_node("Conv", [name, f"w{index}"], [f"y{index}"], name=f"conv{index}"))
        nodes.append(helper.make_node("Relu", [f"y{index}"], [f"z{index}"], name=f"relu{index}"))
        name = f"z{index}"
    nodes = nodes[:-1]
    tensors = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", channels, 8, 8])
        for name, channels in (("images", weights[0].shape[1]), (f"y{len(weights) - 1}", weights[-1].shape[0]))
    ]
    graph = helper.make_graph(nodes, "g", tensors[:1], tensors[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def trial(gain: float, **lost: float | None) -> Trial:
    return Trial("all", gain, dict(lost), dict(lost)) if lost else Trial("all", gain)


ALONE, FAST = "fp32 ships alone: int8 ", "times as fast"
MOST = "both networks take 11.8 MB and export.max_megabytes is 10"
SENTENCES = [
    ([trial(1.5, cat=0.004, dog=-0.1)], None, True,
     f"int8 (all) is 1.5 {FAST} as fp32 and cat loses most, 0.4 points of recall"),
    ([trial(1.5, cat=-0.1, dog=None)], None, True, f"int8 (all) is 1.5 {FAST} as fp32 and no class loses any recall"),
    ([trial(1.5, cat=0.006)], None, False,
     f"{ALONE}was tried and is 1.5 {FAST}, but cat loses 0.6 points of recall (0.5 are allowed)"),
    # Of those that lose too much the one that loses least is told.
    ([trial(1.5, cat=0.1), trial(1.3, cat=0.01, dog=0.02), trial(0.9)], None, False,
     f"{ALONE}was tried and is 1.3 {FAST}, but dog loses 2.0 points of recall (0.5 are allowed)"),
    ([trial(0.9), trial(1.04)], None, False, f"{ALONE}was tried and is 1.04 {FAST}, not 1.05"),
    ([trial(0.9), trial(1.2, cat=0.0)], 11.8, True,
     f"{ALONE}(all) is 1.2 {FAST} as fp32 and no class loses any recall, but {MOST}"),
]  # fmt: skip


@pytest.mark.parametrize(("trials", "megabytes", "passed", "sentence"), SENTENCES)
def test_what_came_of_it(trials: list[Trial], megabytes: float | None, passed: bool, sentence: str) -> None:
    assert trials[-1].passed is passed
    assert tell(trials, "recall", megabytes, 10.0) == sentence


def test_losses_are_of_classes_that_both_measured() -> None:
    fp32: dict[str, float | None] = {"a": 0.5, "b": None, "c": 0.5}
    assert losses(fp32, {"a": 0.25, "b": 0.5, "c": None}) == {"a": 0.25, "b": None, "c": None}


@pytest.fixture
def exported(quick_runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A copy of the classifier's run, exported anew by a clock that says how many times as fast int8 is."""

    def of(gain: float, *overrides: str) -> Path:
        run = Path(shutil.copytree(quick_runs("classification"), tmp_path / "run"))
        network = (run / "bundle/model.onnx").read_bytes()
        monkeypatch.setattr("toolkit.exporting.export.to_onnx", lambda *_: network)
        clock = SimpleNamespace(gain=lambda *_, **__: gain)
        monkeypatch.setattr("toolkit.exporting.int8.time_answers", lambda *_: clock)
        export_to(run, overrides=["export.int8=auto", *overrides])
        return run

    return of


def test_a_bundle_with_int8(exported: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick classifier tells three colours apart, which int8 does as well."""
    run = exported(1.5)
    bundle = Bundle.open(run)
    assert bundle.spec.network.files() == {"fp32": "model.onnx", "int8": "model.int8.onnx"}
    assert len(bundle.network_bytes("int8")) < len(bundle.network_bytes())
    fast, exact = load(run, "cpu"), load(run, "cpu", precision="fp32")
    assert (fast.precision, exact.precision) == ("int8", "fp32")
    assert check_golden(fast) == check_golden(exact) == []

    picture = np.full((40, 60, 3), (200, 60, 40), np.uint8)
    quick, slow = (each.predict_one(picture) for each in (fast, exact))
    assert quick.label == slow.label  # type: ignore[union-attr]
    difference = np.abs(quick.probabilities - slow.probabilities).max()  # type: ignore[union-attr]
    assert 0 < difference < 0.1  # another network, and no other answer

    shipped = json.loads((run / "bundle/metrics.json").read_text(encoding="utf-8"))
    assert shipped["bundle"]["precision"] == "int8"
    assert toolkit.evaluate(run) == shipped
    assert "precision" not in toolkit.evaluate(run, precision="fp32")["bundle"]

    told = json.loads((run / "bundle/parity.json").read_text(encoding="utf-8"))["int8"]
    assert told["kept"]
    assert told["service"]["largest_difference"] < 1e-5
    assert max(told["tried"][-1]["loss"].values()) <= told["largest_loss"] == 0.005
    card = (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"- {told['told']}." in card
    assert "computed in int8" in card
    speed = json.loads((run / "bundle/speed.json").read_text(encoding="utf-8"))
    assert set(speed["milliseconds"]) == {"fp32", "int8"}

    (run / "bundle/model.int8.onnx").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"model\.int8\.onnx does not match its recorded SHA-256"):
        load(run)


@pytest.mark.parametrize(
    ("gain", "overrides", "told"),
    [
        (0.8, (), "fp32 ships alone: int8 was tried and is 0.80 times as fast, not 1.05"),
        (1.5, ("export.max_megabytes=0.1",), "MB and export.max_megabytes is 0.1"),
    ],
)
def test_a_bundle_without(gain: float, overrides: tuple[str, ...], told: str, exported: Callable[..., Path]) -> None:
    run = exported(gain, *overrides)
    bundle = Bundle.open(run)
    assert "model.int8.onnx" not in bundle.names()
    assert bundle.spec.network.int8 is not None
    assert told in bundle.spec.network.int8.told
    assert told in (run / "bundle/MODEL_CARD.md").read_text(encoding="utf-8")
    assert bundle.read_json("parity.json")["int8"]["kept"] is False
    assert load(run, "cpu").precision == "fp32"
    with pytest.raises(UserError, match="holds fp32 only"):
        load(run, "cpu", precision="int8")
    assert not list(run.glob(".bundle-draft*"))
