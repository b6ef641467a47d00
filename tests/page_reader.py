"""What a person sees and does on the service's page, for tests in a real browser."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
from live_service import wait_for
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver


def open_page(browser: WebDriver, address: str, name: str = "tiny") -> None:
    browser.get(address)
    wait_for(lambda: browser.find_element(By.ID, "health").text == "ready")
    wait_for(lambda: browser.find_element(By.ID, "title").text == name)


def give(browser: WebDriver, path: Path) -> None:
    browser.find_element(By.ID, "file").send_keys(str(path))


def rows(browser: WebDriver) -> list[list[str]]:
    found = browser.find_elements(By.CSS_SELECTOR, "#found tbody tr")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in found]


def text(browser: WebDriver, name: str) -> str:
    return browser.find_element(By.ID, name).text


def shown(browser: WebDriver) -> np.ndarray:
    """The picture that the page shows, RGB [H, W, 3] at its own size."""
    script = """
    const picture = document.getElementById("picture"), canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
    const pen = canvas.getContext("2d");
    pen.drawImage(picture, 0, 0);
    return [canvas.height, canvas.width, [...pen.getImageData(0, 0, canvas.width, canvas.height).data]];
    """
    height, width, values = browser.execute_script(script)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def ask(address: str, path: Path, query: str = "") -> np.ndarray:
    """The picture that the service itself answers, as RGB, or a mask, as class ids."""
    answer = httpx.post(f"{address}/predict{query}", content=path.read_bytes(), headers={"Accept": "image/png"})
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    """The page shows a JPEG of what was asked for as PNG."""
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 4


def assert_nothing_went_wrong_or_elsewhere(browser: WebDriver, address: str) -> None:
    """No error in the console, no address but the service's own."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert asked
    assert [each for each in asked if not each.startswith((address, "data:", "blob:"))] == []
