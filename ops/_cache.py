"""Where compiled kernels are kept when no place that numba knows can be written: a read-only image, a user without a
home. numba refuses to compile there at all; here the process gets a folder of its own, with what others compiled in it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from numba.core import caching, config

# A container always has it, also where its own file system is read-only and nothing is mounted at /tmp.
_SHARED_MEMORY = Path("/dev/shm")
_COMPILED = ("*.nbi", "*.nbc")


class PrivateCopy(caching._SourceFileBackedLocatorMixin, caching._CacheLocator):  # type: ignore[misc]
    """numba's last place to keep compiled functions: a folder that ends with the process."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        """Raises OSError where not even that can be written."""
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        name = self.get_suitable_cache_subpath(py_file)  # type: ignore[no-untyped-call]
        self._cache_path = str(_filled(Path(py_file).resolve().parent, name))

    def get_cache_path(self) -> str:
        return self._cache_path

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> PrivateCopy | None:
        try:
            return super().from_function(py_func, py_file)  # type: ignore[no-any-return, no-untyped-call]
        except OSError:
            return None


@cache
def _filled(sources: Path, name: str) -> Path:
    """The private folder for the functions of one folder, with what can be read of their other places."""
    folder = _home() / name
    folder.mkdir()
    chosen = getattr(config, "CACHE_DIR", "")  # numba makes it of NUMBA_CACHE_DIR
    places = [sources / "__pycache__", *([Path(chosen) / name] if chosen else [])]
    for place in places:
        for pattern in _COMPILED:
            for file in place.glob(pattern):
                shutil.copy(file, folder)
    return folder


@cache
def _home() -> Path:
    """A new folder that only this user may enter: whoever could write there would choose what is run."""
    try:
        made = tempfile.mkdtemp(prefix="numba-")
    except FileNotFoundError:
        made = tempfile.mkdtemp(prefix="numba-", dir=_SHARED_MEMORY)
    atexit.register(_remove, made, os.getpid())
    return Path(made)


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


if PrivateCopy not in caching.CacheImpl._locator_classes:
    caching.CacheImpl._locator_classes.append(PrivateCopy)
