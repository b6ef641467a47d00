"""How kernels are compiled, and that neither a fork nor many threads at once harm a process that runs them."""

from __future__ import annotations

import ast
import concurrent.futures
import importlib
import inspect
import json
import multiprocessing
import os
import pkgutil
import re
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

# What each public function of `ops` is called with, those with a parallel kernel on inputs large enough for it; `work`
# calls all and gives a digest of each one's answer.
WORK = """
import hashlib, os, sys, threading
import numba, numpy as np, ops
from ops._kernel import lone_caller

rng = np.random.default_rng(0)
picture = rng.integers(0, 256, (2000, 2100, 3), np.uint8)
small = picture[:300, :400]
corner = rng.uniform(0, 500, (400, 2))
boxes = np.concatenate([corner, corner + rng.uniform(1, 200, (400, 2))], 1).astype(np.float32)
scores, ids = boxes[:, 0].copy(), rng.integers(0, 3, 400)
raw = rng.normal(size=(3, 84, 8)).astype(np.float32)
x = rng.normal(size=(40000, 16)).astype(np.float32)
gain, shift = rng.normal(size=(2, 16)).astype(np.float32)
y, mean, variance = ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu")
logits = rng.normal(size=(5, 64, 64)).astype(np.float32)
maps = rng.normal(size=(1, 24, 30, 40)).astype(np.float32)
voxels = rng.random((11, 300, 310)) < 0.4
masks = rng.random((40, 300, 310)) < 0.4
hounsfield = rng.integers(-1000, 400, (11, 300, 310), np.int16)
wide, parts = np.tile(hounsfield, (2, 1, 1)), rng.integers(0, 5, (22, 300, 310), np.uint8)
surfaces = voxels[:, :100, :100], parts[:11, :100, :100] == 1
turned = np.c_[boxes, scores]
fractions = boxes / 800
rles = [ops.rle_encode(mask) for mask in masks[:8]]
outline = np.array([[10.5, 3], [250, 40], [120, 290]])
found, classes = rng.uniform(1, 50, (30000, 4)), rng.integers(3, size=30000)
true, places = (rng.uniform(1, 50, (300, 4)), rng.integers(3, size=300)), np.arange(30000) // 100
matched = lambda: ops.coco_match(found, found[:, 0].copy(), classes, *true, classes=3, pictures=places,
                                 truth_pictures=np.arange(300), picture_count=300)
matches = matched()
vignette = ops.operator(dtype=np.float32)(lambda grey, light: grey / light)
total = ops.operator("reduce", initial=0)(lambda a, b: a + b)
shifted = ops.operator("gather")(lambda y, x, by: (y * by, x))
fused = ops.fuse(vignette, total)
assigned = dict(boxes=boxes[:9] / 8, class_ids=np.zeros(9, np.int64), counts=[3, 3, 3])

CALLS = {
    "argmax_resize": lambda: ops.argmax_resize(logits, (2000, 2100)),
    "batch_norm_act": lambda: ops.batch_norm_act(x, gain, shift, 1e-3, activation="silu"),
    "batch_norm_act_backward": lambda: ops.batch_norm_act_backward(y, x, mean, variance, gain, shift, 1e-3,
                                                                   activation="relu6"),
    "batched_nms": lambda: ops.batched_nms(boxes, scores, ids, 0.5),
    "boundary_distance": lambda: ops.boundary_distance(*surfaces, (1.5, 0.7, 0.7)),
    "box_convert": lambda: ops.box_convert(boxes, "xyxy", "cxcywh"),
    "box_iou": lambda: ops.box_iou(boxes, boxes),
    "boxes_to_picture": lambda: ops.boxes_to_picture(boxes, ops.Placement(0.5, 0.5, 3, 4), (900, 900)),
    "channel_statistics": lambda: ops.channel_statistics(picture),
    "clip_boxes": lambda: ops.clip_boxes(boxes, (300, 300)),
    "coco_accumulate": lambda: ops.coco_accumulate(matches).precision,
    "coco_average_precision": lambda: ops.coco_average_precision(matches, np.ones((20, 300), np.int64)),
    "coco_match": lambda: (lambda m: [m.scores, m.hits, m.ignored])(matched()),
    "complete_box_iou": lambda: ops.complete_box_iou(boxes, boxes),
    "confusion_matrix": lambda: ops.confusion_matrix(parts, parts[::-1], 5),
    "connected_components": lambda: ops.connected_components(voxels, 26),
    "crop_resize": lambda: ops.crop_resize(picture, boxes, (24, 24)),
    "decode_detections": lambda: ops.decode_detections(raw[0], input_size=(64, 64), score_threshold=0.1),
    "distance_box_iou": lambda: ops.distance_box_iou(boxes, boxes),
    "fill_holes": lambda: ops.fill_holes(voxels),
    "fuse": lambda: fused(x, 2.0),
    "generalized_box_iou": lambda: ops.generalized_box_iou(boxes, boxes),
    "label_components": lambda: ops.label_components(voxels, 6),
    "largest_component": lambda: ops.largest_component(voxels, 6),
    "letterbox": lambda: [ops.letterbox(picture, (416, 320), exact=exact)[0] for exact in (False, True)],
    "letterbox_batch": lambda: ops.letterbox_batch([small, picture], (416, 320), dtype=np.float16)[0],
    "lung_statistics": lambda: ops.lung_statistics(wide, parts, (1, 1, 1), 4, [-900, -500, 0]),
    "mask_iou": lambda: ops.mask_iou(masks, masks),
    "mask_to_polygons": lambda: ops.mask_to_polygons(masks[0], 8),
    "masks_from_rois": lambda: ops.masks_from_rois(logits, boxes[:5], (500, 600)),
    "mosaic_paste": lambda: (lambda canvas: [ops.mosaic_paste(small, canvas, scale=(2, 3), offset=(-9, 7)), canvas])(
        np.zeros((400, 500, 3), np.uint8)),
    "nms": lambda: ops.nms(boxes, scores, 0.5),
    "operator": lambda: [vignette(x, gain), total(x), shifted(small, 0.5)],
    "paired_box_iou": lambda: ops.paired_box_iou(boxes, boxes[::-1], kind="ciou"),
    "paired_box_iou_backward": lambda: ops.paired_box_iou_backward(boxes, boxes[::-1], scores, kind="ciou"),
    "polygons_to_mask": lambda: ops.polygons_to_mask([outline], (300, 310)),
    "resample_volume": lambda: ops.resample_volume(hounsfield, (1, 1, 1), (1.5, 0.7, 0.8)),
    "resize_normalize": lambda: ops.resize_normalize(picture, (416, 320))[0],
    "rle_area": lambda: ops.rle_area(rles),
    "rle_decode": lambda: ops.rle_decode(rles[0]),
    "rle_encode": lambda: ops.rle_encode(masks[1])["counts"],
    "rle_encode_labels": lambda: [rle["counts"] for rle in ops.rle_encode_labels(parts[0], [1, 3])],
    "rle_iou": lambda: ops.rle_iou(rles, rles),
    "roi_align": lambda: ops.roi_align(maps, boxes, (7, 7), scale=1 / 16),
    "roi_align_backward": lambda: ops.roi_align_backward(np.ones((400, 24, 7, 7), np.float32), boxes, maps.shape,
                                                         scale=1 / 16),
    "rotated_box_iou": lambda: ops.rotated_box_iou(turned[:60], turned[:60]),
    "rotated_nms": lambda: ops.rotated_nms(turned, scores, 0.4),
    "sigmoid_focal_loss": lambda: ops.sigmoid_focal_loss(x, (x > 0).astype(np.float32)),
    "sigmoid_focal_loss_backward": lambda: ops.sigmoid_focal_loss_backward(x, (x > 0).astype(np.float32), x),
    "simota_assign": lambda: ops.simota_assign(raw, **assigned, input_size=(64, 64)),
    "soft_nms": lambda: ops.soft_nms(boxes, scores / 500),
    "task_aligned_assign": lambda: ops.task_aligned_assign(1 / (1 + np.exp(-raw)), boxes[:252].reshape(3, 84, 4),
                                                           boxes[:84, :2].copy(), **assigned),
    "weighted_box_fusion": lambda: ops.weighted_box_fusion(fractions, scores / 500, ids, ids, iou_threshold=0.5),
    "window_hu": lambda: ops.window_hu(wide, -600, 1500),
}

def bytes_of(answer):
    if isinstance(answer, (tuple, list)):
        return b"".join(map(bytes_of, answer))
    return np.ascontiguousarray(answer).tobytes()

def work():
    return {name: hashlib.sha256(bytes_of(call())).digest() for name, call in CALLS.items()}

def agree(answers, where):
    for answer in answers:
        apart = [name for name in CALLS if answer[name] != first[name]]
        assert not apart, f"{where}: another answer of {apart}"
"""

