"""One ONNX Runtime session: its device, its threads, and the check that the file is the network that the bundle says.

Arrays in, arrays out; it knows nothing of pictures or thresholds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolkit.bundle import Bundle
from toolkit.errors import UserError, suggest

if TYPE_CHECKING:
    import onnxruntime

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "int8")
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"


class Engine:
    """Runs a bundle's network. Several threads may call ``run`` at once."""

    def __init__(
        self,
        bundle: Bundle,
        outputs: Mapping[str, Sequence[int | str | None]],
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        allow_spinning: bool = True,
    ) -> None:
        """Open a session on ``device``: "cpu", "cuda", or "auto" (CUDA where it works, else the CPU; see ``.device``).

        ``precision`` is "fp32", "int8" (of a bundle that has it, on the CPU), or "auto": int8 where both are so, as it
        was faster when the bundle was made and no class lost by it.
        ``outputs`` are the names and shapes that the file must have, see `Task.outputs`. ``threads`` (default: the
        cores this process may use) work on one picture. Spinning threads answer sooner and burn their core while they
        wait, so a service that shares its machine turns it off.
        """
        if threads is not None and threads < 1:
            raise UserError(f"threads: expected a number from 1 up, got {threads!r}")
        self.input = bundle.spec.network.input
        self.threads = threads or usable_cores()
        providers = _providers(device)
        self.precision = _precision(bundle, precision, providers)
        file = bundle.spec.network.files()[self.precision]
        self._session = _open(bundle, file, providers, _options(self.threads, allow_spinning))
        self.device = "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"
        if device == "cuda" and self.device != "cuda":
            raise UserError(
                "device 'cuda': ONNX Runtime could not start its CUDA provider (its log above says why); "
                "check the driver, CUDA and cuDNN, or use device 'cpu'"
            )
        _check_interface(self._session, bundle, file, outputs)
        # ONNX Runtime would answer a failing GPU by a new session on the CPU, without a word; for that it keeps the
        # file's bytes, which nobody else needs.
        self._session.disable_fallback()
        self._session._model_bytes = None
        self._give_back = False

    def run(self, batch: NDArray[np.float32], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """The named outputs, each float32 [B, ...], of a C-contiguous batch float32 [B, 3, h, w].

        ``h`` and ``w`` are what `Preprocessing.size_for` gives.
        """
        options, self._give_back = _giving_back() if self._give_back else None, False
        return self._session.run(outputs, {self.input: batch}, options)  # type: ignore[no-any-return]

    def give_back(self) -> None:
        """After the next run, give back the memory that no run holds: larger ones, of other shapes, leave theirs.

        The run after that one takes what it needs anew, a few milliseconds.
        """
        self._give_back = self.device == "cpu"


def usable_cores() -> int:
    """How many cores this process may use: the affinity mask and, in a container, the cgroup's quota (rounded up)."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(allowed, math.ceil(quota)) if quota else allowed)


def _cgroup_quota(root: Path) -> float | None:
    """Cores granted by cgroup v2 (``cpu.max``) or v1 (``cpu.cfs_*``); None without a limit."""
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # no cgroup here, or "max"
        return None


def _providers(device: str) -> list[Any]:
    import onnxruntime

    if device not in DEVICES:
        raise UserError(f"device {device!r}: expected one of {', '.join(DEVICES)}{suggest(device, DEVICES)}")
    if device == "cpu":
        return [_CPU]
    if _CUDA not in onnxruntime.get_available_providers():
        if device == "cuda":
            raise UserError(
                "device 'cuda': the installed ONNX Runtime was built without CUDA; install the [cuda] extra, "
                "or use device 'cpu'"
            )
        return [_CPU]
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA and cuDNN where pip installed them
    # TF32 would round to 10 bits of mantissa; the parity that a bundle certifies is fp32's.
    return [(_CUDA, {"use_tf32": "0"}), _CPU]


def _precision(bundle: Bundle, asked: str, providers: list[Any]) -> str:
    """The precision to run in: int8's kernels are the CPU's."""
    if asked not in PRECISIONS:
        raise UserError(f"precision {asked!r}: expected one of {', '.join(PRECISIONS)}{suggest(asked, PRECISIONS)}")
    held, on_cpu = "int8" in bundle.spec.network.files(), providers == [_CPU]
    if asked == "auto":
        return "int8" if held and on_cpu else "fp32"
    if asked == "int8" and not held:
        tried = bundle.spec.network.int8
        why = tried.told if tried else "int8 was not tried when it was exported"
        raise UserError(f"precision 'int8': {bundle.path} holds fp32 only ({why}); use precision 'fp32' or 'auto'")
    if asked == "int8" and not on_cpu:
        raise UserError("precision 'int8' is for the CPU; use device 'cpu', or precision 'fp32'")
    return asked


def _options(threads: int, allow_spinning: bool) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if allow_spinning else "0")
    # Between two runs the core belongs to decoding and the operators: see way 4 in docs/benchmarks.md.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Weights outside the file have no hash in the bundle, and ONNX Runtime would look for them in the working
    # directory; nothing can lie under the null device.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    return options


def _giving_back() -> onnxruntime.RunOptions:
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _open(
    bundle: Bundle, file: str, providers: list[Any], options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    faults = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    where = f"bundle {bundle.path}: {file}"
    try:
        return onnxruntime.InferenceSession(bundle.read(file), options, providers=providers)
    except faults as error:
        reason = " ".join(str(error).split())
        if "external data" in reason.lower():
            raise UserError(
                f"{where} keeps weights in another file, and a bundle's network must be one file; "
                "export it again without external data"
            ) from None
        raise UserError(f"{where} cannot be loaded by ONNX Runtime ({reason}); export the bundle again") from None


def _check_interface(
    session: onnxruntime.InferenceSession, bundle: Bundle, file: str, outputs: Mapping[str, Sequence[int | str | None]]
) -> None:
    """Compare names, types and the sizes that the file fixes with the bundle's spec."""
    spec = bundle.spec
    free = spec.preprocessing.pad_multiple is not None
    size: tuple[int | str, int | str] = ("height", "width") if free else spec.preprocessing.input_size
    # The input first: a wrong input size would be seen at the outputs too.
    expected: dict[str, tuple[Any, list[int | str | None]]] = {
        spec.network.input: (session.get_inputs(), ["batch", 3, *size])
    }
    expected |= {name: (session.get_outputs(), list(shape)) for name, shape in outputs.items()}
    for name, (nodes, shape) in expected.items():
        found = {node.name: node for node in nodes}
        where = f"bundle {bundle.path}: {file}"
        if name not in found:
            raise UserError(f"{where} has no {name!r}, it has {', '.join(found)}; export the bundle again")
        node = found[name]
        if node.type != "tensor(float)" or not _fits(node.shape, shape):
            raise UserError(
                f"{where}: {name!r} is {node.type} {node.shape}; bundle.yaml asks for tensor(float) {shape} "
                f"with a free batch size{' and a free height and width' if free else ''}; export the bundle again"
            )
    if len(session.get_inputs()) != 1:
        raise UserError(f"bundle {bundle.path}: {file} has more than one input; export the bundle again")


def _fits(found: list[Any], expected: list[Any]) -> bool:
    """Whether the shapes agree: a size that the file leaves open (a name or None) fits, where a name stands it must."""
    return len(found) == len(expected) and all(
        b is None or not isinstance(a, int) or a == b for a, b in zip(found, expected, strict=True)
    )
