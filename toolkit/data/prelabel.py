"""Labels pictures with a trained model, to be corrected by hand or to be trained on as they are.

Where the pictures lie in class folders, one object each, the folder says the class and the model only the place: that
makes a detection set of a classification set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.fault_log import shown
from toolkit.data.files import is_picture, names_in
from toolkit.data.table import BoxSample, LabelSample, Progress, Sample, Table
from toolkit.errors import UserError, suggest
from toolkit.inference import Model
from toolkit.results import ClassificationResult, DetectionResult, Failure


def prelabel(
    model: Model,
    folder: Path,
    *,
    score_threshold: float | None = None,
    class_folders: bool = False,
    renamed: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> tuple[Table[Any], list[str]]:
    """Predict on every picture under ``folder``: the table, in which all train, and a sentence for what is not in it.

    Boxes have a score of at least ``score_threshold`` (the bundle's own by default). With ``class_folders`` a picture
    gets its best box, whatever class the model saw in it, and the name of its folder as the class, or what that is
    called in ``renamed``; pictures without a box, and those of folders that are no class of the model, are left out.
    A source is what stands before ``__`` in a file's name, as in ``data.extra`` of class folders, or else the folder's
    name around it (around the class folder). Raises ``UserError`` where nothing can be labelled.
    """
    if model.spec.task not in ("detection", "classification") or (class_folders and model.spec.task != "detection"):
        raise UserError(
            f"{model.name}: does {model.spec.task}; boxes and classes can be labelled, "
            "and class folders only be given boxes"
        )
    renamed = renamed or {}
    if unknown := [name for name in renamed.values() if name not in model.labels]:
        classes = ", ".join(model.labels)
        raise UserError(f"{unknown[0]!r}: no class of {model.name} ({classes}){suggest(unknown[0], model.labels)}")
    if not folder.is_dir():
        raise UserError(f"{shown(folder)}: no such folder; name the folder of the pictures")
    names = [name for name in names_in(folder) if is_picture(name)]
    class_of = {name: _folder_class(folder / name, renamed) if class_folders else None for name in names}
    known = (None, *model.labels)
    wanted = [name for name, label in class_of.items() if label in known]
    left_out = Counter(f"{label}: no class of {model.name}" for label in class_of.values() if label not in known)
    options = {"score_threshold": score_threshold} if model.spec.task == "detection" else {}
    samples: list[Sample] = []
    results = model.predict([str(folder / name) for name in wanted], **options) if wanted else ()  # type: ignore[arg-type]
    for name, result in zip(wanted, results, strict=True):
        if isinstance(result, Failure):
            left_out[result.summary()] += 1
        elif (sample := _sample(result, folder, name, class_of[name])) is None:
            left_out["no object found"] += 1
        else:
            samples.append(sample)
        if progress:
            progress("labelling pictures", len(samples) + sum(left_out.values()), len(names))
    told = [f"{count} picture{'s' * (count > 1)}: {why}" for why, count in sorted(left_out.items())]
    if not samples:
        raise UserError(f"{shown(folder)}: no picture could be labelled; {'; '.join(told) or 'it holds none'}")
    return _of_seen_classes(Table(model.labels, tuple(samples)), told), told


def _of_seen_classes(table: Table[Any], told: list[str]) -> Table[Any]:
    """The table without the classes that no picture shows, which not every format has a place for."""
    counts = sum(sample.class_counts(len(table.class_names)) for sample in table.samples)
    if not counts.any():
        raise UserError("no object found in any picture; a lower --score-threshold finds more")
    told += [f"class {name}: in no picture" for name, count in zip(table.class_names, counts, strict=True) if not count]
    new_id = counts.astype(bool).cumsum() - 1
    names = tuple(name for name, count in zip(table.class_names, counts, strict=True) if count)
    if isinstance(table.samples[0], BoxSample):
        return Table(names, tuple(replace(s, class_ids=new_id[s.class_ids]) for s in table.samples))
    return Table(names, tuple(replace(s, class_id=int(new_id[s.class_id])) for s in table.samples))


def _folder_class(path: Path, renamed: Mapping[str, str]) -> str:
    return renamed.get(path.parent.name, path.parent.name)


def _sample(result: Any, folder: Path, name: str, label: str | None) -> Sample | None:
    path = folder / name
    prefix, mark, _ = path.name.partition("__")
    around = path.parent if label is None else path.parent.parent
    common: dict[str, Any] = {
        "path": path,
        "name": name,
        "size": result.image_size,
        "split": "train",
        "group": name,
        "source": prefix if mark and prefix else around.resolve().name,
    }
    if isinstance(result, ClassificationResult):
        return LabelSample(class_id=int(result.probabilities.argmax()), **common)
    assert isinstance(result, DetectionResult)
    boxes, class_ids = result.boxes, result.class_ids
    if label is not None:
        if not len(boxes):
            return None
        boxes, class_ids = boxes[:1], np.array([result.class_names.index(label)], np.int64)
    sides = boxes[:, 2:].astype(np.float64) - boxes[:, :2]
    keep = (sides > 0).all(1)  # a box may have been cut to nothing at the picture's edge
    return BoxSample(
        boxes=boxes[keep],
        class_ids=class_ids[keep],
        crowd=np.zeros(int(keep.sum()), np.bool_),
        areas=sides[keep].prod(1),
        **common,
    )
