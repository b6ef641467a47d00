"""The report of a measurement: one HTML page that needs nothing but itself, and ``metrics.json`` beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import toolkit
from toolkit import images
from toolkit.data.fault_log import shown
from toolkit.data.table import Progress
from toolkit.drawing_tiles import shrunk
from toolkit.errors import UserError
from toolkit.evaluation.cases import Drawn, draw_cases
from toolkit.evaluation.evaluate import Measured
from toolkit.evaluation.html import Html, join, picture, tag
from toolkit.evaluation.plots import Plot
from toolkit.evaluation.sections import Cell, Ranged, Section, number
from toolkit.evaluation.table import all_sections, as_json, counted, interval_note
from toolkit.evaluation.task import Worst, evaluation_task
from toolkit.inference.model import Model

PAGE, METRICS = "index.html", "metrics.json"
GENERATOR = "toolkit evaluate"
SHOWN = 24  # worst pictures
LONGEST = 560  # pixels, of a picture's longer side in the page
LISTED = 60  # sources or groups
# The page loads nothing, runs nothing and sends nothing.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Report:
    """What a page is made of. ``about`` says by name what was measured on what."""

    measured: Measured
    title: str
    about: Mapping[str, str]
    plots: list[Plot]
    worst: Worst
    drawn: list[Drawn]


def draw_report(
    model: Model, measured: Measured, about: Mapping[str, str] | None = None, progress: Progress | None = None
) -> Report:
    """Draw the plots and the worst pictures. Without matplotlib, of the ``[train]`` extra, there are no plots."""
    task = evaluation_task(model.spec.task)
    worst = task.worst(measured.metrics, measured.table, measured.predictions)
    plots = task.plots(measured.metrics, measured.table, measured.predictions) if find_spec("matplotlib") else []
    drawn = list(draw_cases(worst.cases[:SHOWN], model, measured, progress))
    told = {**(about or {}), **_about_the_bundle(model)}
    return Report(measured, f"{model.name} {model.spec.version}", told, plots, worst, drawn)


def write_report(folder: Path, report: Report) -> Path:
    """Write ``index.html`` and ``metrics.json`` into the folder, which is made; return the page's path.

    An ``index.html`` that is no report is a ``UserError``, and stays.
    """
    page = folder / PAGE
    if page.exists() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace")[:1000]:
        raise UserError(f"{shown(page)}: is there already and is no report of ours; name another folder with --report")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        page.write_text(as_html(report), encoding="utf-8")
        (folder / METRICS).write_text(as_json(report.measured.metrics) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{shown(folder)}: cannot be written ({error.strerror}); name another with --report") from None
    return page


def as_html(report: Report) -> str:
    """The page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", f"{report.title}, measured"),
        tag("style", Html((Path(__file__).parent / "report.css").read_text(encoding="utf-8"))),
    )
    metrics = report.measured.metrics
    overall, *sections = all_sections(metrics)
    body = tag(
        "body",
        tag("header", _title(report)),
        tag(
            "main",
            tag("section", tag("h2", "Overall"), _tiles(overall), tag("p", interval_note(metrics), class_="soft")),
            tag("section", tag("h2", "In parts"), *(_table(section) for section in sections)),
            _plots(report.plots),
            _worst(report),
            tag("section", tag("h2", "What was measured"), _facts(report.about)),
        ),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _title(report: Report) -> Html:
    metrics = report.measured.metrics
    date = f"{datetime.now().astimezone():%d %B %Y, %H:%M}".lstrip("0")
    told = f"{metrics['bundle']['task'].capitalize()}, measured on {counted(metrics)}, split {metrics['data']['split']}"
    return join(tag("h1", report.title), tag("p", f"{told}. {date}."))


def _tiles(overall: Section) -> Html:
    """The numbers of all pictures, large."""
    return tag("dl", *(_tile(name, cells) for name, cells in overall.rows), class_="tiles")


def _tile(name: str, cells: tuple[Cell, ...]) -> Html:
    value, meaning = cells
    assert isinstance(value, Ranged)
    around = None if value.around is None else f"[{number(value.around[0])}, {number(value.around[1])}]"
    return tag(
        "div",
        tag("dt", name),
        tag("dd", tag("strong", number(value.value)), tag("span", around) if around else None, _bar(value)),
        tag("dd", str(meaning), class_="soft"),
    )


def _table(section: Section) -> Html:
    rows = section.shown(LISTED)
    left_out = section.left_out(LISTED)
    head = tag("tr", tag("th", section.title, scope="col"), *(tag("th", name, scope="col") for name in section.head))
    body = (tag("tr", tag("th", tag("bdi", name), scope="row"), *map(_cell, cells)) for name, cells in rows)
    caption = f"By {section.title}" + (f" ({left_out})" if left_out else "")
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(cell: Cell) -> Html:
    if isinstance(cell, Ranged):
        return tag("td", str(cell), _bar(cell))
    return tag("td", f"{cell:,}" if isinstance(cell, int) else cell, class_=None if isinstance(cell, int) else "soft")


def _bar(cell: Ranged) -> Html | None:
    """The interval between 0 and 1, and the number in it."""
    if cell.value is None or cell.around is None or not 0 <= cell.around[0] <= cell.around[1] <= 1:
        return None
    low, high = cell.around
    style = f"--low:{100 * low:.1f}%;--high:{100 * high:.1f}%;--at:{100 * cell.value:.1f}%"
    return tag("span", class_="bar", style=style, aria_hidden="true")


def _plots(plots: list[Plot]) -> Html:
    if not plots:
        return tag("p", "No plots: they need matplotlib; pip install 'cv-toolkit[train]'.", class_="soft")
    figures = (
        tag("figure", picture(plot.png, "png", plot.title), tag("figcaption", tag("b", plot.title), f" {plot.meaning}"))
        for plot in plots
    )
    return tag("section", tag("h2", "Plots"), tag("div", *figures, class_="plots"))


def _worst(report: Report) -> Html:
    found = len(report.worst.cases)
    told = f"{len(report.drawn)} of {found} pictures with a fault. " if found > len(report.drawn) else ""
    if not found:
        return tag("section", tag("h2", report.worst.title), tag("p", "No picture has a fault.", class_="soft"))
    cases = (_case(rank, drawn) for rank, drawn in enumerate(report.drawn, 1))
    explained = tag("p", told, report.worst.meaning, " Truth to the left, prediction to the right.", class_="soft")
    return tag("section", tag("h2", report.worst.title), explained, tag("ol", *cases, class_="cases"))


def _case(rank: int, drawn: Drawn) -> Html:
    pair = (
        picture(images.encode(shrunk(image, LONGEST), ".jpg", quality=85), "jpeg", f"{what} of {drawn.name}")
        for what, image in (("truth", drawn.truth), ("prediction", drawn.prediction))
    )
    name = tag("p", tag("span", f"{rank} ", class_="rank"), tag("bdi", drawn.name, class_="file"))
    return tag("li", tag("div", *pair, class_="pair"), name, tag("p", drawn.case.why))


def _facts(about: Mapping[str, str]) -> Html:
    return tag("dl", *(join(tag("dt", name), tag("dd", value)) for name, value in about.items()), class_="facts")


def _digest(model: Model) -> str:
    return hashlib.sha256(model.bundle.network_bytes(model.precision)).hexdigest()


def _about_the_bundle(model: Model) -> dict[str, str]:
    spec = model.spec
    told = {
        "classes": ", ".join(spec.labels),
        "made for": " ".join(spec.intended_use.split()),
        "not for": " ".join(spec.not_for.split()),
        "network": f"{spec.network.architecture}, {model.precision}, SHA-256 {_digest(model)}",
        "measured by": f"toolkit {toolkit.__version__}",
    }
    return {name: value for name, value in told.items() if value}
