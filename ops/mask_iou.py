"""Intersection over union of every mask of one set with every mask of another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ops._cuda import cuda, cuda_kernel
from ops._device import DeviceMemory, memory_of
from ops._kernel import kernel, lone_caller

# Counting the bits of a word in parallel: pairs, then groups of 4, then bytes, which the product adds up.
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_BYTES, _ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_1, _2, _4, _56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@njit(nogil=True, cache=True, inline="always")
def _bits(word):  # type: ignore[no-untyped-def]
    word = word - ((word >> _1) & _PAIRS)
    word = (word & _FOURS) + ((word >> _2) & _FOURS)
    word = (word + (word >> _4)) & _BYTES
    return (word * _ONES) >> _56


@njit(nogil=True, cache=True)
def _extents(words):  # type: ignore[no-untyped-def]
    """First word with foreground, word after the last, and area of each mask."""
    result = np.empty((words.shape[0], 3), np.int64)
    for mask in range(words.shape[0]):
        first, stop, area = words.shape[1], 0, np.uint64(0)
        for k in range(words.shape[1]):
            if words[mask, k] != 0:
                first, stop = min(first, k), k + 1
                area += _bits(words[mask, k])
        result[mask, 0], result[mask, 1], result[mask, 2] = first, stop, area
    return result


@njit(nogil=True, cache=True)
def _row(i, a, a_extents, b, b_extents, out):  # type: ignore[no-untyped-def]
    for j in range(b.shape[0]):
        first, stop = max(a_extents[i, 0], b_extents[j, 0]), min(a_extents[i, 1], b_extents[j, 1])
        left, right = a[i, first : max(first, stop)], b[j, first : max(first, stop)]
        both = np.uint64(0)
        for k in range(left.size):
            both += _bits(left[k] & right[k])
        shared = np.int64(both)
        union = a_extents[i, 2] + b_extents[j, 2] - shared
        out[j] = np.float32(shared / union) if shared > 0 else np.float32(0)


_SIGNATURE = "void(Array(uint64, 2, 'C', readonly=True), Array(uint64, 2, 'C', readonly=True), float32[:,::1])"


@kernel(_SIGNATURE)
def _serial(a, b, out):  # type: ignore[no-untyped-def]
    a_extents, b_extents = _extents(a), _extents(b)
    for i in range(a.shape[0]):
        _row(i, a, a_extents, b, b_extents, out[i])


@kernel(_SIGNATURE, parallel=True)
def _parallel(a, b, out):  # type: ignore[no-untyped-def]
    a_extents, b_extents = _extents(a), _extents(b)
    for i in prange(a.shape[0]):
        _row(i, a, a_extents, b, b_extents, out[i])


@cuda_kernel("void(Array(uint8, 2, 'C', readonly=True), uint64[:,::1])")
def _pack_twin(masks, words):  # type: ignore[no-untyped-def]
    """One bit per pixel; ``words`` [K, N], so that neighbouring threads of `_twin` read neighbouring masks."""
    for k in range(cuda.grid(1), words.size, cuda.gridsize(1)):
        word, mask = k // words.shape[1], k % words.shape[1]
        bits = np.uint64(0)
        for i in range(64 * word, min(64 * word + 64, masks.shape[1])):
            bits = (bits << _1) | np.uint64(masks[mask, i] != 0)
        words[word, mask] = bits


@cuda_kernel(
    "void(Array(uint64, 2, 'C', readonly=True), Array(uint64, 2, 'C', readonly=True), float32[:,::1])", block=(128, 1)
)
def _twin(a, b, out):  # type: ignore[no-untyped-def]
    from_j, from_i = cuda.grid(2)
    step_j, step_i = cuda.gridsize(2)
    for i in range(from_i, out.shape[0], step_i):
        for j in range(from_j, out.shape[1], step_j):
            both = either = np.uint64(0)
            for k in range(a.shape[0]):
                both += _bits(a[k, i] & b[k, j])
                either += _bits(a[k, i] | b[k, j])
            out[i, j] = np.float32(np.int64(both) / np.int64(either)) if both > 0 else np.float32(0)


def _packed_on_device(memory: DeviceMemory, masks: Any) -> Any:
    count, height, width = masks.shape
    words = memory.empty(((height * width + 63) // 64, count), np.uint64)
    memory.launch(_pack_twin, words.size, masks.reshape(count, height * width), words)
    return words


def _packed(masks: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One bit per pixel: what all pairs read again and again becomes an eighth."""
    pixels = masks.shape[1] * masks.shape[2]
    packed = np.zeros((len(masks), (pixels + 63) // 64 * 8), np.uint8)
    packed[:, : (pixels + 7) // 8] = np.packbits(masks.reshape(len(masks), pixels), axis=1)
    return packed.view(np.uint64)


def mask_iou(a: Any, b: Any) -> NDArray[np.float32]:
    """Return the IoU of each pair of masks.

    Args:
        a: uint8 or bool [N, H, W]; what is not zero is foreground.
        b: uint8 or bool [M, H, W], of the same size.

    Returns:
        float32 [N, M] in 0..1; 0 where nothing is shared, two empty masks among them. Cost: one read of all masks,
        and per pair one of H*W/64 words or fewer, as rows that one of both leaves empty are skipped at the ends.
        For masks that are run-length encoded already there is `rle_iou`. Takes device arrays too.
    """
    memory = memory_of(a=a, b=b)
    left, right = memory.mask(a, "a", ("N", "H", "W")), memory.mask(b, "b", ("M", "H", "W"))
    if tuple(left.shape[1:]) != tuple(right.shape[1:]):
        raise ValueError(f"expected masks of one size, got a of shape {left.shape} and b of shape {right.shape}")
    out: NDArray[np.float32] = memory.output(None, np.float32, (left.shape[0], right.shape[0]))
    if memory.on_device:
        words_a, words_b = _packed_on_device(memory, left), _packed_on_device(memory, right)
        memory.launch(_twin, (right.shape[0], left.shape[0]), words_a, words_b, out)
        return out
    words_a, words_b = _packed(left), _packed(right)
    # 1 million words take about 0.3 ms on one core: below that a team of threads does not pay.
    large = out.size * words_a.shape[1] > 1_000_000
    (_parallel if large and lone_caller() else _serial)(words_a, words_b, out)
    return out
