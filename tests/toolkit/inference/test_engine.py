"""The session: devices and threads that were asked for, and networks that are not what the bundle says."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as state
from tiny_bundle import (
    MAKERS,
    tiny_classifier_network,
    tiny_classifier_spec,
    tiny_network,
    tiny_segmenter_network,
    tiny_segmenter_spec,
    tiny_spec,
)

from toolkit.bundle import Bundle, BundleSpec, write_bundle
from toolkit.bundle_spec import ClassifierNetwork, DetectorNetwork
from toolkit.errors import UserError
from toolkit.inference.engine import Engine, _cgroup_quota, usable_cores
from toolkit.inference.task import task_of
from toolkit.preprocess import Preprocessing

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


def engine_of(bundle: Bundle, **options: object) -> Engine:
    """The engine as a model opens it: with the outputs that the bundle's task promises."""
    return Engine(bundle, task_of(bundle.task).outputs(bundle.spec), **options)  # type: ignore[arg-type]


def bundle_of(tmp_path: Path, data: bytes, /, **changes: object) -> Bundle:
    return write_bundle(tmp_path / "b", tiny_spec(**changes), {"model.onnx": data})  # type: ignore[arg-type]


def red_in_the_middle() -> np.ndarray:
    """Three pictures in BGR: black, red 160, black."""
    batch = np.zeros((3, 3, 64, 64), np.float32)
    batch[1, 2] = 160
    return batch


def test_run_gives_each_pictures_answer(tiny_bundle: Path) -> None:
    (raw,) = engine_of(Bundle.open(tiny_bundle), device="cpu").run(red_in_the_middle(), ("raw",))
    assert raw.shape == (3, 84, 7)
    assert raw.dtype == np.float32
    np.testing.assert_allclose(raw[:, 35, 5], [0, 10, 0])


@pytest.mark.parametrize("names", [("raw",), ("class_map",), ("raw", "class_map"), ("class_map", "raw")])
def test_outputs_come_by_name_in_the_order_of_the_call(names: tuple[str, ...], tmp_path: Path) -> None:
    found = engine_of(Bundle.open(MAKERS["classification"](tmp_path / "b"))).run(red_in_the_middle(), names)
    shapes = {"raw": (3, 3), "class_map": (3, 3, 8, 8)}
    assert [each.shape for each in found] == [shapes[name] for name in names]
    for each in found:
        np.testing.assert_allclose(each.reshape(3, 3, -1).mean(axis=2)[:, 0], [0, 2.5, 0])


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_device_is_told(device: str, tiny_bundle: Path) -> None:
    engine = engine_of(Bundle.open(tiny_bundle), device=device, threads=1, allow_spinning=False)
    assert engine.device == ("cuda" if HAS_CUDA and device == "auto" else "cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu': expected one of auto, cpu, cuda"),
        ({"device": "CUDA"}, "device 'CUDA': expected one of"),
        ({"threads": 0}, "threads: expected a number from 1 up, got 0"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str, tiny_bundle: Path) -> None:
    with pytest.raises(UserError) as caught:
        engine_of(Bundle.open(tiny_bundle), **options)
    assert str(caught.value).startswith(message)


