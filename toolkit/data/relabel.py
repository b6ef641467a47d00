"""A table in the classes of a model: told by their names, in the model's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.data.mask_files import NOT_COUNTED
from toolkit.data.table import BoxSample, LabelSample, MaskSample, Sample, Table
from toolkit.errors import UserError, suggest

LEFT_OUT = -1


def relabelled(table: Table[Any], labels: Sequence[str], renamed: Mapping[str, str]) -> Table[Any]:
    """The table with ``labels`` as its classes; each of its own classes is the label of its name, or that which
    ``renamed`` gives it, and with "" is left out: its boxes go, its pictures of one class too, its pixels do not count.

    A class that is in some picture and is no label is a ``UserError``, as is a name in ``renamed`` that is no class.
    """
    for name, label in renamed.items():
        for whose, known, wanted in (("data", table.class_names, name), ("model", labels, label or labels[0])):
            if wanted not in known:
                near = suggest(wanted, known)
                raise UserError(
                    f"--map {name}={label}: the {whose} has no class {wanted!r}{near} (it has {', '.join(known)})"
                )
    called = {name: renamed.get(name, name) for name in table.class_names}
    used = {name for name, counts in table.counts().items() if any(counts.values())}
    strange = [name for name, label in called.items() if name in used and label and label not in labels]
    if strange:
        raise _refusal(strange, labels)
    ids = np.array([labels.index(name) if name in labels else LEFT_OUT for name in called.values()], np.int64)
    if tuple(labels) == table.class_names and (ids == np.arange(len(labels))).all():
        return table
    samples = (_changed(sample, ids, len(labels)) for sample in table.samples)
    return Table(tuple(labels), tuple(sample for sample in samples if sample is not None), table.skipped)


def _refusal(strange: Sequence[str], labels: Sequence[str]) -> UserError:
    first, near = strange[0], [*get_close_matches(strange[0], labels, n=1), "LABEL"][0]
    noun, verb = ("class", "is") if len(strange) == 1 else ("classes", "are")
    return UserError(
        f"the data's {noun} {', '.join(map(repr, strange))} {verb} none of the model's ({', '.join(labels)});"
        f" --map {quote(f'{first}={near}')} takes it for one of them, --map {quote(f'{first}=')} leaves it out"
    )


def _changed(sample: Sample, ids: NDArray[np.int64], labels: int) -> Sample | None:
    """The sample in the new ids; None for a picture of a class that is left out."""
    if isinstance(sample, LabelSample):
        class_id = int(ids[sample.class_id])
        return None if class_id == LEFT_OUT else replace(sample, class_id=class_id)
    if isinstance(sample, BoxSample):
        new = ids[sample.class_ids]
        kept = new != LEFT_OUT
        return replace(
            sample, boxes=sample.boxes[kept], class_ids=new[kept], crowd=sample.crowd[kept], areas=sample.areas[kept]
        )
    assert isinstance(sample, MaskSample)
    pixels = np.zeros(labels, np.int64)
    np.add.at(pixels, ids[ids != LEFT_OUT], sample.pixels[ids != LEFT_OUT])
    renumbered = tuple(np.where(ids == LEFT_OUT, NOT_COUNTED, ids).tolist())
    return replace(sample, pixels=pixels, renumbered=renumbered)
