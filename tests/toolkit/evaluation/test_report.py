"""The report of a measurement: what is in it, in what order, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_folders import BOXES, FOLDERS, ODD, PICTURES, WORST
from PIL import Image
from tiny_bundle import MAKERS, expected_probabilities

from toolkit.api import measure_target
from toolkit.errors import UserError
from toolkit.evaluation import report as report_module
from toolkit.evaluation.evaluate import Measurement
from toolkit.evaluation.html import Html, join, picture, tag, text
from toolkit.evaluation.table import as_json

TASKS = ("detection", "classification", "segmentation")


@pytest.fixture(scope="module")
def measurements(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Measurement]:
    """A tiny bundle of each task, measured on a folder whose answers are known."""
    folder = tmp_path_factory.mktemp("folders")
    return {
        task: measure_target(MAKERS[task](folder / f"{task}_bundle"), data=FOLDERS[task](folder / task))
        for task in TASKS
    }


class Page(HTMLParser):
    """What a browser makes of the page: elements, and the text in them."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []  # (element, text)
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag  # every element is closed, in its place

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]

    def text(self, element: str) -> list[str]:
        return [told for name, told in self.texts if name == element]


@pytest.fixture(scope="module")
def pages(measurements: dict[str, Measurement], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    folder = tmp_path_factory.mktemp("reports")
    return {
        task: Page(done.write_report(folder / task).read_text(encoding="utf-8")) for task, done in measurements.items()
    }


@pytest.mark.parametrize("task", TASKS)
def test_the_worst_pictures_come_first_and_the_right_ones_not(task: str, pages: dict[str, Page]) -> None:
    names = [told for told in pages[task].text("bdi") if "." in told]
    assert names == WORST[task]


def test_why_a_detectors_picture_is_among_the_worst(pages: dict[str, Page]) -> None:
    told = pages["detection"].text("p")
    for name in WORST["detection"]:
        assert BOXES[name][2] in told


def test_why_a_classifiers_picture_is_among_the_worst(pages: dict[str, Page]) -> None:
    red, _, blue = expected_probabilities((40, 60, 200))
    assert f"red called blue with {blue:.2f}; red has {red:.2f}" in pages["classification"].text("p")


def test_why_a_segmentation_is_among_the_worst(pages: dict[str, Page]) -> None:
    told = pages["segmentation"].text("p")
    assert "Dice warm 0.00, cold 0.00; of warm 0 px are true, 4,096 were predicted, 0 are both" in told
    assert "Dice warm 0.67; of warm 4,096 px are true, 2,048 were predicted, 2,048 are both" in told


@pytest.mark.parametrize("task", TASKS)
def test_the_page_needs_nothing_but_itself(task: str, pages: dict[str, Page]) -> None:
    page = pages[task]
    assert not page.all("script")
    assert not page.all("link")
    for name, attributes in page.elements:
        assert not any(key.startswith("on") for key in attributes), (name, attributes)
        if "src" in attributes:
            assert str(attributes["src"]).startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        assert "href" not in attributes
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@pytest.mark.parametrize("task", TASKS)
def test_readers_who_do_not_see_it(task: str, pages: dict[str, Page]) -> None:
    page = pages[task]
    assert page.all("html") == [{"lang": "en"}]
    assert all(image.get("alt") for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) > 0
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert page.text("h1") == ["tiny 0.0.0"] or page.text("h1")[0].startswith("tiny ")
    assert len(page.text("h1")) == 1


@pytest.mark.parametrize("task", TASKS)
def test_every_picture_shows_something(task: str, pages: dict[str, Page]) -> None:
    """Two plots, then truth and prediction of each case, which differ."""
    pixels = []
    for image in pages[task].all("img"):
        data = base64.b64decode(str(image["src"]).split(",", 1)[1])
        pixels.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int))
    plots = len(pixels) - 2 * len(WORST[task])
    assert plots == (3 if task == "detection" else 2)
    assert all(plot.std() > 5 for plot in pixels[:plots])
    for truth, prediction in zip(pixels[plots::2], pixels[plots + 1 :: 2], strict=True):
        assert truth.shape == prediction.shape
        assert np.abs(truth - prediction).max() > 30


