"""How kernels are compiled, and that neither a fork nor many threads at once harm a process that runs them."""

from __future__ import annotations

import ast
import concurrent.futures
import importlib
import multiprocessing
import os
import pkgutil
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numba
import pytest

import ops
from ops import _kernel
from ops._cuda import CudaKernel
from ops._kernel import Kernel, lone_caller

ROOT = Path(ops.__file__).parents[1]

# Every operator with a parallel kernel, on inputs large enough for it, as one digest of all results.
WORK = """
import hashlib, os, sys, threading
import numba, numpy as np, ops
from ops._kernel import lone_caller

rng = np.random.default_rng(0)
picture = rng.integers(0, 256, (2000, 2100, 3), np.uint8)
corner = rng.uniform(0, 500, (400, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 200, (400, 2))], 1).astype(np.float32)
raw = rng.normal(size=(3, 84, 8)).astype(np.float32)
x = rng.normal(size=(40000, 16)).astype(np.float32)
gain, shift = rng.normal(size=(2, 16)).astype(np.float32)
logits = rng.normal(size=(5, 64, 64)).astype(np.float32)
maps = rng.normal(size=(1, 24, 30, 40)).astype(np.float32)
voxels = rng.random((11, 300, 310)) < 0.4
hounsfield = rng.integers(-1000, 400, (11, 300, 310), np.int16)
wide, parts = np.tile(hounsfield, (2, 1, 1)), rng.integers(0, 5, (22, 300, 310), np.uint8)
found, ids = rng.uniform(1, 50, (30000, 4)), rng.integers(3, size=30000)
true, places = (rng.uniform(1, 50, (300, 4)), rng.integers(3, size=300)), np.arange(30000) // 100

def work():
    y, mean, variance = ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu")
    results = [
        ops.letterbox(picture, (416, 320))[0],
        ops.resize_normalize(picture, (416, 320))[0],
        ops.crop_resize(picture, boxes, (24, 24)),
        ops.roi_align(maps, boxes, (7, 7), scale=1 / 16),
        ops.roi_align_backward(np.ones((400, 24, 7, 7), np.float32), boxes, maps.shape, scale=1 / 16),
        ops.argmax_resize(logits, (2000, 2100)),
        *ops.connected_components(voxels, 26),
        ops.largest_component(voxels, 6),
        ops.resample_volume(hounsfield, (1, 1, 1), (1.5, 0.7, 0.8)),
        ops.window_hu(wide, -600, 1500),
        *ops.boundary_distance(voxels, parts[:11] == 1, (1.5, 0.7, 0.7)),
        ops.masks_from_rois(logits, boxes[:5], (500, 600)),
        *ops.lung_statistics(wide, parts, (1, 1, 1), 4, [-900, -500, 0]),
        ops.box_iou(boxes, boxes),
        ops.complete_box_iou(boxes, boxes),
        *ops.simota_assign(raw, boxes[:9] / 8, np.zeros(9, np.int64), [3, 3, 3], input_size=(64, 64)),
        *ops.task_aligned_assign(1 / (1 + np.exp(-raw)), boxes[:252].reshape(3, 84, 4), boxes[:84, :2].copy(),
                                 boxes[:9], np.zeros(9, np.int64), [3, 3, 3]),
        ops.sigmoid_focal_loss(x, (x > 0).astype(np.float32)),
        ops.sigmoid_focal_loss_backward(x, (x > 0).astype(np.float32), x),
        *ops.decode_detections(raw[0], input_size=(64, 64), score_threshold=0.1),
        ops.nms(boxes, boxes[:, 0].copy(), 0.5),
        ops.rotated_box_iou(np.c_[boxes, boxes[:, 0]], np.c_[boxes, boxes[:, 1]]),
        y, mean, variance,
        *ops.batch_norm_act_backward(y, x, mean, variance, gain, shift, 1e-3, activation="relu6"),
        ops.coco_accumulate(ops.coco_match(found, found[:, 0].copy(), ids, *true, classes=3, pictures=places,
                            truth_pictures=np.arange(300), picture_count=300)).precision,
    ]
    return hashlib.sha256(b"".join(np.ascontiguousarray(r).tobytes() for r in results)).hexdigest()
"""

SCRIPTS = {
    "fork after a parallel kernel": """
first = work()
assert lone_caller()
child = os.fork()
if child == 0:
    os._exit(0 if not lone_caller() and work() == first else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert work() == first and lone_caller()
""",
    "8 threads at once, and the main thread in parallel kernels meanwhile": """
from concurrent.futures import ThreadPoolExecutor
first = work()
with ThreadPoolExecutor(8) as pool:
    answers = [pool.submit(work) for _ in range(16)]
    mine = [work() for _ in range(4)]
assert {first, *mine, *(answer.result() for answer in answers)} == {first}
""",
    "1 and 2 threads": """
assert numba.get_num_threads() == 2 and lone_caller()
two = work()
numba.set_num_threads(1)
assert not lone_caller()
assert work() == two
""",
}


def layers() -> list[str]:
    """The threading layers that this numba brings (workqueue always; OpenMP where its library is present)."""
    try:
        importlib.import_module("numba.np.ufunc.omppool")
    except ImportError:
        return ["workqueue"]
    return ["workqueue", "omp"]


