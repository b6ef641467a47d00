"""How the C library keeps memory: it holds on to what a picture needed for the next one, and gives back what lies idle
between the heaps of many threads, which it does not do by itself. Other C libraries than glibc have neither call.
"""

from __future__ import annotations

import ctypes

# The names of <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
# The largest that glibc takes: half a heap of a thread.
_MAPPED_BYTES = 32 * 2**20
_KEPT_BYTES = 16 * 2**20
# More heaps than this only hold more holes; a picture takes few and large pieces, so threads do not queue for them.
_HEAPS = 2


def hold_on() -> None:
    """Let freed memory be used again. For a process that decodes pictures without end: call it before threads start.

    Left alone, the C library maps a decoded picture's megabytes anew for every request, and the kernel clears each
    page and locks the address space of all threads for it. `trim` gives back what lies idle.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc; others have a mallopt of the same name that means other things
        for option, value in (
            (_M_MMAP_THRESHOLD, _MAPPED_BYTES),
            (_M_TRIM_THRESHOLD, _KEPT_BYTES),
            (_M_ARENA_MAX, _HEAPS),
        ):
            libc.mallopt(option, value)


def trim() -> None:
    """Give back what is free. It takes milliseconds, so it is called in a thread.

    Decoded pictures of all sizes and the sessions of replaced models leave holes that the heap keeps: where nothing is
    given back, docs/acceptance/serve_faults.py watches the memory grow.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
