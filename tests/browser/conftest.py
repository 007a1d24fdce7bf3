# SPDX-License-Identifier: MIT
"""One headless Chromium for all tests of the page, without network. Debian: packages chromium and chromium-driver.

Screenshots go to build/screenshots. Where there is no Chromium the tests skip; under continuous integration they fail.
"""

from __future__ import annotations

import json
import os
import shutil
from typing import Any, Callable, Iterator, List

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCREENSHOTS = os.path.join(ROOT, "build", "screenshots")

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--force-prefers-reduced-motion",
)


def missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: Any) -> Iterator[Any]:
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            missing(f"needs {program}, which is not on PATH")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError as error:
        missing(f"needs selenium: {error}")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in OPTIONS:
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(300)
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def screenshot(browser: Any) -> Callable[[str], None]:
    os.makedirs(SCREENSHOTS, exist_ok=True)

    def take(name: str) -> None:
        assert browser.save_screenshot(os.path.join(SCREENSHOTS, name + ".png"))

    return take


@pytest.fixture(autouse=True)
def nothing_to_complain_about(browser: Any) -> Iterator[None]:
    """After each test: no error or warning on the console, and no request but for the page itself."""
    browser.get_log("browser")
    browser.get_log("performance")
    yield
    # The tests themselves read the colours of the canvas.
    assert [entry for entry in browser.get_log("browser") if "willReadFrequently" not in entry["message"]] == []
    assert [url for url in requests(browser) if not url.startswith(("file:", "data:,"))] == []


def requests(browser: Any) -> List[str]:
    urls = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    return urls