@pytest.mark.parametrize("layer", layers())
@pytest.mark.parametrize("script", list(SCRIPTS))
def test_survives(script: str, layer: str) -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", WORK + SCRIPTS[script]], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


def test_importing_compiles_nothing() -> None:
    check = "import ops; from ops._kernel import Kernel; assert {k._compiled for k in Kernel.registry} == {None}"
    subprocess.run([sys.executable, "-c", check], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, timeout=60)


def test_every_parallel_kernel_has_a_serial_twin() -> None:
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"ops.{module.name}")
    twins = {(k.function.__module__, k.signature, k.fastmath) for k in Kernel.registry if not k.parallel}
    parallel = [k for k in Kernel.registry if k.parallel]
    assert parallel
    assert all((k.function.__module__, k.signature, k.fastmath) in twins for k in parallel)


def _answer(connection: Any) -> None:
    connection.send(lone_caller())


@pytest.fixture
def two_threads() -> Any:
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this process may use one core only, so nobody here runs parallel kernels")
    before = numba.get_num_threads()
    numba.set_num_threads(2)
    yield
    numba.set_num_threads(before)


def test_lone_caller_is_the_main_thread(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_kernel, "_forked", False)  # pytest itself may run in a fork
    assert lone_caller()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lone_caller).result()
    numba.set_num_threads(1)
    assert not lone_caller()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_lone_caller_is_nobodys_child(two_threads: None, method: str) -> None:
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    child = context.Process(target=_answer, args=(theirs,))
    child.start()
    try:
        assert ours.poll(60)
        assert ours.recv() is False
    finally:
        child.join(60)


def test_is_compiled_once_however_many_threads_call_first(monkeypatch: pytest.MonkeyPatch) -> None:
    compilations = []

    stamp = _kernel.stamp_with_sources

    def slow_stamp(dispatcher: Any, *rest: Any) -> None:
        compilations.append({key: dispatcher.targetoptions[key] for key in ("nogil", "fastmath", "parallel")})
        time.sleep(0.05)
        stamp(dispatcher)

    monkeypatch.setattr(_kernel, "stamp_with_sources", slow_stamp)
    monkeypatch.setattr(Kernel, "registry", [])
    double = _kernel.kernel("int64(int64)", fastmath=True)(lambda x: 2 * x)
    assert Kernel.registry == [double]
    barrier = threading.Barrier(8)

    def call(x: int) -> int:
        barrier.wait()
        return int(double(x))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert compilations == [{"nogil": True, "fastmath": True, "parallel": False}]


FILES = {
    "_kernel": None,  # the real one
    "number": "from numba import njit\n@njit(cache=True)\ndef number():\n    return 1\n",
    "helper": "from numba import njit\nfrom ops.number import number\n@njit(cache=True)\ndef helper():\n"
    "    return number()\n",
    "caller": "from ops import helper as other\nfrom ops._kernel import kernel\nfrom ops.helper import helper\n"
    "@kernel('int64()')\ndef ask():\n    return helper()\n",
    "stranger": "ONE = 1\n",
}
ASK = """
from ops.caller import ask
answer = ask()
print(answer, sum(ask._compiled.stats.cache_hits.values()))
"""


def test_a_kernel_compiles_anew_when_a_file_that_it_imports_changes(tmp_path: Path) -> None:
    """numba's cache looks at the kernel's own file only; ours must look at all it is made of, and at nothing else."""
    package = tmp_path / "ops"
    package.mkdir()
    (package / "__init__.py").write_text("")
    shutil.copy(ROOT / "ops/_kernel.py", package)
    for name, text in FILES.items():
        if text is not None:
            (package / f"{name}.py").write_text(text)

    def ask() -> str:
        done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert ask() == "1 0"
    (package / "stranger.py").write_text("ONE = 2\n")
    os.utime(package / "caller.py")
    assert ask() == "1 1"  # neither another file's edit nor a checkout of the same text
    (package / "number.py").write_text(FILES["number"].replace("return 1", "return 2"))  # type: ignore[union-attr]
    assert ask() == "2 0"


SOURCES = [
    ("box_iou", {"box_iou", "_arith"}),
    ("simota_assign", {"simota_assign", "box_iou", "decode_detections", "nms", "letterbox", "_arith", "_cuda_order"}),
]


@pytest.mark.parametrize(("module", "expected"), SOURCES)
def test_the_sources_of_a_kernel(module: str, expected: set[str]) -> None:
    found = {path.stem for path in _kernel.sources_of(ROOT / f"ops/{module}.py")}
    assert found >= expected  # and what those are made of, which may change
    assert not found & (_kernel._AROUND | {"soft_nms", "letterbox_batch", "rle_encode"})


def test_no_kernel_is_made_of_what_is_around_it() -> None:
    """The files that the stamp leaves out: a kernel may use their names as decorators only (and numba.cuda's)."""
    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"ops.{module.name}")
    functions = [kernel.function for kernel in (*Kernel.registry, *CudaKernel.registry)]
    assert len(functions) > 20
    for function in functions:
        for used in (function, *(helper.py_func for helper in _kernel.helpers_of(function))):
            names = set(_kernel._names(used.__code__))
            tree = ast.parse(Path(used.__code__.co_filename).read_text(encoding="utf-8"))
            imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
            around = [i for i in imports if (i.module or "").removeprefix("ops.") in _kernel._AROUND]
            assert names & {alias.name for node in around for alias in node.names} <= {"cuda"}, used
