# SPDX-License-Identifier: MIT
"""What the tests do with a page: open it, look at it, point, click and type."""

from __future__ import annotations

import os
import re
from typing import Any, List, Optional, Tuple

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROW = 20


class View:
    def __init__(self, browser: Any, path: str) -> None:
        self.browser = browser
        self.url = "file://" + os.path.abspath(path)

    def open(self, fragment: str = "", width: int = 1300, height: int = 850) -> View:
        self.browser.set_window_size(width, height)
        self.browser.get("about:blank")
        self.browser.get(self.url + fragment)
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        self.wait(lambda: self.script("return document.documentElement.dataset.ready") == "true", "the page")
        self.settle()

    def wait(self, condition: Any, what: str) -> None:
        """Until it is so; the page may replace its elements meanwhile."""
        replaced = [StaleElementReferenceException]
        wait = WebDriverWait(self.browser, 300, poll_frequency=0.02, ignored_exceptions=replaced)
        wait.until(lambda _: condition(), "waited for " + what)

    def script(self, code: str, *arguments: Any) -> Any:
        return self.browser.execute_script(code, *arguments)

    def settle(self) -> None:
        """Until the next frames are drawn."""
        self.browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")

    def find(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> List[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str) -> str:
        return str(self.script("return document.querySelector(arguments[0]).textContent", selector))

    def shown(self, selector: str) -> bool:
        return bool(self.find(selector).is_displayed())

    def click(self, selector: str) -> None:
        self.find(selector).click()
        self.settle()

    def keys(self, *keys: str) -> None:
        ActionChains(self.browser, duration=0).send_keys(*keys).perform()
        self.settle()

    def search(self, text: str) -> str:
        """Type into the search field; returns what it found."""
        field = self.find("#query")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text or Keys.DELETE)
        self.settle()
        return self.text("#found")

    def pressed(self, selector: str) -> bool:
        element = self.find(selector)
        return "true" in (element.get_attribute("aria-pressed"), element.get_attribute("aria-selected"))

    @property
    def hash(self) -> str:
        return str(self.script("return location.hash"))

    def trail(self) -> List[str]:
        return [item.text for item in self.all("#trail li")]

    def point(self, share: float, row: int, graph: str = "#flame", click: bool = False, bottom: bool = False) -> str:
        """Point at a place of a graph: share of the width, row from its root. Returns the tooltip's text."""
        box = self.script(
            "const r = document.querySelector(arguments[0] + ' canvas').getBoundingClientRect();"
            "return [r.left, r.top, r.width, r.height]",
            graph,
        )
        down = (row + 0.5) * ROW
        x = int(box[0] + share * box[2])
        y = int(box[1] + (box[3] - down if bottom else down))
        actions = ActionChains(self.browser, duration=0)
        actions.w3c_actions.pointer_action.move_to_location(x, y)
        if click:
            actions.w3c_actions.pointer_action.click()
        actions.perform()
        self.settle()
        return "" if click else self.tooltip()

    def tooltip(self) -> str:
        return str(self.find("#tooltip").text) if self.shown("#tooltip") else ""

    def pixel(self, share: float, row: int) -> Tuple[int, int, int]:
        """Colour of the graph at a place."""
        red, green, blue = self.script(
            "const c = document.querySelector('#flame canvas'); const k = c.width / c.clientWidth;"
            "return [...c.getContext('2d').getImageData(arguments[0] * c.width, arguments[1] * k, 1, 1).data]",
            share,
            row * ROW + 3,
        )[:3]
        return red, green, blue

    def rows(self) -> List[Tuple[str, List[str]]]:
        """The table: name, and the text of each figure."""
        found = self.script(
            "return [...document.querySelectorAll('#table tbody tr')].map(r => [r.querySelector('.name').textContent,"
            " [...r.querySelectorAll('td.figure')].map(c => [...c.children].map(e => e.textContent).join('|'))])"
        )
        return [(name, figures) for name, figures in found]


def size(text: str) -> float:
    """The first size in a text, in bytes."""
    found: Optional[Any] = re.search(r"([0-9.]+) (B|KiB|MiB|GiB)", text)
    assert found, text
    return float(found.group(1)) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(found.group(2))
