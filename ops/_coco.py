"""What COCO's two operators share: the protocol that they follow, and the matches that go from one to the other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops._check import host_array
from ops._coco_rank import Ranked, rank

# A mask of matches has one bit for each pair of IoU threshold and area range.
WORD = 64


@dataclass(frozen=True)
class CocoProtocol:
    """What is measured. The defaults are COCO's for boxes and masks.

    ``iou_thresholds`` and ``recall_thresholds`` rise and lie in 0..1; at most 64 IoU thresholds. ``area_ranges`` in
    square pixels, both ends belong to the range. ``max_detections`` rise: how many of a picture and class count.
    """

    iou_thresholds: Sequence[float] = tuple(np.linspace(0.5, 0.95, 10).tolist())
    recall_thresholds: Sequence[float] = tuple(np.linspace(0.0, 1.0, 101).tolist())
    area_ranges: Mapping[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "all": (0.0, 1e5**2),
            "small": (0.0, 32.0**2),
            "medium": (32.0**2, 96.0**2),
            "large": (96.0**2, 1e5**2),
        }
    )
    max_detections: Sequence[int] = (1, 10, 100)

    def __post_init__(self) -> None:
        for name, least, greatest, most, kind in (
            ("iou_thresholds", 0, 1, WORD, "numbers from 0 to 1"),
            ("recall_thresholds", 0, 1, 2**15 - 1, "numbers from 0 to 1"),
            ("max_detections", 1, np.inf, 2**15 - 1, "whole numbers from 1"),
        ):
            values = getattr(self, name)
            rises = 0 < len(values) <= most and all(a < b for a, b in itertools.pairwise(values))
            if not rises or values[0] < least or values[-1] > greatest:
                raise ValueError(f"{name}: expected 1 to {most} rising {kind}, got {values!r}")
        if not self.area_ranges:
            raise ValueError("area_ranges: expected at least one range")

    @property
    def shape(self) -> tuple[int, int]:
        """How many areas share a word of a mask, and how many words that makes."""
        each = WORD // len(self.iou_thresholds)
        return each, -(-len(self.area_ranges) // each)

    def areas(self) -> NDArray[np.float64]:
        """float64 [A, 2]: least and greatest area of each range."""
        return np.array(list(self.area_ranges.values()), np.float64).reshape(-1, 2)

    def threshold_bits(self) -> NDArray[np.uint64]:
        """uint64 [T + 1]: the bits of the first n thresholds in each area range of a word."""
        thresholds, each = len(self.iou_thresholds), self.shape[0]
        every_area = sum(1 << (a * thresholds) for a in range(each))
        return np.array([((1 << n) - 1) * every_area for n in range(thresholds + 1)], np.uint64)

    def range_bits(self) -> NDArray[np.uint64]:
        """uint64 [A]: the bits of each area range in its word."""
        thresholds, each = len(self.iou_thresholds), self.shape[0]
        every = (1 << thresholds) - 1
        return np.array([every << (a % each * thresholds) for a in range(len(self.area_ranges))], np.uint64)

    def area_bits(self, chosen: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """uint64 [N, W]: the bits of the area ranges that are chosen in each of N rows, bool [N, A]."""
        each, words = self.shape
        bits = np.zeros((len(chosen), words), np.uint64)
        for a, of_range in enumerate(self.range_bits()):
            bits[:, a // each] |= np.where(chosen[:, a], of_range, np.uint64(0))
        return bits


COCO = CocoProtocol()


COCO = CocoProtocol()


@dataclass(frozen=True, eq=False)
class CocoMatches:
    """How detections met true objects, a row a detection: all that COCO's curves need, and nothing of boxes or masks.

    Rows go by picture; those of one class in a picture follow each other by falling score. ``scores`` float64 [N],
    ``class_ids``, ``pictures`` and ``ranks`` (place among its class in its picture, from 0) int32 [N]; ``hits`` and
    ``ignored`` uint64 [N, W]: bit ``(a % E) * T + t`` of word ``a // E`` (E, W: ``protocol.shape``) says of area range
    a and IoU threshold t that it is right, or counts neither way. Of each true object ``truth_class_ids`` and
    ``truth_pictures`` int32 [G], and ``truth_counts`` bool [G, A], whether it is to be found in an area range.
    """

    protocol: CocoProtocol
    classes: int
    picture_count: int
    scores: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    pictures: NDArray[np.int32]
    ranks: NDArray[np.int32]
    hits: NDArray[np.uint64]
    ignored: NDArray[np.uint64]
    truth_class_ids: NDArray[np.int32]
    truth_pictures: NDArray[np.int32]
    truth_counts: NDArray[np.bool_]

    @staticmethod
    def joined(parts: Sequence[CocoMatches]) -> CocoMatches:
        """One after the other, as if matched at once: the pictures of the second part follow those of the first."""
        if not parts:
            raise ValueError("parts: expected at least one CocoMatches to join, got none")
        first = parts[0]
        for i, part in enumerate(parts):
            if (part.protocol, part.classes) != (first.protocol, first.classes):
                raise ValueError(f"parts[{i}]: expected the protocol and classes of parts[0], got others")
        starts = np.cumsum([0] + [part.picture_count for part in parts]).astype(np.int32)

        def rows(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        def shifted(name: str) -> Any:
            return np.concatenate([getattr(part, name) + start for part, start in zip(parts, starts, strict=False)])

        plain = ("scores", "class_ids", "ranks", "hits", "ignored", "truth_class_ids", "truth_counts")
        return CocoMatches(
            protocol=first.protocol,
            classes=first.classes,
            picture_count=int(starts[-1]),
            pictures=shifted("pictures"),
            truth_pictures=shifted("truth_pictures"),
            **{name: rows(name) for name in plain},
        )

    def part(self, pictures: Any) -> CocoMatches:
        """Those pictures (int64 [n], each at most once) alone, numbered anew in that order, as if matched alone."""
        chosen = host_array(pictures, "pictures", np.int64, ("n",))
        if chosen.size and (chosen.min() < 0 or chosen.max() >= self.picture_count):
            raise ValueError(f"pictures: expected 0..{self.picture_count - 1}, got {chosen.min()}..{chosen.max()}")
        place = np.full(self.picture_count, -1, np.int32)
        place[chosen] = np.arange(len(chosen))
        if (place >= 0).sum() < len(chosen):
            raise ValueError(f"pictures: expected each at most once, got {len(chosen)} numbers of fewer pictures")

        def rows(places: NDArray[np.int32]) -> NDArray[np.intp]:
            here = np.flatnonzero(places >= 0)
            return here[np.argsort(places[here], kind="stable")]

        found, true = rows(place[self.pictures]), rows(place[self.truth_pictures])
        return replace(
            self,
            picture_count=len(chosen),
            **{name: getattr(self, name)[found] for name in ("scores", "class_ids", "ranks", "hits", "ignored")},
            **{name: getattr(self, name)[true] for name in ("truth_class_ids", "truth_counts")},
            pictures=place[self.pictures[found]],
            truth_pictures=place[self.truth_pictures[true]],
        )

    @cached_property
    def ranked(self) -> Ranked:
        """The detections by class and falling score, sorted once for all curves that are drawn of them."""
        columns = (self.scores, self.pictures, self.ranks, self.hits, self.ignored)
        return rank(self.class_ids, self.classes, *columns)
