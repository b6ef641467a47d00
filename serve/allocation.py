"""Gives memory that is free inside the C library back to the system, which it does not do by itself between the heaps
of many threads.
"""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Give back what is free. It takes milliseconds, so it is called in a thread.

    Decoded pictures of all sizes and the sessions of replaced models leave holes that the heap keeps: where nothing is
    given back, docs/acceptance/serve_faults.py watches the memory grow. Other C libraries than glibc have no
    ``malloc_trim``; nothing is done there.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
