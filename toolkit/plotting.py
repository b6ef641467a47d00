"""What all plots share: figures of matplotlib without pyplot, which keeps global state and wants a display, and names.

Needs matplotlib, of the ``[train]`` extra.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from toolkit.drawing_text import font_for


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A matplotlib figure of ``size`` inches (width, height) and its axes [rows, columns]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def as_png(figure: Any, dpi: int = 100) -> bytes:
    """The figure as a PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def small_png(png: bytes, width: int = 420) -> bytes:
    """A plot's PNG in a few kilobytes: narrower, in 16 colours."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        size = (width, round(width * image.height / image.width))
        small = image.convert("RGB").resize(size, Image.Resampling.LANCZOS).quantize(16, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def name_ticks(axis: Any, names: Sequence[tuple[str, int]]) -> None:
    """Name the places 0, 1, 2 ... along ``axes.xaxis`` or ``axes.yaxis``, each name in a font that has its characters.

    ``names`` come with their class ids, which stand for those that no font here has.
    """
    from matplotlib.font_manager import FontProperties

    found = [font_for(name, 12) for name, _ in names]
    texts = [
        escaped(name) if known else f"class {class_id}"
        for (known, _), (name, class_id) in zip(found, names, strict=True)
    ]
    axis.set_ticks(range(len(names)), texts)
    for tick, (known, font), (name, _) in zip(axis.get_ticklabels(), found, names, strict=True):
        if known and not name.isascii() and isinstance(path := getattr(font, "path", None), str):
            tick.set_fontproperties(FontProperties(fname=path))


def name_curves(axis: Any, **place: Any) -> None:
    """A legend, unless nothing is there to name."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(**place)


def plain_name(name: str, class_id: int | None) -> str:
    """The name in a legend, whose one font has Latin, Greek and Cyrillic letters: the number or ? for others."""
    if all(ord(character) < 0x0530 for character in name):
        return escaped(name).removeprefix("_")  # matplotlib leaves out what begins with _
    return name.encode("ascii", "replace").decode() if class_id is None else f"class {class_id}"


def escaped(name: str) -> str:
    """The name as matplotlib shows it: two dollar signs would begin a formula."""
    return name.replace("$", r"\$")