# One process runs all of them, as its start and the kernels' loading take longer than they do.
SCRIPTS = {
    "kernel, fork, kernel": """
assert lone_caller()
child = os.fork()
if child == 0:
    agree([work()], "in the fork")
    os._exit(3 if lone_caller() else 0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert lone_caller()
agree([work()], "after the fork")
""",
    "8 threads at once, and the main thread in parallel kernels meanwhile": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    answers = [pool.submit(work) for _ in range(8)]
    agree([work() for _ in range(2)], "in the main thread")
    agree([answer.result() for answer in answers], "in threads")
""",
    "1 and 2 threads": """
assert numba.get_num_threads() == 2 and lone_caller()
numba.set_num_threads(1)
assert not lone_caller()
agree([work()], "with 1 thread")
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
def test_survives(layer: str) -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2", "NUMBA_THREADING_LAYER": layer, "PYTHONPATH": str(ROOT)}
    script = WORK + "first = work()\n" + "".join(f"print({name!r}){code}" for name, code in SCRIPTS.items())
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == list(SCRIPTS)


def test_every_operator_is_among_those() -> None:
    called = set(re.findall(r'^    "(\w+)": ', WORK, re.MULTILINE))
    assert called == {name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))}


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


# Each module of `ops` alone, without what the package's own file imports: which others Python loads with it.
LOADED = """
import importlib, json, pkgutil, sys, types
package = types.ModuleType("ops")
package.__path__ = [sys.argv[1]]
loaded = {}
for module in pkgutil.iter_modules(package.__path__):
    for name in [name for name in sys.modules if name.startswith("ops.")]:
        del sys.modules[name]
    sys.modules["ops"] = package
    importlib.import_module(f"ops.{module.name}")
    loaded[module.name] = [name.removeprefix("ops.") for name in sys.modules if name.startswith("ops.")]
print(json.dumps(loaded))
"""


def test_the_sources_of_a_kernel() -> None:
    """All that importing its file loads of `ops`, but what is around kernels."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(ROOT / "ops")], capture_output=True, text=True, check=True, timeout=120
    )
    loaded: dict[str, list[str]] = json.loads(done.stdout)
    assert {"_arith", "box_iou", "decode_detections", "nms", "letterbox", "_cuda_order"} < set(loaded["simota_assign"])
    for module, names in loaded.items():
        found = {path.stem for path in _kernel.sources_of(ROOT / f"ops/{module}.py")}
        assert found == set(names) - (_kernel._AROUND - {module}), module


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
