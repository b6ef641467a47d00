"""Counting detections by falling score: what COCO's curves and its average precision are made of.

Compiled helpers, all flat arrays: ``found`` and ``late`` int64 [A, M, T], ``misses`` int64 [A, M], ``best`` and ``at``
float64 [T, R, A, M], for T IoU thresholds, R recalls, A area ranges and M numbers of detections.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(nogil=True, error_model="numpy")

_TINY = np.spacing(1)  # pycocotools adds it to every denominator


@_compiled
def recall_steps(positives, recalls, first, last):  # type: ignore[no-untyped-def]
    """``first[r]``: how many hits reach recall r. ``last[n]``: the last recall that n hits reach, -1 for none."""
    n = 0
    for r in range(recalls.size):
        while n <= positives and n / positives < recalls[r]:
            last[n] = r - 1
            n += 1
        first[r] = n
    for rest in range(n, positives + 1):
        last[rest] = recalls.size - 1


@_compiled
def repeat_rows(start, stop, scores, pictures, times, rows):  # type: ignore[no-untyped-def]
    """List the rows of one class as often as their pictures count; return how many these are.

    As in a set in which each picture stands so often: of equal scores in one picture, all of one copy come first.
    """
    n = 0
    while start < stop:
        end = start + 1
        while end < stop and pictures[end] == pictures[start] and not scores[end] < scores[start]:
            end += 1
        for _ in range(times[pictures[start]]):
            for i in range(start, end):
                rows[n] = i
                n += 1
        start = end
    return n


@_compiled
def _plain(i, hits, ignored, lowest, every):  # type: ignore[no-untyped-def]
    """Whether a detection is no hit anywhere, and counts in an area range at all IoU thresholds alike."""
    plain = True
    for w in range(hits.shape[1]):
        plain = plain and hits[i, w] == 0 and (ignored[i, w] & lowest) * every == ignored[i, w]
    return plain


@_compiled
def walk(  # type: ignore[no-untyped-def]
    rows, start, stop, scores, ranks, hits, ignored, areas, limits, each, thresholds, last, found, misses, late,
    best, at,
):  # fmt: skip
    """Count the detections of one class, best first, and note precision where an object is found.

    ``rows[start:stop]``, or ``start:stop`` where there are no ``rows``. ``late`` are misses at some thresholds only;
    ``best`` is the greatest precision from one recall up to the next, ``at`` the score at the first.
    """
    every, one, lowest = np.uint64(2**64 - 1) >> np.uint64(64 - thresholds), np.uint64(1), np.uint64(0)
    for a in range(each):
        lowest |= one << np.uint64(a * thresholds)
    wide = areas.size * limits.size
    recalls = best.size // (thresholds * wide)
    for s in range(start, stop):
        i = rows[s] if rows.size else s
        plain = _plain(i, hits, ignored, lowest, every)
        for a in range(areas.size):
            word, shift = areas[a] // each, np.uint64(areas[a] % each * thresholds)
            if plain:  # nine of ten are: counted without a branch, which would be guessed wrong too often
                counts = one & ~(ignored[i, word] >> shift)
                for m in range(limits.size):
                    misses[a * limits.size + m] += counts & np.uint64(ranks[i] < limits[m])
                continue
            hit, skip = (hits[i, word] >> shift) & every, (ignored[i, word] >> shift) & every
            miss = every & ~(hit | skip)
            for m in range(limits.size):
                if ranks[i] >= limits[m]:
                    continue
                base, m = (a * limits.size + m) * thresholds, a * limits.size + m
                if miss:
                    for t in range(thresholds):
                        late[base + t] += (miss >> np.uint64(t)) & one
                rest, t = hit, 0
                while rest:
                    if rest & one:
                        n = found[base + t] + 1
                        found[base + t] = n
                        step = last[a, n]
                        if step >= 0:
                            wrong = np.float64(misses[m] + late[base + t])
                            place = (t * recalls + step) * wide + m
                            best[place] = max(best[place], n / (wrong + n + _TINY))
                            if step != last[a, n - 1]:
                                at[place] = scores[i]
                    rest, t = rest >> one, t + 1
