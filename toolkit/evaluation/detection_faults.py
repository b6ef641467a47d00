"""What is wrong in one picture at the threshold that a detector's bundle ships with: told in a line, and drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.data.table import BoxSample
from toolkit.drawing import draw_detections
from toolkit.drawing_text import RGB
from toolkit.evaluation.operating_point import CROWD, NOTHING, Judged

NAMED = 6  # boxes: where there are more, only those that are wrong are named, as names would hide the picture


@dataclass(frozen=True)
class Faults:
    """The class ids of ``missed`` objects and of boxes on ``nothing``; true and given class where they differ
    (``confused``); and the highest score of a wrong box.
    """

    objects: int
    missed: list[int]
    nothing: list[int]
    confused: list[tuple[int, int]]
    surest: float

    @classmethod
    def of(cls, sample: BoxSample, answer: Judged) -> Faults:
        given = list(zip(_true_classes(sample, answer), answer.given.class_ids.tolist(), strict=True))
        wrong = [true not in (CROWD, class_id) for true, class_id in given]
        return cls(
            objects=int((~sample.crowd).sum()),
            missed=sample.class_ids[answer.missed].tolist(),
            nothing=[class_id for true, class_id in given if true == NOTHING],
            confused=[(true, class_id) for true, class_id in given if true >= 0 and true != class_id],
            surest=float(answer.given.scores[wrong].max(initial=0)),
        )

    @property
    def count(self) -> int:
        return len(self.missed) + len(self.nothing) + len(self.confused)

    def told(self, names: tuple[str, ...]) -> str:
        parts = []
        if self.missed:
            parts.append(f"{len(self.missed)} of {self.objects} missed ({_counted(names[i] for i in self.missed)})")
        if self.nothing:
            boxes = "box" if len(self.nothing) == 1 else "boxes"
            parts.append(f"{len(self.nothing)} {boxes} on no object ({_counted(names[i] for i in self.nothing)})")
        if self.confused:
            parts.append(_counted(f"{names[true]} called {names[given]}" for true, given in self.confused))
        return "; ".join(parts)


def draw_faults(image: RGB, sample: BoxSample, answer: Judged, names: tuple[str, ...]) -> tuple[RGB, RGB]:
    """Truth and answer, each drawn into a copy of the picture, with what is wrong said beside the box's class."""
    given = answer.given
    missed = set(answer.missed.tolist())
    truth = [
        (names[class_id], "missed" if box in missed else "") for box, class_id in enumerate(sample.class_ids.tolist())
    ]
    said = [
        (f"{names[class_id]} {score:.2f}", _verdict(true, class_id, names))
        for true, class_id, score in zip(
            _true_classes(sample, answer), given.class_ids.tolist(), given.scores.tolist(), strict=True
        )
    ]
    return (
        draw_detections(image, sample.boxes, _labels(truth), None, sample.class_ids),
        draw_detections(image, given.boxes, _labels(said), None, given.class_ids),
    )


def _true_classes(sample: BoxSample, answer: Judged) -> list[int]:
    """The class of what each given box lies on, NOTHING or CROWD."""
    return [int(sample.class_ids[truth]) if truth >= 0 else truth for truth in answer.truth.tolist()]


def _verdict(true: int, given: int, names: tuple[str, ...]) -> str:
    """What is wrong with a given box; "" if nothing."""
    if true == NOTHING:
        return "no object"
    return f"is {names[true]}" if true >= 0 and true != given else ""


def _labels(boxes: list[tuple[str, str]]) -> list[str]:
    """Name and fault of each box; where there are many, of those with a fault alone."""
    return [
        f"{name}: {fault}" if fault else name if len(boxes) <= NAMED else "" for name, fault in boxes
    ]  # fmt: skip


def _counted(things: Iterable[str]) -> str:
    """``3 dog, cat``: the most frequent first."""
    return ", ".join(f"{count} {thing}" if count > 1 else thing for thing, count in Counter(things).most_common())
