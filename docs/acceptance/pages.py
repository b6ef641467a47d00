"""Serve shipped bundles one by one, give each page a picture in a real browser, and save what it shows.

    python docs/acceptance/pages.py FOLDER garbage_classification=box.jpg ct_pneumonia=slice.png

Needs Chromium and its driver (system-packages.txt) and selenium ([dev]).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By


def main(folder: Path, pairs: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1180,760"):
        options.add_argument(each)
    options.binary_location = shutil.which("chromium") or sys.exit("chromium is missing, see system-packages.txt")
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    for pair in pairs:
        bundle, picture = pair.split("=")
        command = [sys.executable, "-m", "toolkit.cli.main", "serve", bundle, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
            assert service.stdout is not None
            address = next(word for word in service.stdout.readline().split() if word.startswith("http://"))
            browser.get(address)
            wait(lambda: browser.find_element(By.ID, "health").text == "ready")
            browser.find_element(By.ID, "file").send_keys(str(Path(picture).resolve()))
            wait(lambda: browser.find_elements(By.CSS_SELECTOR, "#found tbody tr"))
            time.sleep(1)  # until the drawn picture is painted
            browser.save_screenshot(str(folder / f"page_{bundle}.png"))
            rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#found tbody tr")]
            print(f"{bundle}: the page says {rows}")
            service.terminate()
    browser.quit()


def wait(done: object, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        if time.monotonic() > until:
            raise SystemExit("the page did not answer in time")
        time.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
