"""The outlines of a mask as polygons along the edges of its pixels, which drawn again give the same mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ops._check import mask_bytes
from ops._kernel import kernel

_compiled = njit(nogil=True, cache=True)


@_compiled
def _edges_of_row(row, changed, edges, count):  # type: ignore[no-untyped-def]
    """Append where runs begin and end. ``changed`` has zeros behind its first ``row.size + 1`` bytes."""
    width = row.size
    changed[0] = row[0] != 0
    for x in range(1, width):
        changed[x] = (row[x] != 0) != (row[x - 1] != 0)
    changed[width] = row[width - 1] != 0
    words = changed.view(np.uint64)  # 8 at a time: most say that nothing changed
    for word in range(words.size):
        if words[word] != 0:
            for x in range(8 * word, 8 * word + 8):
                edges[count] = x  # without a branch: in noise nobody could guess it
                count += changed[x]
    return count


@_compiled
def _all_edges(mask):  # type: ignore[no-untyped-def]
    """Where runs begin (even ones) and end (odd ones), row after row; those of row ``y`` end before ``last[y]``."""
    height, width = mask.shape
    edges, last = np.empty(height * (width + 1) + 1, np.uint32), np.empty(height, np.int64)
    changed = np.zeros((width + 8) // 8 * 8, np.uint8)
    count = 0
    for y in range(height):
        row, some = mask[y], np.uint8(0)
        for x in range(width):
            some = np.uint8(some | row[x])
        if some != 0:
            count = _edges_of_row(row, changed, edges, count)
        last[y] = count
    return edges[:count], last


@_compiled
def _link_line(edges, a, a_end, b, b_end, corners, follower):  # type: ignore[no-untyped-def]
    """Say which edge follows which along the line between two rows, whose edges go from ``a`` and from ``b`` on.

    An edge is one pixel's height of outline: upwards where a run begins, downwards where it ends, foreground on the
    right. Taken together from left to right, the edges above and below the line pair up: between the two of a pair
    the line itself is outline. Where edges meet in one point, with the foreground in two opposite quarters, the order
    in which they are taken decides whether these hang together.
    """
    open_edge, open_above = -1, False
    inside_a, inside_b = False, False
    while a < a_end or b < b_end:
        if a < a_end and b < b_end and edges[a] == edges[b]:
            above = inside_a != corners if inside_a != inside_b else True
        else:
            above = b == b_end or (a < a_end and edges[a] < edges[b])
        edge = a if above else b
        if open_edge < 0:
            open_edge, open_above = edge, above
        else:  # what arrives at the line: ends above it, beginnings below it
            if (open_edge % 2 == 1) == open_above:
                follower[open_edge] = edge
            else:
                follower[edge] = open_edge
            open_edge = -1
        if above:
            a, inside_a = a + 1, not inside_a
        else:
            b, inside_b = b + 1, not inside_b


@_compiled
def _followers(edges, last, corners):  # type: ignore[no-untyped-def]
    follower = np.empty(edges.size, np.int64)
    above, here = 0, 0  # where the edges of the row above the line, and of the one below it, begin
    for line in range(last.size + 1):
        end = last[line] if line < last.size else here
        _link_line(edges, above, here, here, end, corners, follower)
        above, here = here, end
    return follower


@_compiled
def _join_holes(follower):  # type: ignore[no-untyped-def]
    """Make each hole's ring a part of the ring around it; where the rings begin that are left.

    A ring's first edge is the end of a run if it is a hole's, and its last one arrives where that run's beginning does,
    which lies on a ring met before, at the top line of the row: they change what follows them.
    """
    seen = np.zeros(follower.size, np.bool_)
    starts, count = np.empty(follower.size // 2, np.int64), 0
    for start in range(follower.size):
        if seen[start]:
            continue
        edge = start
        while True:
            seen[edge] = True
            if follower[edge] == start:
                break
            edge = follower[edge]
        if start % 2 == 0:
            starts[count] = start
            count += 1
        else:
            follower[edge], follower[start - 1] = follower[start - 1], start
    return starts[:count]


@_compiled
def _rows_of(last, count):  # type: ignore[no-untyped-def]
    rows = np.empty(count, np.int64)
    edge = 0
    for y in range(last.size):
        while edge < last[y]:
            rows[edge] = y
            edge += 1
    return rows


@kernel("Tuple((float64[:,::1], int64[::1]))(Array(uint8, 2, 'C', readonly=True), boolean)")
def _trace(mask, corners):  # type: ignore[no-untyped-def]
    """The corners of all rings, and where each ring's end."""
    edges, last = _all_edges(mask)
    follower = _followers(edges, last, corners)
    starts = _join_holes(follower)
    rows = _rows_of(last, edges.size)
    points, ends = np.empty((2 * edges.size, 2), np.float64), np.empty(starts.size, np.int64)
    count = 0
    for ring in range(starts.size):
        edge = starts[ring]
        while True:
            after = follower[edge]
            if edges[after] != edges[edge] or (after - edge) % 2 == 1:  # it turns
                line = rows[edge] + edge % 2
                points[count, 0], points[count, 1] = edges[edge], line
                points[count + 1, 0], points[count + 1, 1] = edges[after], line
                count += 2
            edge = after
            if edge == starts[ring]:
                break
        ends[ring] = count
    return points[:count], ends


def mask_to_polygons(mask: Any, connectivity: int = 8) -> list[NDArray[np.float64]]:
    """Outline the connected components of a mask along the edges of their pixels.

    Args:
        mask: uint8 or bool [H, W]; what is not zero is foreground.
        connectivity: 4 or 8: whether pixels that share a corner only hang together.

    Returns:
        A list of float64 [K, 2], the corners (x, y) of one polygon for each component, in the order of their first
        pixels in raster order; pixel (0, 0) reaches from 0 to 1. Clockwise as seen, from the top left corner of that
        first pixel on; all sides are horizontal or vertical, the last one leads back to the first corner. A hole hangs
        together with the outline around it by a cut along the edges of pixels, walked there and back, so that
        the even-odd rule, the shoelace formula and COCO's masks leave it out; the area is the number of pixels.
        ``[polygon.ravel().tolist() for polygon in ...]`` is COCO's ``segmentation``, of which pycocotools
        (``frPyObjects`` and ``merge``) and `polygons_to_mask` make the same mask again. Not ``cv2.findContours``: that
        connects the centres of the outermost pixels, so that a line of pixels has no area, and gives holes as contours
        of their own.

    Cost: one read of the mask, and a few steps for each run of its rows. No CUDA twin: an outline is followed step by
    step, which is no work for many threads, and what comes out is read on the host.
    """
    if connectivity not in (4, 8):
        raise ValueError(f"connectivity: expected 4 or 8, got {connectivity!r}")
    array = mask_bytes(mask, "mask", ("H", "W"))
    if array.size == 0:
        return []
    points, ends = _trace(array, connectivity == 8)
    return np.split(points, ends[:-1]) if len(ends) else []
