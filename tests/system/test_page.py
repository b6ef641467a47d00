"""The service's page in a real browser: give a picture, see boxes. Needs the packages of system-packages.txt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_service import live, wait_for
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from tiny_bundle import flat_png

from serve import create_app
from toolkit.bundle import Bundle
from toolkit.inference import Model

FOUND = (
    np.array([[40, 30, 180, 200], [200, 60, 300, 190], [10, 200, 90, 235]], np.float32),
    np.array([0.9, 0.6, 0.3], np.float32),
    np.array([0, 1, 0], np.int64),
)


class Canned(Model):
    """Finds the same three things in every picture, as far as the threshold lets it."""

    def postprocess(self, raw, placement, image_size, options=None):  # type: ignore[no-untyped-def]
        options = options or self.spec.postprocessing
        if image_size != (240, 320):  # the start-up check has its own pictures
            return super().postprocess(raw, placement, image_size, options)
        return tuple(values[FOUND[1] >= options.score_threshold] for values in FOUND)


@pytest.fixture(scope="module")
def address(tiny_bundle: Path) -> Iterator[str]:
    with live(create_app(Canned(Bundle.open(tiny_bundle), device="cpu", threads=1))) as client:
        yield str(client.base_url)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("Chromium or its driver is missing: apt-get install the packages of system-packages.txt")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1360,1000"):
        options.add_argument(each)
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield window
    finally:
        window.quit()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "it's a street.png"
    rows = np.linspace(60, 220, 240, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (240, 320, 3)).copy()).save(path)
    return path


def open_page(browser: WebDriver, address: str) -> None:
    browser.get(address)
    wait_for(lambda: browser.find_element(By.ID, "health").text == "ready")
    wait_for(lambda: browser.find_element(By.ID, "title").text == "tiny")


def give(browser: WebDriver, path: Path) -> None:
    browser.find_element(By.ID, "file").send_keys(str(path))


def rows(browser: WebDriver) -> list[list[str]]:
    found = browser.find_elements(By.CSS_SELECTOR, "#detections tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in found]


def inked(browser: WebDriver, x: int, y: int) -> Any:
    """RGBA of the overlay around a place given in pixels of the 320x240 picture: the strongest within 2 pixels."""
    script = """
    const canvas = document.getElementById("boxes"), scale = canvas.width / 320;
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
    assert "finds warm, cold" in browser.find_element(By.ID, "about").text
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    assert rows(browser) == [
        ["warm", "0.900", "140 × 170"],
        ["cold", "0.600", "100 × 130"],
        ["warm", "0.300", "80 × 35"],
    ]
    assert browser.find_element(By.ID, "count").text == "3 found"
    assert inked(browser, 40, 120)[3] > 200  # the left side of the first box
    assert inked(browser, 110, 120)[3] == 0  # its middle
    assert inked(browser, 300, 120)[3] > 200  # the right side of the second
    assert [term.text for term in browser.find_elements(By.CSS_SELECTOR, "#times dt")] == [
        *("decode", "preprocess", "network", "postprocess", "service", "round trip")
    ]
    panel = browser.find_element(By.ID, "panel")
    assert '"boxes": [\n    [40, 30, 180, 200],' in panel.text
    browser.find_element(By.ID, "tab-curl").click()
    assert "curl --data-binary '@it'\\''s a street.png' \\\n" in panel.text
    assert f"'{address}/predict?score_threshold=0.25'" in panel.text
    browser.find_element(By.ID, "tab-drawn").click()
    assert "-H 'Accept: image/png' -o drawn.png" in panel.text
    assert browser.get_screenshot_as_file(str(tmp_path / "page.png"))
    assert_nothing_went_wrong_or_elsewhere(browser, address)


def test_the_threshold_filters_at_once_as_the_service_would(browser: WebDriver, address: str, photo: Path) -> None:
    open_page(browser, address)
    give(browser, photo)
    for threshold, count in (("0.5", 2), ("0.95", 0), ("0.05", 3)):
        browser.execute_script(
            "const slider = document.getElementById('threshold'); slider.value = arguments[0];"
            "slider.dispatchEvent(new Event('input'));",
            threshold,
        )
        wait_for(lambda count=count: len(rows(browser)) == count)
    browser.execute_script(
        "const slider = document.getElementById('threshold'); slider.value = 0.95;"
        "slider.dispatchEvent(new Event('input'));"
    )
    assert "Nothing with a score of 0.95 or more" in browser.find_element(By.ID, "empty").text
    assert inked(browser, 40, 120)[3] == 0


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
    assert browser.find_element(By.ID, "name").text.startswith("given.png")


def test_a_file_that_is_no_picture_shows_the_service_s_sentence(
    browser: WebDriver, address: str, tmp_path: Path, photo: Path
) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("not a picture")
    open_page(browser, address)
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    give(browser, text)
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
    assert inked(browser, 40, 120)[3] == 0  # the boxes are in the picture already


def test_the_drawn_picture_can_be_saved(browser: WebDriver, address: str, photo: Path, tmp_path: Path) -> None:
    open_page(browser, address)
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    browser.find_element(By.ID, "save").click()
    saved = tmp_path / "downloads" / "it's a street.drawn.png"
    wait_for(lambda: saved.is_file() and saved.stat().st_size > 0)  # the browser makes an empty one first
    assert Image.open(saved).size == (320, 240)


def test_it_can_be_used_by_keyboard(browser: WebDriver, address: str, photo: Path) -> None:
    open_page(browser, address)
    give(browser, photo)
    wait_for(lambda: len(rows(browser)) == 3)
    names = [
        browser.execute_script("arguments[0].focus(); return document.activeElement.id || 'row'", element)
        for element in browser.find_elements(
            By.CSS_SELECTOR, "#file, #another, #save, #threshold, #tab-json, #copy, #panel, #detections tbody tr"
        )
    ]
    assert sorted(names) == sorted(
        ["file", "another", "save", "threshold", "tab-json", "copy", "panel", "row", "row", "row"]
    )
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
    wait_for(lambda: browser.find_element(By.ID, "health").text == "no connection")


def assert_nothing_went_wrong_or_elsewhere(browser: WebDriver, address: str) -> None:
    """No error in the console, no address but the service's own."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked
    assert [each for each in asked if not each.startswith((address, "data:", "blob:"))] == []


def test_the_picture_of_the_start_up_check_is_one_warm_box(browser: WebDriver, address: str, tmp_path: Path) -> None:
    """Not canned: the bundle's own network, seen in the page."""
    path = tmp_path / "warm.png"
    path.write_bytes(flat_png((200, 60, 40)))
    open_page(browser, address)
    give(browser, path)
    wait_for(lambda: [row[0] for row in rows(browser)] == ["warm"])
