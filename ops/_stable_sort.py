"""Stable sorts by score inside compiled code, long lists by their digits: faster than numba's own argsort."""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(nogil=True, error_model="numpy")

_SIGN, _ALL, _INFINITY = np.uint64(1 << 63), np.uint64(2**64 - 1), np.uint64(0x7FF << 52)
_0, _1, _11, _32 = np.uint64(0), np.uint64(1), np.uint64(11), np.uint64(32)
_DIGIT, _LOW = np.uint64(2**11 - 1), np.uint64(2**32 - 1)

# Lists this long are faster sorted by their digits first.
_LONG = 256


@_compiled
def falling(bits):  # type: ignore[no-untyped-def]
    """The bits of a float64 as a number that rises as the value falls: -0 equals 0, NaN is the last of all."""
    if bits & ~_SIGN > _INFINITY:
        return _ALL
    if bits == _SIGN:
        bits = _0
    return bits if bits & _SIGN else ~(bits | _SIGN)


@_compiled
def merge_sort(keys, items, start, stop, spare_keys, spare_items):  # type: ignore[no-untyped-def]
    """Sort ``start:stop`` of keys (rising) and their items; equal keys keep their order. The spares are as long."""
    rising = True
    for i in range(start + 1, stop):
        rising = rising and keys[i - 1] <= keys[i]
    width = stop - start if rising else 1
    while width < stop - start:
        for low in range(start, stop, 2 * width):
            middle, high = min(low + width, stop), min(low + 2 * width, stop)
            i, j = low, middle
            for k in range(low, high):
                left = j == high or (i < middle and keys[i] <= keys[j])
                best = i if left else j
                spare_keys[k - start], spare_items[k - start] = keys[best], items[best]
                i, j = (i + 1, j) if left else (i, j + 1)
        for k in range(start, stop):
            keys[k], items[k] = spare_keys[k - start], spare_items[k - start]
        width *= 2


@_compiled
def _by_digit(entries, to, size, shift, counts):  # type: ignore[no-untyped-def]
    """One pass of a radix sort: eleven bits from ``shift`` on."""
    for digit in range(counts.size):
        counts[digit] = 0
    for i in range(size):
        counts[(entries[i] >> shift) & _DIGIT] += 1
    total = 0
    for digit in range(counts.size):
        total, counts[digit] = total + counts[digit], total
    for i in range(size):
        digit = (entries[i] >> shift) & _DIGIT
        to[counts[digit]] = entries[i]
        counts[digit] += 1


@_compiled
def sort_by_key(keys, items, start, stop, spare_keys, spare_items, entries, other, counts):  # type: ignore[no-untyped-def]
    """`merge_sort`, of long lists by digits first.

    The leading 22 bits of the range that the keys span are packed with the place into one number and sorted by digit;
    the few rows that these bits do not tell apart are then put right by their whole keys. All spares are as long as
    the list, but ``counts`` has 2048.
    """
    size, shift, base = stop - start, np.uint64(64), _0
    if size >= _LONG:
        high, base = keys[start], keys[start]
        for i in range(start, stop):
            base, high = min(base, keys[i]), max(high, keys[i])
        shift = _0
        while (high - base) >> shift > _LOW >> np.uint64(10):
            shift += _1
        for i in range(size):
            entries[i] = (((keys[start + i] - base) >> shift) << _32) | np.uint64(i)
        _by_digit(entries, other, size, _32, counts)
        _by_digit(other, entries, size, _32 + _11, counts)
        for i in range(size):
            spare_keys[i], spare_items[i] = keys[start + (entries[i] & _LOW)], items[start + (entries[i] & _LOW)]
        for i in range(size):
            keys[start + i], items[start + i] = spare_keys[i], spare_items[i]
    low = start
    for i in range(start + 1, stop + 1):
        if i == stop or (size >= _LONG and (keys[i] - base) >> shift != (keys[i - 1] - base) >> shift):
            if i - low > 1:
                merge_sort(keys, items, low, i, spare_keys, spare_items)
            low = i


_SIGN32, _INFINITY32, _ALL32 = np.uint64(1 << 31), np.uint64(0x7F800000), np.uint64(2**32 - 1)


@_compiled
def _falling32(bits):  # type: ignore[no-untyped-def]
    """`falling` for the bits of a float32, as a number of 32 bits."""
    if bits & ~_SIGN32 > _INFINITY32:
        return _ALL32
    if bits == _SIGN32:
        bits = _0
    return bits if bits & _SIGN32 else _ALL32 - _SIGN32 - bits


@_compiled
def falling_entry(bits, place):  # type: ignore[no-untyped-def]
    """The bits of a float32 score and its place in one number: rising as scores fall and, of equals, places rise."""
    return (_falling32(np.uint64(bits)) << _32) | np.uint64(place)  # no two alike: any sort of them is stable


@_compiled
def place_of(entry):  # type: ignore[no-untyped-def]
    return np.int64(entry & _LOW)


@_compiled
def by_leading_digit(entries, size):  # type: ignore[no-untyped-def]
    """Return the first ``size`` entries by the eleven leading bits of the range that they span, and where these begin.

    That is most of a sort, and enough for a walk that may end early: it sorts the entries of a digit (`sort_digit`)
    when it comes to them.
    """
    to, counts, shift = np.empty(size, np.uint64), np.empty(2**11, np.int64), _32
    low, high = _ALL, _0
    for i in range(size):
        low, high = min(low, entries[i]), max(high, entries[i])
    base = low & ~_LOW
    while (max(high, base) - base) >> shift > _DIGIT:
        shift += _1
    for i in range(size):
        entries[i] -= base
    _by_digit(entries, to, size, shift, counts)
    return to, shift


@_compiled
def sort_digit(entries, start, shift):  # type: ignore[no-untyped-def]
    """Sort the entries from ``start`` on that have its leading digit; return where they end. Source: Shell (1959)."""
    stop, digit, gap = start + 1, entries[start] >> shift, 1
    while stop < entries.size and entries[stop] >> shift == digit:
        stop += 1
    while gap < (stop - start) // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(start + gap, stop):
            entry, k = entries[i], i
            while k >= start + gap and entries[k - gap] > entry:
                entries[k] = entries[k - gap]
                k -= gap
            entries[k] = entry
        gap //= 3
    return stop


@_compiled
def falling_order(scores):  # type: ignore[no-untyped-def]
    """Return int64 [N], the places of contiguous float32 scores from high to low: of equals the lower, NaN last."""
    size = scores.size
    bits = scores.view(np.uint32)
    entries, other = np.empty(size, np.uint64), np.empty(size, np.uint64)
    for i in range(size):
        entries[i] = falling_entry(bits[i], i)
    order = np.empty(size, np.int64)
    if size < _LONG:
        merge_sort(entries, order, 0, size, other, np.empty(size, np.int64))
    else:
        counts = np.empty(2**11, np.int64)
        _by_digit(entries, other, size, _32, counts)
        _by_digit(other, entries, size, _32 + _11, counts)
        _by_digit(entries, other, size, _32 + _11 + _11, counts)
        entries = other
    for i in range(size):
        order[i] = place_of(entries[i])
    return order
