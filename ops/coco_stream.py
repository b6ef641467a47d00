"""COCO's matching picture by picture, as validation goes: what is kept of a picture is small, whatever was found."""

from __future__ import annotations

from typing import Any

from ops._coco import COCO, CocoMatches, CocoProtocol
from ops.coco_match import coco_match


class CocoStream:
    """Matches of pictures that come one after the other::

        stream = ops.CocoStream(classes=80)
        for ...:
            stream.add(boxes, scores, class_ids, truths, truth_class_ids, crowd=crowd)
        print(ops.coco_accumulate(stream.matches()).numbers())

    Picture i is the i-th that was added. Those of several processes are put together by ``CocoMatches.joined``.
    """

    def __init__(self, classes: int, protocol: CocoProtocol = COCO) -> None:
        self.classes, self.protocol = classes, protocol
        self._parts: list[CocoMatches] = []

    def __len__(self) -> int:
        return sum(part.picture_count for part in self._parts)

    def add(self, found: Any, scores: Any, class_ids: Any, truths: Any, truth_class_ids: Any, **more: Any) -> None:
        """Match one picture, or several: the arguments are those of `coco_match`."""
        part = coco_match(
            found, scores, class_ids, truths, truth_class_ids, classes=self.classes, protocol=self.protocol, **more
        )
        self._parts.append(part)

    def matches(self) -> CocoMatches:
        """Return all matches so far, as if made at once. More can be added after."""
        if len(self._parts) > 1:
            self._parts = [CocoMatches.joined(self._parts)]
        if not self._parts:
            raise ValueError("expected at least one picture, got none; add() pictures first")
        return self._parts[0]
