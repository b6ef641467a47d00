"""The service's page in a real browser: give a picture, see boxes; and what the pages of all tasks share."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_service import live, wait_for
from page_reader import assert_nothing_went_wrong_or_elsewhere, give, open_page, rows, text
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from tiny_bundle import flat_png

from serve import Settings, create_app
from toolkit.api_keys import add_key
from toolkit.bundle import Bundle
from toolkit.inference import Model

FOUND: dict[str, Any] = {
    "boxes": np.array([[40, 30, 180, 200], [200, 60, 300, 190], [10, 200, 90, 235]], np.float32),
    "scores": np.array([0.9, 0.6, 0.3], np.float32),
    "class_ids": np.array([0, 1, 0], np.int64),
}
STAGES = ["decode", "preprocess", "network", "postprocess", "service", "round trip"]


class Canned(Model):
    """Finds the same three things in every picture, as far as the threshold lets it."""

    def postprocess(self, raw, placement, image_size, options=None):  # type: ignore[no-untyped-def]
        options = options or self.spec.postprocessing
        if image_size != (240, 320):  # the start-up check has its own pictures
            return super().postprocess(raw, placement, image_size, options)
        return {name: values[FOUND["scores"] >= options.score_threshold] for name, values in FOUND.items()}


@pytest.fixture(scope="module")
def address(tiny_bundle: Path) -> Iterator[str]:
    with live(create_app(Canned(Bundle.open(tiny_bundle), device="cpu", threads=1))) as client:
        yield str(client.base_url)


def inked(browser: WebDriver, x: int, y: int) -> Any:
    """RGBA of the overlay around a place given in pixels of the 320x240 picture: the strongest within 2 pixels."""
    script = """
    const canvas = document.getElementById("overlay"), scale = canvas.width / 320;
    const cut = canvas.getContext("2d").getImageData((arguments[0] - 2) * scale, (arguments[1] - 2) * scale, 5, 5).data;
    let best = [0, 0, 0, 0];
    for (let i = 0; i < cut.length; i += 4) if (cut[i + 3] > best[3]) best = [...cut.slice(i, i + 4)];
    return best;
    """
    return browser.execute_script(script, x, y)


def test_a_picture_gets_boxes_a_table_times_json_and_commands(
    browser: WebDriver, address: str, photo: Path, tmp_path: Path
) -> None:
    open_page(browser, address)
    assert browser.title == "tiny · detection service"
    assert "finds warm, cold" in text(browser, "about")
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    assert rows(browser) == [
        ["warm", "0.900", "140 × 170"],
        ["cold", "0.600", "100 × 130"],
        ["warm", "0.300", "80 × 35"],
    ]
    assert text(browser, "count") == "3 found"
    assert inked(browser, 40, 120)[3] > 200  # the left side of the first box
    assert inked(browser, 110, 120)[3] == 0  # its middle
    assert inked(browser, 300, 120)[3] > 200  # the right side of the second
    assert [term.text for term in browser.find_elements(By.CSS_SELECTOR, "#times dt")] == STAGES
    panel = browser.find_element(By.ID, "panel")
    assert '"boxes": [\n    [40, 30, 180, 200],' in panel.text
    browser.find_element(By.ID, "tab-curl").click()
    assert "curl --data-binary '@it'\\''s a street.png' \\\n" in panel.text
    assert f"'{address}/predict?score_threshold=0.25'" in panel.text
    browser.find_element(By.ID, "tab-drawn").click()
    assert "-H 'Accept: image/png' -o drawn.png" in panel.text
    browser.find_element(By.ID, "tab-python").click()
    assert run_as_script(panel_text(browser), photo.parent)["labels"] == ["warm", "cold", "warm"]
    assert browser.get_screenshot_as_file(str(tmp_path / "page.png"))
    assert_nothing_went_wrong_or_elsewhere(browser, address)


def panel_text(browser: WebDriver) -> str:
    """What Copy would take of the chosen tab."""
    return str(browser.find_element(By.ID, "panel").get_property("textContent"))


def run_as_script(program: str, folder: Path, **environment: str) -> Any:
    """What the Python call that the page shows prints, with nothing but Python itself."""
    given = {**os.environ, "NO_PROXY": "127.0.0.1", **environment}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=folder, env=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return ast.literal_eval(done.stdout)


def test_a_picture_may_be_taken_with_the_camera(browser: WebDriver, address: str, photo: Path) -> None:
    open_page(browser, address)
    for _ in range(2):  # and once more after an answer
        browser.find_element(By.ID, "camera").click()
        video = browser.find_element(By.ID, "video")
        wait_for(lambda video=video: video.get_property("videoWidth") == 640)
        assert video.is_displayed()
        assert not browser.find_element(By.ID, "drop").is_displayed()
        browser.find_element(By.ID, "shoot").click()
        wait_for(lambda: text(browser, "name").startswith("camera.jpg"))
        wait_for(lambda: '"image_size": [480, 640]' in text(browser, "panel"))
        assert browser.execute_script("return document.getElementById('video').srcObject") is None  # its light is off
    browser.find_element(By.ID, "camera").click()
    wait_for(lambda: browser.find_element(By.ID, "stop").is_displayed())
    browser.find_element(By.ID, "stop").click()
    assert browser.find_element(By.ID, "picture").is_displayed()
    browser.find_element(By.ID, "camera").click()
    wait_for(lambda: browser.find_element(By.ID, "stop").is_displayed())
    give(browser, photo)  # a file instead
    wait_for(lambda: len(rows(browser)) == 3)
    assert not browser.find_element(By.ID, "video").is_displayed()
    assert_nothing_went_wrong_or_elsewhere(browser, address)


def test_a_page_behind_a_key_is_opened_with_the_browser_s_own_form(
    browser: WebDriver, tiny_bundle: Path, photo: Path, tmp_path: Path
) -> None:
    key = add_key(tmp_path / "keys.json", "me")
    model = Canned(Bundle.open(tiny_bundle), device="cpu", threads=1)
    with live(create_app(model, Settings(keys=tmp_path / "keys.json"))) as client:
        address = str(client.base_url)
        browser.get(address.replace("//", f"//me:{key}@"))  # what the form would send
        browser.get(address)
        give(browser, photo)
        wait_for(lambda: len(rows(browser)) == 3)
        browser.find_element(By.ID, "tab-curl").click()
        assert '-H "Authorization: Bearer $TOOLKIT_KEY"' in text(browser, "panel")
        browser.find_element(By.ID, "tab-python").click()
        answer = run_as_script(panel_text(browser), photo.parent, TOOLKIT_KEY=key)
    assert answer["labels"] == ["warm", "cold", "warm"]


def test_the_threshold_filters_at_once_as_the_service_would(browser: WebDriver, address: str, photo: Path) -> None:
    open_page(browser, address)
    give(browser, photo)
    for threshold, count in (("0.5", 2), ("0.95", 0), ("0.05", 3)):
        slide(browser, threshold)
        wait_for(lambda count=count: len(rows(browser)) == count)
    slide(browser, "0.95")
    assert "Nothing with a score of 0.95 or more" in text(browser, "empty")
    assert inked(browser, 40, 120)[3] == 0


def slide(browser: WebDriver, threshold: str) -> None:
    browser.execute_script(
        "const slider = document.getElementById('threshold'); slider.value = arguments[0];"
        "slider.dispatchEvent(new Event('input'));",
        threshold,
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_may_be_dropped_or_pasted(browser: WebDriver, address: str, photo: Path, kind: str) -> None:
    open_page(browser, address)
    browser.execute_script(
        """
        const [kind, bytes] = arguments, data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
        const event = kind === "drop"
          ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.getElementById("stage").dispatchEvent(event);
        """,
        kind,
        list(photo.read_bytes()),
    )
    wait_for(lambda: len(rows(browser)) == 3)
    assert text(browser, "name").startswith("given.png")


def test_a_file_that_is_no_picture_shows_the_service_s_sentence(
    browser: WebDriver, address: str, tmp_path: Path, photo: Path
) -> None:
    notes = tmp_path / "notes.jpg"
    notes.write_text("not a picture")
    open_page(browser, address)
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    give(browser, notes)
    alert = browser.find_element(By.ID, "alert")
    wait_for(alert.is_displayed)
    assert "is not a picture" in alert.text
    assert rows(browser) == []
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    assert not alert.is_displayed()


def test_a_format_that_browsers_cannot_show_is_drawn_by_the_service(
    browser: WebDriver, address: str, photo: Path, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.tif"
    Image.open(photo).save(scan)
    open_page(browser, address)
    give(browser, scan)
    wait_for(lambda: len(rows(browser)) == 3)
    picture = browser.find_element(By.ID, "picture")
    assert picture.is_displayed()
    assert picture.get_property("naturalWidth") == 320
    assert not browser.find_element(By.ID, "overlay").is_displayed()  # the boxes are in the picture already
    assert picture.get_attribute("alt") == "scan.tif: 3 detections: warm, cold, warm"
    slide(browser, "0.5")
    wait_for(lambda: len(rows(browser)) == 2)


def test_the_drawn_picture_can_be_saved(browser: WebDriver, address: str, photo: Path, tmp_path: Path) -> None:
    open_page(browser, address)
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    browser.find_element(By.ID, "save-drawn").click()
    saved = tmp_path / "downloads" / "it's a street.drawn.png"
    wait_for(lambda: saved.is_file() and saved.stat().st_size > 0)  # the browser makes an empty one first
    assert Image.open(saved).size == (320, 240)


# What can be reached by keyboard beside the fields that all tasks have.
FOCUSED = {
    "detection": ["threshold", "row", "row", "row"],
    "classification": ["evidence"],
    "segmentation": ["save-mask"],
}


@pytest.mark.parametrize("task", FOCUSED)
def test_it_can_be_used_by_keyboard_and_everything_has_a_name(
    browser: WebDriver, address: str, services: dict[str, str], photo: Path, flag: Path, task: str
) -> None:
    open_page(browser, services.get(task, address))
    give(browser, photo if task == "detection" else flag)
    wait_for(lambda: len(rows(browser)) == 3)
    names = [
        browser.execute_script("arguments[0].focus(); return document.activeElement.id || 'row'", element)
        for element in browser.find_elements(
            By.CSS_SELECTOR,
            "#file, #camera, #another, #saves button, #controls input, #tab-json, #copy, #panel, #found tr[tabindex]",
        )
    ]
    common = ["file", "camera", "another", "save-drawn", "tab-json", "copy", "panel"]
    assert sorted(names) == sorted([*common, *FOCUSED[task]])
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('input, button, img, canvas, section')].filter("
        "(each) => !(each.labels?.length || each.textContent.trim() || each.ariaLabel || each.alt"
        " || each.getAttribute('aria-labelledby'))).map((each) => each.outerHTML)"
    )
    assert unnamed == []


def test_a_service_that_is_gone_is_said(browser: WebDriver, tiny_bundle: Path, photo: Path) -> None:
    with live(create_app(Model(Bundle.open(tiny_bundle), device="cpu", threads=1))) as client:
        open_page(browser, str(client.base_url))
    give(browser, photo)
    alert = browser.find_element(By.ID, "alert")
    wait_for(alert.is_displayed)
    assert alert.text == "The service does not answer; is it still running?"
    wait_for(lambda: text(browser, "health") == "no connection")


def test_the_picture_of_the_start_up_check_is_one_warm_box(browser: WebDriver, address: str, tmp_path: Path) -> None:
    """Not canned: the bundle's own network, seen in the page."""
    path = tmp_path / "warm.png"
    path.write_bytes(flat_png((200, 60, 40)))
    open_page(browser, address)
    give(browser, path)
    wait_for(lambda: [row[0] for row in rows(browser)] == ["warm"])