def test_cuda_is_never_replaced_silently(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to miss it: a build without CUDA, and one whose provider does not start."""
    bundle = Bundle.open(tiny_bundle)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(UserError, match="was built without CUDA"):
        engine_of(bundle, device="cuda")
    assert engine_of(bundle, device="auto").device == "cpu"

    real = onnxruntime.InferenceSession
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda data, options, providers: real(data, options, providers=providers[-1:])
    )
    with pytest.raises(UserError, match="could not start its CUDA provider"):
        engine_of(bundle, device="cuda")
    assert engine_of(bundle, device="auto").device == "cpu"


@pytest.mark.parametrize(
    ("network", "spec", "message"),
    [
        (b"", {}, "cannot be loaded by ONNX Runtime"),
        (b"text, not a network", {}, "cannot be loaded by ONNX Runtime"),
        (tiny_network()[:900], {}, "cannot be loaded by ONNX Runtime"),
        (
            tiny_network(),
            {"network": DetectorNetwork(architecture="tiny", input="pixels")},
            "has no 'pixels', it has images",
        ),
        (
            tiny_network(),
            {"network": DetectorNetwork(architecture="tiny", output="boxes")},
            "has no 'boxes', it has raw",
        ),
        (tiny_network(), {"labels": ("a", "b", "c")}, "'raw' is tensor(float) ['batch', 84, 7]; bundle.yaml asks for"),
        (
            tiny_network(),
            {"network": DetectorNetwork(architecture="tiny", strides=(8, 16))},
            "bundle.yaml asks for tensor(float) ['batch', 80, 7]",
        ),
        (tiny_network(batch=1), {}, "with a free batch size"),
        (
            tiny_network(),
            {"preprocessing": Preprocessing(input_size=(64, 64), pad_multiple=32)},
            "['batch', 3, 64, 64]; bundle.yaml asks for tensor(float) ['batch', 3, 'height', 'width'] with a free batch"
            " size and a free height and width",
        ),
    ],
)
def test_a_network_that_does_not_fit(network: bytes, spec: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        engine_of(bundle_of(tmp_path, network, **spec), device="cpu")
    assert message in str(caught.value)
    assert str(tmp_path / "b") in str(caught.value)
    assert "\n" not in str(caught.value)


PLAIN = ClassifierNetwork(architecture="tiny")
RENAMED = ClassifierNetwork(architecture="tiny", map_output="evidence")
DETECTOR, CLASSIFIER, SEGMENTER = tiny_network(), tiny_classifier_network(), tiny_segmenter_network()


@pytest.mark.parametrize(
    ("network", "spec", "message"),
    [
        (CLASSIFIER, tiny_classifier_spec(labels=("a", "b")), "'raw' is tensor(float) ['batch', 3]; bundle.yaml asks"),
        (CLASSIFIER, tiny_classifier_spec(network=RENAMED), "has no 'evidence', it has raw, class_map"),
        (DETECTOR, tiny_classifier_spec(network=PLAIN), "asks for tensor(float) ['batch', 3] with"),
        (
            CLASSIFIER,
            tiny_classifier_spec(preprocessing=Preprocessing(input_size=(64, 96))),
            "'images' is tensor(float) ['batch', 3, 64, 64]; bundle.yaml asks for tensor(float) ['batch', 3, 64, 96]",
        ),
        (DETECTOR, tiny_segmenter_spec(), "'raw' is tensor(float) ['batch', 84, 7]; bundle.yaml asks for"),
        (SEGMENTER, tiny_segmenter_spec(labels=("a", "b")), "asks for tensor(float) ['batch', 2, None, None]"),
        (SEGMENTER, tiny_classifier_spec(network=PLAIN), "'raw' is tensor(float) ['batch', 3, 8, 8]; bundle.yaml"),
    ],
)
def test_a_network_of_another_form_or_task(network: bytes, spec: BundleSpec, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        engine_of(write_bundle(tmp_path / "b", spec, {"model.onnx": network}), device="cpu")
    assert message in str(caught.value)


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(tiny_network())
    model.graph.input.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    with pytest.raises(UserError, match="more than one input"):
        engine_of(bundle_of(tmp_path, model.SerializeToString()), device="cpu")


@pytest.mark.parametrize("where", ["working directory", "elsewhere"])
def test_weights_outside_the_file_are_refused(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime alone would load them, unverified, from the working directory."""
    outside = tmp_path / "outside"
    outside.mkdir()
    model = onnx.load_from_string(tiny_network())
    onnx.save(model, outside / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=1000)
    assert (outside / "weights.bin").stat().st_size > 1000
    monkeypatch.chdir(outside if where == "working directory" else tmp_path)
    with pytest.raises(UserError, match="keeps weights in another file, and a bundle's network must be one file"):
        engine_of(bundle_of(tmp_path, (outside / "m.onnx").read_bytes()), device="cpu")


def test_eight_threads_at_once(tiny_bundle: Path) -> None:
    engine = engine_of(Bundle.open(tiny_bundle), device="cpu", threads=1)
    answers: dict[int, list[float]] = {}

    def ask(index: int) -> None:
        batch = np.zeros((1, 3, 64, 64), np.float32)
        batch[:, 2] = 16 * index
        answers[index] = [float(engine.run(batch, ("raw",))[0][0, 35, 5]) for _ in range(50)]

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {index: [float(index)] * 50 for index in range(8)}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu.max": "rubbish"}, None),
    ],
)
def test_cgroup_quota(files: dict[str, str], expected: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _cgroup_quota(tmp_path) == expected


@pytest.mark.parametrize(("quota", "cores"), [(None, 6), (0.5, 1), (2.5, 3), (64.0, 6)])
def test_usable_cores(quota: float | None, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr("toolkit.inference.engine._cgroup_quota", lambda root: quota)
    assert usable_cores() == cores


def test_what_larger_runs_left_is_given_back(tmp_path: Path) -> None:
    """In a process of its own: the memory that others freed would hide it."""
    script = """
from pathlib import Path
import numpy as np
from toolkit.bundle import Bundle
from toolkit.inference import Model

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

model = Model(Bundle.open("zoo/bundles/garbage_classification"), device="cpu", threads=1, precision="fp32")
one, eight = (np.zeros((rows, 3, *model.spec.preprocessing.input_size), np.float32) for rows in (1, 8))
alone = model.network(one)[0]
small = resident()
model.network(eight), model.network(eight)
large = resident()
model.give_back()
same = np.array_equal(model.network(one)[0], alone) and np.array_equal(model.network(one)[0], alone)
print(same, large - small, resident() - small)
"""
    root = Path(__file__).parents[3]
    told = subprocess.run([sys.executable, "-c", script], cwd=root, check=True, capture_output=True, text=True).stdout
    same, risen, left = told.split()
    assert same == "True"
    assert float(risen) > 30  # MiB
    assert float(left) < float(risen) / 2


def test_a_provider_that_fails_is_not_replaced_silently(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime's own answer to a failing GPU is another session, on the CPU."""
    engine = engine_of(Bundle.open(tiny_bundle), device="cpu")
    session = engine._session
    real, tried = session._sess, []

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def run(self, *arguments: object) -> None:
            tried.append(arguments)
            raise state.EPFail("the device is lost")

    monkeypatch.setattr(session, "_sess", Broken())
    monkeypatch.setattr(session, "set_providers", lambda *_: pytest.fail("went to another provider"))
    with pytest.raises(state.EPFail, match="the device is lost"):
        engine.run(red_in_the_middle(), ("raw",))
    assert len(tried) == 1
