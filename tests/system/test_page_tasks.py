"""The page of a classifier and of a segmenter in a real browser; what all tasks share is in `test_page`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from live_service import live, wait_for
from page_reader import ask, assert_close, assert_nothing_went_wrong_or_elsewhere, give, open_page, rows, shown, text
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from tiny_bundle import MAKERS, expected_probabilities, make_tiny_classifier

from serve import create_app
from toolkit.bundle_spec import ClassifierNetwork
from toolkit.inference import load

MODELS = (By.CSS_SELECTOR, "#models a")


def test_a_class_with_its_probabilities_and_its_evidence(
    browser: WebDriver, services: dict[str, str], flag: Path
) -> None:
    address = services["classification"]
    open_page(browser, address)
    assert browser.title == "tiny · classification service"
    assert "tells apart red, green, blue" in text(browser, "about")
    assert browser.find_elements(By.ID, "threshold") == []
    mean = np.asarray(Image.open(flag)).reshape(-1, 3).mean(axis=0)
    red, green, blue = expected_probabilities(mean.tolist())
    give(browser, flag)
    wait_for(lambda: len(rows(browser)) == 3)
    assert rows(browser) == [["red", f"{red:.3f}"], ["blue", f"{blue:.3f}"], ["green", f"{green:.3f}"]]
    assert text(browser, "count") == f"red, {red:.2f}"
    bars = browser.find_elements(By.CSS_SELECTOR, "#found .bar span")
    widths = [bar.size["width"] / bar.find_element(By.XPATH, "..").size["width"] for bar in bars]
    assert widths == pytest.approx([red, blue, green], abs=0.01)
    plain = shown(browser)
    assert_close(plain, ask(address, flag))

    box = browser.find_element(By.ID, "evidence")
    box.click()
    wait_for(lambda: (shown(browser) != plain).any())
    explained = shown(browser)
    assert_close(explained, ask(address, flag, "?explain=true"))
    assert explained[150, 40].mean() > explained[150, 280].mean() + 40  # light where it is red
    browser.find_element(By.ID, "tab-drawn").click()
    assert f"'{address}/predict?explain=true'" in text(browser, "panel")
    browser.find_element(By.ID, "tab-curl").click()
    assert f"'{address}/predict'" in text(browser, "panel")
    assert "with a heat map of the evidence" in str(browser.find_element(By.ID, "picture").get_attribute("alt"))
    box.click()
    wait_for(lambda: (shown(browser) == plain).all())
    assert_nothing_went_wrong_or_elsewhere(browser, address)


def test_each_of_several_models_has_its_page(browser: WebDriver, flag: Path, tmp_path: Path) -> None:
    folders = [
        MAKERS["segmentation"](tmp_path / "s", name="areas"),
        make_tiny_classifier(tmp_path / "c", name="colours"),
    ]
    with live(create_app([load(each, "cpu", threads=1) for each in folders])) as client:
        address = str(client.base_url)
        open_page(browser, address, "areas")
        links = [(each.text, each.get_attribute("aria-current")) for each in browser.find_elements(*MODELS)]
        assert links == [("areas", "page"), ("colours", None)]
        browser.find_element(By.LINK_TEXT, "colours").click()
        wait_for(lambda: browser.title == "colours · classification service" and text(browser, "health") == "ready")
        give(browser, flag)
        wait_for(lambda: len(rows(browser)) == 3)
        browser.find_element(By.ID, "tab-curl").click()
        assert f"'{address}/models/colours/predict'" in text(browser, "panel")
        links = [each.get_attribute("href") for each in browser.find_elements(By.CSS_SELECTOR, "#links a")]
        assert [client.get(link).status_code for link in links] == [200, 200, 200]
        assert client.get(links[1]).json()["name"] == "colours"
        assert_nothing_went_wrong_or_elsewhere(browser, address)


def test_a_classifier_without_its_map_offers_no_evidence(browser: WebDriver, flag: Path, tmp_path: Path) -> None:
    bundle = make_tiny_classifier(tmp_path / "b", network=ClassifierNetwork(architecture="tiny"))
    with live(create_app(load(bundle, "cpu", threads=1))) as client:
        open_page(browser, str(client.base_url))
        give(browser, flag)
        wait_for(lambda: len(rows(browser)) == 3)
        assert browser.find_elements(By.ID, "evidence") == []
        assert not browser.find_element(By.ID, "controls").is_displayed()


def test_areas_with_outlines_and_a_mask_to_save(
    browser: WebDriver, services: dict[str, str], flag: Path, tmp_path: Path
) -> None:
    address = services["segmentation"]
    open_page(browser, address)
    assert browser.title == "tiny · segmentation service"
    assert "outlines warm, cold" in text(browser, "about")  # the background is none of them
    assert not browser.find_element(By.ID, "controls").is_displayed()
    give(browser, flag)
    wait_for(lambda: len(rows(browser)) == 3)
    mask = ask(address, flag, "?picture=mask")
    areas = [int((mask == class_id).sum()) for class_id in range(3)]
    assert areas[1] == pytest.approx(160 * 200, rel=0.1)  # where three regions meet, the corners are round
    shares = [f"{100 * area / 320**2:.1f} %" for area in areas]
    listed = sorted([(areas[1], "warm", 1), (areas[2], "cold", 2)], reverse=True)
    assert rows(browser) == [
        *[[name, shares[class_id], f"{area:,}"] for area, name, class_id in listed],
        ["background", shares[0], f"{areas[0]:,}"],
    ]
    assert text(browser, "count") == "2 of 2 found"
    swatches = browser.find_elements(By.CSS_SELECTOR, "#found .swatch")
    assert [each.value_of_css_property("background-color").startswith("rgba(0, 0, 0, 0") for each in swatches] == [
        *(False, False, True)  # what is not drawn has no colour
    ]
    assert_close(shown(browser), ask(address, flag))
    alt = browser.find_element(By.ID, "picture").get_attribute("alt")
    assert alt == "flag.png: " + ", ".join(f"{name} {shares[class_id]}" for _, name, class_id in listed)
    assert '"counts": "' in text(browser, "panel")

    browser.find_element(By.ID, "save-mask").click()
    saved = tmp_path / "downloads" / "flag.mask.png"
    wait_for(lambda: saved.is_file() and saved.stat().st_size > 0)
    np.testing.assert_array_equal(np.asarray(Image.open(saved)), mask)
    browser.find_element(By.ID, "tab-mask").click()
    assert f"-o mask.png \\\n  '{address}/predict?picture=mask'" in text(browser, "panel")
    assert_nothing_went_wrong_or_elsewhere(browser, address)


def test_the_whole_answer_is_copied_though_a_part_is_shown(
    browser: WebDriver, services: dict[str, str], flag: Path
) -> None:
    open_page(browser, services["segmentation"])
    give(browser, flag)
    wait_for(lambda: len(rows(browser)) == 3)
    assert "…" in text(browser, "panel")
    copied = browser.execute_script("return texts(shown()).json")  # what the button copies
    assert "…" not in copied
    assert len(copied) > len(text(browser, "panel"))
