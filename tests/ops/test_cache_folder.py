"""Where nothing can be written that numba knows, kernels still run: what others compiled is used, in a private folder.

Root may write everywhere, so numba's own places are taken away rather than locked.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALL = """
import numpy as np, ops
from ops._kernel import Kernel
print(ops.box_iou(np.float32([[0, 0, 4, 4]]), np.float32([[0, 0, 4, 2]])).tolist())
found = [each._compiled for each in Kernel.registry if each._compiled]
print([(sum(each.stats.cache_hits.values()), sum(each.stats.cache_misses.values())) for each in found])
print(found[0].stats.cache_path)
"""
LAST_RESORT_ONLY = """
from numba.core.caching import CacheImpl
CacheImpl._locator_classes[:] = []
"""


def run(code: str, **environment: str) -> list[str]:
    """What it prints, in a process of its own."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_others_compiled_is_used_and_nothing_is_left_behind(tmp_path: Path) -> None:
    cached, temporary = tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    places = {"NUMBA_CACHE_DIR": str(cached), "TMPDIR": str(temporary)}
    assert run(CALL, **places)[:2] == ["[[0.5]]", "[(0, 1)]"]
    before = {path: path.stat().st_mtime_ns for path in cached.rglob("*")}
    result, hits, folder = run(LAST_RESORT_ONLY + CALL, **places)
    assert (result, hits) == ("[[0.5]]", "[(1, 0)]")
    assert Path(folder).is_relative_to(temporary)
    assert not list(temporary.iterdir())
    assert {path: path.stat().st_mtime_ns for path in cached.rglob("*")} == before


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no shared memory on this system")
def test_without_a_folder_for_temporary_files_it_compiles_in_shared_memory() -> None:
    no_folder = "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc/nothing']\n"
    result, _, folder = run(LAST_RESORT_ONLY + no_folder + CALL, NUMBA_CACHE_DIR="/proc/nothing")
    assert result == "[[0.5]]"
    assert Path(folder).is_relative_to("/dev/shm")
    assert not Path(folder).exists()
