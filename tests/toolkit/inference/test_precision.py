"""Which of a bundle's networks answers. The int8 one here is the other way round, so that the answer tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from onnx import load_from_string, numpy_helper
from tiny_bundle import COLD, WARM, flat, tiny_network, tiny_spec
from typer.testing import CliRunner

from serve.app import create_app
from serve.inprocess import InProcessClient
from toolkit.bundle import write_bundle
from toolkit.bundle_spec import DetectorNetwork, Int8
from toolkit.cli.main import app
from toolkit.errors import UserError
from toolkit.images import encode
from toolkit.inference import check_golden, load, make_golden, predict


def turned_round() -> bytes:
    """The tiny detector, which takes warm for cold."""
    model = load_from_string(tiny_network())
    for tensor in model.graph.initializer:
        if tensor.name == "colour":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), "colour"))
    return bytes(model.SerializeToString())


@pytest.fixture
def both(tmp_path: Path) -> Path:
    network = DetectorNetwork(architecture="tiny", int8=Int8(file="model.int8.onnx", told="faster"))
    files = {"model.onnx": tiny_network(), "model.int8.onnx": turned_round()}
    write_bundle(tmp_path / "both", tiny_spec(network=network), files)
    return tmp_path / "both"


@pytest.mark.parametrize(("asked", "computed", "label"), [
    ("auto", "int8", "cold"), ("int8", "int8", "cold"), ("fp32", "fp32", "warm"),
])  # fmt: skip
def test_the_network_that_was_asked_for_answers(asked: str, computed: str, label: str, both: Path) -> None:
    model = load(both, "cpu", precision=asked)
    assert model.precision == computed
    assert model.predict_one(flat(WARM)).labels == [label]  # type: ignore[union-attr]
    assert predict(both, flat(WARM), device="cpu", precision=asked).labels == [label]  # type: ignore[union-attr]
    with InProcessClient(create_app(model)) as client:
        assert client.predict(encode(flat(WARM), ".png"))["labels"] == [label]
    picture = both.parent / "warm.png"
    picture.write_bytes(encode(flat(WARM), ".png"))
    done = CliRunner().invoke(
        app, ["predict", str(both), str(picture), "--json", "--device", "cpu", "--precision", asked]
    )
    assert json.loads(done.stdout)["labels"] == [label]


def test_without_int8_auto_is_fp32(tiny_bundle: Path) -> None:
    assert load(tiny_bundle, "cpu").precision == "fp32"


@pytest.mark.parametrize(
    ("told", "asked", "sentence"),
    [
        (None, "int8", "holds fp32 only (int8 was not tried when it was exported); use precision 'fp32' or 'auto'"),
        ("fp32 ships alone: slower", "int8", "holds fp32 only (fp32 ships alone: slower)"),
        (None, "fp16", "precision 'fp16': expected one of auto, fp32, int8"),
        (None, "int9", "did you mean 'int8'?"),
    ],
)
def test_what_cannot_be_had(told: str | None, asked: str, sentence: str, tmp_path: Path) -> None:
    network = DetectorNetwork(architecture="tiny", int8=None if told is None else Int8(told=told))
    write_bundle(tmp_path / "b", tiny_spec(network=network), {"model.onnx": tiny_network()})
    with pytest.raises(UserError) as caught:
        load(tmp_path / "b", "cpu", precision=asked)
    assert sentence in str(caught.value)


def test_a_named_network_that_is_not_there(tmp_path: Path) -> None:
    network = DetectorNetwork(architecture="tiny", int8=Int8(file="model.int8.onnx", told="faster"))
    with pytest.raises(UserError, match=r"the network file model\.int8\.onnx is not among the files to write"):
        write_bundle(tmp_path / "b", tiny_spec(network=network), {"model.onnx": tiny_network()})


def test_each_precision_has_golden_answers_of_its_own(both: Path, tmp_path: Path) -> None:
    fast, exact = load(both, "cpu"), load(both, "cpu", precision="fp32")
    golden = make_golden(exact, [flat(WARM), flat(COLD)], int8=fast)
    files = {name: fast.bundle.read(name) for name in fast.bundle.names()}
    write_bundle(tmp_path / "c", fast.spec, {**files, **golden})
    assert check_golden(load(tmp_path / "c", "cpu")) == []
    assert check_golden(load(tmp_path / "c", "cpu", precision="fp32")) == []
    # One network in the other's place: in each picture one box is missing and one is too many.
    swapped = {"model.onnx": files["model.int8.onnx"], "model.int8.onnx": files["model.onnx"]}
    write_bundle(tmp_path / "d", fast.spec, {**swapped, **golden})
    for precision in ("fp32", "int8"):
        assert len(check_golden(load(tmp_path / "d", "cpu", precision=precision))) == 4


def test_int8_of_another_rounding_is_still_golden(both: Path, tmp_path: Path) -> None:
    """A score that is a level off is no fault of a machine that computes int8 in another way; in fp32 it is."""
    model = load(both, "cpu")
    golden = make_golden(load(both, "cpu", precision="fp32"), [flat((140, 60, 100))], int8=model)
    content = json.loads(golden["golden/expected.json"])
    for answers in content.values():
        answers["0.png"]["scores"] = [score - 0.01 for score in answers["0.png"]["scores"]]
    files = {name: model.bundle.read(name) for name in model.bundle.names()}
    files |= {**golden, "golden/expected.json": json.dumps(content).encode()}
    write_bundle(tmp_path / "c", model.spec, files)
    assert check_golden(load(tmp_path / "c", "cpu")) == []
    assert len(check_golden(load(tmp_path / "c", "cpu", precision="fp32"))) == 2
