"""``toolkit doctor`` and ``warmup``: is this installation sound, and how are its operators compiled?"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_BASE = ("numpy", "numba", "opencv-python-headless", "pillow", "onnxruntime", "pydantic", "fastapi", "uvicorn")
_TRAIN = ("torch", "lightning", "albumentations", "onnx", "onnxscript", "safetensors", "matplotlib")


def examine() -> tuple[list[str], list[str]]:
    """Return (what is here, what is wrong), each a list of lines."""
    problems: list[str] = []
    import toolkit

    lines = [f"toolkit {toolkit.__version__}, Python {platform.python_version()}, {platform.platform()}"]
    for title, names in (("base", _BASE), ("train", _TRAIN)):
        found = {name: _version(name) for name in names}
        missing = [name for name, version in found.items() if version is None]
        lines.append(
            f"{title}: " + ", ".join(f"{name} {version or 'not installed'}" for name, version in found.items())
        )
        if missing and title == "base":
            problems.append(f"missing {', '.join(missing)}: install them with pip install cv-toolkit")
        elif missing:
            lines.append("  (training needs pip install 'cv-toolkit[train]'; predicting and serving do not)")
    problems += _conflicts()
    lines += _devices(problems) + _threads() + _memory() + _caches(problems) + _zoo(problems)
    return lines, problems


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _conflicts() -> list[str]:
    """Distributions that overwrite each other's folder."""
    pairs = (
        ("opencv-python", "opencv-python-headless", "cv2"),
        ("onnxruntime-gpu", "onnxruntime", "onnxruntime"),
    )
    return [
        f"{a} and {b} are both installed and share the folder {folder}: pip uninstall both, then install one"
        for a, b, folder in pairs
        if _version(a) and _version(b)
    ]


def _devices(problems: list[str]) -> list[str]:
    if importlib.util.find_spec("onnxruntime") is None:
        return []
    import onnxruntime

    lines = [f"inference devices: {', '.join(onnxruntime.get_available_providers())}"]
    if importlib.util.find_spec("torch") is not None:
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
        lines.append(f"training device: {name}")
    return lines


def _threads() -> list[str]:
    import numba

    from toolkit.inference.engine import usable_cores

    policy = os.environ.get("OMP_WAIT_POLICY", "not set (`toolkit train` sets what suits it)")
    return [f"threads: {usable_cores()} usable cores, numba {numba.get_num_threads()}, OMP_WAIT_POLICY {policy}"]


def _memory(huge_pages: Path = Path("/sys/kernel/mm/transparent_hugepage/enabled")) -> list[str]:
    """What only who starts the process can set; `python -m benchmarks.allocator` has what it gains."""
    if platform.libc_ver()[0] != "glibc" or not huge_pages.is_file() or "[madvise]" not in huge_pages.read_text():
        return []  # another allocator, or a system that gives them to all or to none
    if "malloc.hugetlb" in os.environ.get("GLIBC_TUNABLES", "") or "malloc" in os.environ.get("LD_PRELOAD", ""):
        return []
    return ["for faster training on the CPU: start it with GLIBC_TUNABLES=glibc.malloc.hugetlb=1 (huge pages)"]


def _caches(problems: list[str]) -> list[str]:
    """Kernels are cached beside the package, or in the user's cache folder where that is read-only."""
    import ops

    beside = Path(ops.__file__).parent / "__pycache__"
    writable = os.access(beside if beside.exists() else beside.parent, os.W_OK)
    home = os.environ.get("NUMBA_CACHE_DIR") or ("the package folder" if writable else "the user's cache folder")
    if not writable and not os.environ.get("NUMBA_CACHE_DIR") and not os.access(Path.home(), os.W_OK):
        problems.append("no writable place for compiled kernels: set NUMBA_CACHE_DIR to a writable folder")
    return [f"kernel cache: {home}"]


def _zoo(problems: list[str]) -> list[str]:
    from toolkit.bundle import Bundle
    from toolkit.bundles import find, names
    from toolkit.config.load import shipped_configs
    from toolkit.errors import UserError

    for name in names():
        try:
            Bundle.open(find(name))
        except UserError as error:
            problems.append(str(error))
    if not shipped_configs():
        problems.append("the shipped configs are missing: reinstall cv-toolkit")
    return [f"bundles: {', '.join(names()) or 'none'}", f"configs: {', '.join(shipped_configs())}"]


def compile_all() -> Iterator[tuple[str, float]]:
    """Compile (or fetch from the cache) every kernel of `ops`, yielding its name and the seconds it took.

    The CUDA twins are among them where there is a GPU.
    """
    import ops
    from ops._cuda import CudaKernel, has_device
    from ops._kernel import Kernel

    for module in pkgutil.iter_modules(ops.__path__):
        importlib.import_module(f"ops.{module.name}")
    for kernel in (*Kernel.registry, *(CudaKernel.registry if has_device() else ())):
        started = time.perf_counter()
        kernel.compile()
        yield kernel.name, time.perf_counter() - started
    sys.stdout.flush()
