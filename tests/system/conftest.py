"""A browser, services to open in it, and pictures to give. Needs the packages of system-packages.txt."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_service import live
from PIL import Image
from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from tiny_bundle import COLD, GREY, MAKERS, WARM

from serve import create_app
from toolkit.inference import load


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of a classifier's and of a segmenter's service."""
    folder = tmp_path_factory.mktemp("tasks")
    apps = [
        create_app(load(MAKERS[task](folder / task), "cpu", threads=1)) for task in ("classification", "segmentation")
    ]
    with live(apps[0]) as classifier, live(apps[1]) as segmenter:
        yield {"classification": str(classifier.base_url), "segmentation": str(segmenter.base_url)}


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.fail("Chromium or its driver is missing: apt-get install the packages of system-packages.txt")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1360,1000"):
        options.add_argument(each)
    for each in (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ):  # and a person's yes
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


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """320 x 320 pixels: the upper half is warm at the left and cold at the right, the lower one is neither."""
    picture = np.full((320, 320, 3), GREY, np.uint8)
    picture[:160, :200], picture[:160, 200:] = WARM, COLD
    path = tmp_path / "flag.png"
    Image.fromarray(picture).save(path)
    return path
