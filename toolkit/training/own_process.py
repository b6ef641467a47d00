"""What a training sets for its own process: its libraries' advice, threads and memory. Imports none of them."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import sys
import warnings

# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def quiet() -> None:
    """Keep the libraries' advice out of the user's way; warnings about the user's own run still come through."""
    for name in (
        "lightning.pytorch",  # Lightning sets the level of this one anew when it is imported, after this
        "lightning.fabric",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.pytorch.trainer.connectors.checkpoint_connector",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*litlogger.*",
        ".*smaller than the logging.*",
        ".*exists and is not empty.*",  # the checkpoints of a resumed run
        ".*broadcast_buffers. is deprecated.*",  # of what shall take its place, older versions of torch know nothing
        ".*in eval mode at the start of training.*",  # batch norm, where train.freeze_bn_statistics asks for it
        ".*sync_dist=True.*",  # what validation logs is the same in all processes
    ):
        warnings.filterwarnings("ignore", pattern)


def share_cores(workers: int) -> None:
    """Settle how torch's and numba's threads wait; nothing that the user has set is changed. ``workers``: the loader's.

    Each brings an OpenMP team, and an idle one that spins on the other's cores costs speed: it must sleep. Loaded
    before torch, numba's runtime serves both: then the one team may spin for its next piece, a few milliseconds at
    most, which saves a network of small layers the waking up (`python -m benchmarks.train_step`). With loader workers
    the cores have other work meanwhile.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules and not workers:
        os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with contextlib.suppress(ImportError):  # numba without OpenMP: nothing to share
        importlib.import_module("numba.np.ufunc.omppool")


def keep_memory() -> None:
    """Let glibc keep what torch gives back: pages fetched anew for every step cost a quarter of it and more.

    `python -m benchmarks.allocator` has the figures. Other C libraries have no ``mallopt``; there is nothing to set.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for parameter, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 64 * 2**20)):
            libc.mallopt(parameter, value)