@pytest.mark.parametrize("task", TASKS)
def test_names_are_shown_and_not_obeyed(task: str, pages: dict[str, Page]) -> None:
    names = [name for name in WORST[task] if ODD in name]
    if names:
        assert names[0] in pages[task].text("bdi")
        assert any(names[0] in str(image["alt"]) for image in pages[task].all("img"))
    assert "b" in {name for name, _ in pages[task].elements}  # our own, in the captions of the plots
    assert not [attributes for name, attributes in pages[task].elements if name == "b" and attributes]


@pytest.mark.parametrize("task", TASKS)
def test_the_numbers_lie_beside_it_and_stand_in_it(
    task: str, measurements: dict[str, Measurement], tmp_path: Path
) -> None:
    done = measurements[task]
    page = Page(done.write_report(tmp_path / "a/b").read_text(encoding="utf-8"))
    assert (tmp_path / "a/b/metrics.json").read_text(encoding="utf-8") == as_json(done.metrics) + "\n"
    assert {path.name for path in (tmp_path / "a/b").iterdir()} == {"index.html", "metrics.json"}
    first: Any = {
        "detection": lambda m: m["coco"]["AP"],
        "classification": lambda m: m["top1"],
        "segmentation": lambda m: m["mean_dice"],
    }[task]
    assert f"{first(done.metrics):.3f}" in page.text("strong")
    assert any("read as" in told for told in page.text("dd"))


def test_a_report_is_replaced_and_another_page_is_not(measurements: dict[str, Measurement], tmp_path: Path) -> None:
    done = measurements["classification"]
    page = done.write_report(tmp_path)
    page.write_text(page.read_text(encoding="utf-8").replace("</main>", "<p>old</p></main>"), encoding="utf-8")
    assert "<p>old</p>" not in done.write_report(tmp_path).read_text(encoding="utf-8")
    page.write_text("<html>mine</html>", encoding="utf-8")
    with pytest.raises(UserError, match=r"index\.html: is there already and is no report of ours"):
        done.write_report(tmp_path)
    assert page.read_text(encoding="utf-8") == "<html>mine</html>"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file: cannot be written \(.*\); name another with --report"):
        done.write_report(tmp_path / "file")


def test_without_matplotlib_there_are_no_plots_and_that_is_said(
    measurements: dict[str, Measurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "find_spec", lambda name: None)
    page = Page(measurements["classification"].write_report(tmp_path).read_text(encoding="utf-8"))
    assert "No plots: they need matplotlib; pip install 'cv-toolkit[train]'." in page.text("p")
    assert len(page.all("img")) == 2 * len(WORST["classification"])


def test_where_nothing_is_wrong(tmp_path: Path) -> None:
    for name in ("green/right.png", "blue/right.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(PICTURES[name][0]).save(path)
    done = measure_target(MAKERS["classification"](tmp_path / "bundle"), data=tmp_path / "set")
    page = Page(done.write_report(tmp_path / "report").read_text(encoding="utf-8"))
    assert "No picture has a fault." in page.text("p")


def test_no_more_than_the_worst_are_drawn(
    measurements: dict[str, Measurement], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "SHOWN", 1)
    told: list[tuple[str, int, int]] = []
    page = measurements["detection"].write_report(tmp_path, lambda *step: told.append(step))
    names = [name for name in Page(page.read_text(encoding="utf-8")).text("bdi") if "." in name]
    assert names == WORST["detection"][:1]
    assert any(line.startswith("1 of 4 pictures with a fault.") for line in Page(page.read_text("utf-8")).text("p"))
    assert told == [("drawing pictures", 1, 1)]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (tag("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
        (tag("p", tag("b", "x"), None, " y"), "<p><b>x</b> y</p>"),
        (tag("td", class_="soft", aria_label='"1"', style=None), '<td class="soft" aria-label="&quot;1&quot;"></td>'),
        (tag("img", alt="'><script>"), '<img alt="&#x27;&gt;&lt;script&gt;">'),
        (text("<i>"), "&lt;i&gt;"),
        (text(Html("<i>")), "<i>"),
        (join("a", None, tag("br")), "a\n<br></br>"),
        (text("\udcff.jpg"), "?.jpg"),  # a file name whose bytes are no text
        (picture(b"\x00\xff", "png", "a"), '<img src="data:image/png;base64,AP8=" alt="a">'),
    ],
)
def test_html(made: str, wanted: str) -> None:
    assert made == wanted


def test_metrics_are_plain(measurements: dict[str, Measurement]) -> None:
    for done in measurements.values():
        assert json.loads(json.dumps(done.metrics, allow_nan=False)) == done.metrics
