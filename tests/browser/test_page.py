# SPDX-License-Identifier: MIT
"""The flame graph page in a real browser."""

from __future__ import annotations

import io
import time
from typing import Any, Callable, List, Tuple

import pytest
from pprof_maker import Call, Sample, make_pprof, web_server
from selenium.webdriver.common.keys import Keys
from view import View, size

from mprofile.profile import Profile
from mprofile.reports import flamegraph, names

PY = "/usr/lib/python3.11/"
SITE = "/srv/app/.venv/lib/python3.11/site-packages/"
EVIL = "</script><img src=x onerror=document.title='owned'>"

MAIN = Call("main", "/srv/app/main.py", 12, 3)
SERVE = Call("Server.serve", "/srv/app/server.py", 40, 30)
HANDLE = Call("Server.handle", "/srv/app/server.py", 58, 50)
LOOP = Call("IOLoop.start", SITE + "tornado/ioloop.py", 110, 100)
RENDER = Call("Template.render", SITE + "jinja/template.py", 20, 10)
LOADS = Call("loads", PY + "json/__init__.py", 299, 299)
DECODE = Call("JSONDecoder.decode", PY + "json/decoder.py", 333, 330)
CACHE = Call("Cache.get", "/srv/app/cache.py", 8, 5)
CACHE2 = Call("Cache.get", "/srv/app/cache.py", 9, 5)
WALK = Call("walk", "/srv/app/tree.py", 4, 2)
HOSTILE = Call(EVIL, "/srv/app/" + EVIL + ".py", 1, 1)

STACKS: List[Tuple[Tuple[Call, ...], int, int, int]] = [
    ((MAIN, LOOP, SERVE, HANDLE, LOADS, DECODE), 2000, 90000, 21000),
    ((MAIN, LOOP, SERVE, HANDLE, CACHE), 64, 400000, 300000),
    ((MAIN, LOOP, SERVE, HANDLE, CACHE2), 100000, 220, 210),
    ((MAIN, LOOP, SERVE, HANDLE, RENDER), 5000, 30000, 900),
    ((MAIN, LOOP, SERVE, HANDLE, RENDER, HOSTILE), 700, 9000, 4000),
    ((MAIN, CACHE, LOADS, DECODE), 3000, 4000, 2500),
    ((MAIN, WALK, WALK, WALK, WALK), 900, 8000, 6000),
    ((MAIN, WALK), 900, 300, 200),
    ((MAIN,), 1 << 20, 9, 7),
]
COMMENTS = [
    "mprofile: command=server.py --port 8080",
    "mprofile: directory=/srv/app",
    "mprofile: interpreter=CPython 3.11.7",
    "mprofile: history=1700000000000,1000,30000;"
    + ";".join(f"1000,{1000 + 700 * i - 9 * i * i % 4000},{30000 + 900 * i}" for i in range(1, 90)),
]


def profile(rate: int = 65536, scale: float = 1.0, grown: str = "") -> Profile:
    samples = [
        Sample(calls, block, allocated, int(inuse * (scale if calls[-1].name == grown else 1)))
        for calls, block, allocated, inuse in STACKS
    ]
    return Profile.read(io.BytesIO(make_pprof(samples, rate, COMMENTS)))


def write(directory: Any, name: str, *arguments: Any, **options: Any) -> str:
    path = directory / name
    path.write_text(flamegraph.render(*arguments, **options), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def view(browser: Any, tmp_path_factory: Any) -> View:
    return View(browser, write(tmp_path_factory.mktemp("pages"), "heap.html", profile()))


@pytest.fixture(scope="module")
def changes(browser: Any, tmp_path_factory: Any) -> View:
    new, old = profile(scale=2.5, grown="Cache.get"), profile(scale=1.6, grown="JSONDecoder.decode")
    return View(browser, write(tmp_path_factory.mktemp("pages"), "diff.html", new, old))


# ---- what it shows ----


def test_it_opens_and_says_how_it_was_recorded(view: View, screenshot: Any) -> None:
    view.open()
    assert view.text("h1") == "server.py --port 8080"
    facts = view.text("#facts")
    for word in ("CPython 3.11.7", "one sample in 64 KiB on average", "in use", "no samples"):
        assert word in facts
    assert "All 9 stacks are shown; nothing is folded (threshold 0 %)" in view.text("#notes")
    assert view.shown("#history svg") and "heap, up to" in view.text("#history")
    figures = profile().totals()
    cards = [card.text for card in view.all("#measures button")]
    assert cards[0].startswith("In use\n" + names.format_size(figures.inuse.bytes))
    assert cards[1].startswith("Allocated\n" + names.format_size(figures.allocated.bytes))
    assert "not in this profile" in cards[2] and not view.find("[data-measure='2']").is_enabled()
    low, high = figures.inuse.bytes_interval()
    assert f"{low / 2**20:.1f}\u2009\u2026\u2009{high / 2**20:.1f} MiB" in cards[0]
    screenshot("flame-light")


def test_a_frame_says_its_figures_and_their_interval(view: View, screenshot: Any) -> None:
    view.open()
    said = view.point(0.3, 1)
    row = next(row for row in profile().rows("function") if row.name == "main")
    figures = row.cumulative.inuse
    low, high = figures.bytes_interval()
    assert said.startswith("main\n/srv/app/main.py:3 (the program)")
    assert names.format_size(figures.bytes) in said and "100.0 %" in said
    assert f"{low / 2**20:.1f}\u2009\u2026\u2009{high / 2**20:.1f} MiB" in said
    assert names.format_count(figures.blocks) in said and f"{figures.samples:,}" in said
    screenshot("tooltip")
    view.point(0.99, 9)
    assert view.tooltip() == ""


def test_names_are_text_and_never_markup(view: View, screenshot: Any) -> None:
    view.open("#view=table")
    assert EVIL in [name for name, _ in view.rows()]
    assert view.script("return document.images.length") == 0
    view.search("onerror")
    assert "1 function" in view.text("#found")
    view.open("#view=sandwich&function=%d" % function_number(view, EVIL))
    assert view.text("#focus code") == EVIL
    view.point(0.5, 0, "#callees")
    assert EVIL in view.tooltip()
    assert view.script("return document.images.length") == 0
    assert view.browser.title == "server.py --port 8080"


def function_number(view: View, name: str) -> int:
    return int(
        view.script(
            "return [...document.querySelectorAll('#table tbody tr')]"
            ".find(r => r.querySelector('.name').textContent === arguments[0]).dataset.function",
            name,
        )
    )


def test_the_table_has_the_figures_of_the_report(view: View, screenshot: Any) -> None:
    """Flat and cumulative values with intervals, computed by the page, as mprofile computes them."""
    view.open("#view=table")
    shown = dict(view.rows())
    rows = profile().rows("function")
    assert set(shown) == {row.name for row in rows}
    for unit in ("bytes", "blocks"):
        view.open("#view=table&metric=allocated&unit=" + unit)
        shown = dict(view.rows())
        for row in rows:
            for figures, text in zip((row.flat.allocated, row.cumulative.allocated), shown[str(row.name)]):
                if unit == "bytes":
                    value = names.format_size(figures.bytes)
                    interval = names.size_range(*figures.bytes_interval())
                else:
                    value = names.format_count(figures.blocks)
                    interval = names.count_range(*figures.blocks_interval())
                got = text.replace("\u2009\u2026\u2009", "..").split("|")
                assert (got[0], got[2]) == (value, interval), row.name
    screenshot("table")


def test_the_table_sorts(view: View) -> None:
    view.open("#view=table")
    found = [name for name, _ in view.rows()]
    flat = [size(figures[0]) for _, figures in view.rows()]
    assert flat == sorted(flat, reverse=True)
    assert view.find("#table th:nth-child(2)").get_attribute("aria-sort") == "descending"
    view.click("[data-sort=cum]")
    cumulative = [size(figures[1]) for _, figures in view.rows()]
    assert cumulative == sorted(cumulative, reverse=True) and cumulative != flat
    view.click("[data-sort=cum]")
    assert [size(figures[1]) for _, figures in view.rows()] == cumulative[::-1]
    view.click("[data-sort=name]")
    assert [name for name, _ in view.rows()] == sorted(found, key=lambda name: name.replace("<", " ").lower())
    assert view.hash == "#view=table&sort=-name"
    view.search("cache")
    assert [name for name, _ in view.rows()] == ["Cache.get"]
    view.search("")
    view.click("[data-toggle=programOnly]")
    assert "loads" not in [name for name, _ in view.rows()] and len(view.rows()) == 6


# ---- moving about ----


def test_zoom_by_clicks_and_back(view: View, screenshot: Any) -> None:
    view.open()
    assert view.trail() == ["all"]
    view.point(0.2, 3, click=True)
    assert view.trail() == ["all", "main", "IOLoop.start", "Server.serve"]
    assert view.point(0.97, 3).startswith("Server.serve")  # it spans the width now
    zoomed = view.hash
    assert zoomed.startswith("#zoom=")
    view.point(0.2, 5, click=True)
    assert len(view.trail()) == 6
    screenshot("zoomed")
    view.click("#back")
    view.wait(lambda: view.hash == zoomed and len(view.trail()) == 4, "the zoom before")
    view.point(0.5, 1, click=True)
    assert view.trail() == ["all", "main"]
    view.click("#reset")
    assert view.trail() == ["all"] and not view.find("#reset").is_enabled()
    view.browser.back()
    view.wait(lambda: view.trail() == ["all", "main"], "the zoom before the reset")
    view.click("#trail li:first-child button")
    assert view.trail() == ["all"]


def test_zoom_moves(view: View) -> None:
    feature = {"name": "prefers-reduced-motion", "value": "no-preference"}
    view.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        view.open()
        background = view.pixel(0.97, 6)
        view.point(0.05, 6, click=True)
        view.wait(lambda: view.pixel(0.97, 6) != background, "a frame that grows")
        view.wait(lambda: view.point(0.97, 6).startswith("JSONDecoder.decode"), "a frame that spans the width")
    finally:
        view.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_search_says_the_share_of_the_whole(view: View, screenshot: Any) -> None:
    view.open()
    before = view.pixel(0.01, 1)
    found = view.search("JSON")
    rows = {row.name: row for row in profile().rows("function")}
    total = profile().totals().inuse
    part = rows["loads"].cumulative.inuse
    low, high = part.bytes_interval()
    assert found.startswith(f"{100 * part.bytes / total.bytes:.1f} % of all: {names.format_size(part.bytes)}")
    assert f"(95 %: {low / 2**20:.1f}\u2009\u2026\u2009{high / 2**20:.1f} MiB), 2 functions" in found
    assert view.pixel(0.01, 1) != before  # what does not match is dimmed
    assert view.hash == "#search=JSON"
    screenshot("search")
    view.keys(Keys.ESCAPE)
    assert view.text("#found") == "" and view.hash == ""
    assert view.pixel(0.01, 1) == before
    assert view.search("no such thing").startswith("0.0 % of all")
    # A function that calls itself counts once.
    assert view.search("walk").startswith(f"{100 * rows['walk'].cumulative.inuse.bytes / total.bytes:.1f} %")


def test_measures_and_units(view: View) -> None:
    view.open()
    view.click("[data-measure='1']")
    assert view.pressed("[data-measure='1']") and view.hash == "#metric=allocated"
    row = next(row for row in profile().rows("function") if row.name == "main")
    assert names.format_size(row.cumulative.allocated.bytes) in view.point(0.3, 1)
    view.click("[data-unit='1']")
    assert view.hash == "#metric=allocated&unit=blocks"
    assert names.format_count(row.cumulative.allocated.blocks) + " blocks" in view.point(0.3, 1)
    assert view.text("[data-measure='1'] .value") == names.format_count(profile().totals().allocated.blocks)


def test_callers_first_and_root_at_bottom(view: View, screenshot: Any) -> None:
    view.open()
    largest = max(profile().rows("function"), key=lambda row: row.flat.inuse.bytes)
    view.click("[data-toggle=callersFirst]")
    assert view.point(0.1, 1).startswith(str(largest.name))
    view.click("[data-toggle=rootAtBottom]")
    assert view.point(0.1, 1, bottom=True).startswith(str(largest.name))
    assert view.point(0.1, 0, bottom=True).startswith("all")
    assert view.hash == "#callers=1&bottom=1"
    screenshot("callers-first")


def test_libraries_can_be_hidden(view: View) -> None:
    view.open()
    assert view.point(0.2, 2).startswith("IOLoop.start")
    view.click("[data-toggle=programOnly]")
    said = view.point(0.2, 2)
    assert said.startswith("Server.serve")
    everything = profile().totals().inuse.bytes
    assert names.format_size(everything) in view.point(0.2, 1)  # nothing is lost


def test_a_frame_for_each_line(view: View) -> None:
    view.open("#view=table")
    view.open("#view=sandwich&function=%d" % function_number(view, "Cache.get"))
    assert view.point(0.5, 1, "#callers", bottom=True).startswith("Server.handle\n/srv/app/server.py:50 ")
    view.click("[data-toggle=lines]")
    assert view.point(0.5, 1, "#callers", bottom=True).startswith("Server.handle\n/srv/app/server.py:58 ")
    view.click("[data-view=flame]")
    assert view.point(0.2, 3).startswith("Server.serve\n/srv/app/server.py:40 ")
    assert view.find("[data-toggle=lines]").get_attribute("aria-pressed") == "true"


def test_callers_and_callees(view: View, screenshot: Any) -> None:
    view.open("#view=table")
    view.script(
        "[...document.querySelectorAll('#table .name')].find(e => e.textContent === 'Cache.get').click()"
    )
    view.settle()
    assert view.pressed("#view-sandwich") and view.text("#focus code") == "Cache.get"
    row = next(row for row in profile().rows("function") if row.name == "Cache.get")
    assert names.format_size(row.cumulative.inuse.bytes) in view.text("#focus")
    assert view.point(0.1, 0, "#callers", bottom=True).startswith("Cache.get")
    assert view.point(0.1, 1, "#callers", bottom=True).startswith("Server.handle")
    assert view.point(0.99, 1, "#callers", bottom=True).startswith("main")
    assert view.point(0.01, 1, "#callees").startswith("loads")
    assert names.format_size(row.cumulative.inuse.bytes) in view.point(0.5, 0, "#callees")
    screenshot("callers-and-callees")
    # A function that calls itself: its outermost call counts.
    view.open("#view=table")
    view.open("#view=sandwich&function=%d" % function_number(view, "walk"))
    row = next(row for row in profile().rows("function") if row.name == "walk")
    assert names.format_size(row.cumulative.inuse.bytes) in view.text("#focus")
    assert view.point(0.5, 3, "#callees").startswith("walk")


def test_keyboard(view: View, screenshot: Any) -> None:
    view.open()
    view.keys("?")
    assert view.script("return document.getElementById('help').open")
    screenshot("help")
    view.keys(Keys.ESCAPE)
    assert not view.script("return document.getElementById('help').open")
    view.keys("/")
    assert view.script("return document.activeElement.id") == "query"
    view.keys("w", "a", "l", "k")
    assert view.hash == "#search=walk"
    view.keys(Keys.ESCAPE)
    assert view.hash == "" and view.script("return document.activeElement.id") != "query"
    view.keys(Keys.ARROW_DOWN)
    assert "all" in view.text("#announce")
    view.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT)
    assert view.text("#announce").startswith("Cache.get") or view.text("#announce").startswith("walk")
    second = view.text("#chosen code")
    assert view.tooltip().startswith(second)
    view.keys(Keys.ENTER)
    assert view.trail() == ["all", "main", second]
    view.keys(Keys.ARROW_LEFT)
    assert view.text("#announce").startswith("IOLoop.start")
    assert view.trail() == ["all", "main"]  # the selection is never out of sight
    view.keys("0")
    assert view.trail() == ["all"]
    view.keys(Keys.BACKSPACE)
    view.wait(lambda: view.trail() == ["all", "main"], "the zoom before")
    view.keys("2", "b", "t")
    assert view.pressed("[data-measure='1']") and view.pressed("[data-unit='1']") and view.shown("#table")
    view.keys("g", "i", "f", "l", "n")
    for name in ("callersFirst", "rootAtBottom", "programOnly", "lines"):
        assert view.pressed(f"[data-toggle={name}]"), name
    view.keys("i", "f", "l", "n", Keys.ARROW_DOWN, Keys.ARROW_DOWN, "s")
    assert view.pressed("#view-sandwich") and view.text("#focus code") == "main"
    view.script("document.querySelector('[data-view=table]').focus()")
    view.keys(Keys.ENTER)
    assert view.pressed("#view-table")


def test_a_link_brings_the_view_back(view: View) -> None:
    view.open()
    view.click("[data-measure='1']")
    view.point(0.2, 4, click=True)
    view.search("decode")
    link, trail, found = view.hash, view.trail(), view.text("#found")
    assert "metric=allocated" in link and "zoom=" in link and "search=decode" in link
    view.open(link)
    assert (view.hash, view.trail(), view.text("#found")) == (link, trail, found)
    assert view.pressed("[data-measure='1']") and view.find("#query").get_attribute("value") == "decode"
    view.open("#view=table&unit=blocks&sort=cum")
    assert view.find("#table th:nth-child(3)").get_attribute("aria-sort") == "descending"


@pytest.mark.parametrize(
    "fragment",
    [
        "#zoom=9999.1.2&metric=nothing&unit=7&view=no&sort=x&function=999999999",
        "#view=sandwich&function=-1",
        "#%F0%9F&search=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
        "#zoom=" + "1." * 3000 + "1",
    ],
)
def test_a_link_may_be_anything(view: View, fragment: str) -> None:
    view.open(fragment)
    assert view.text("h1") == "server.py --port 8080" and view.script("return document.images.length") == 0
    assert view.shown("#flame") or view.shown("#table")


def test_both_themes(view: View, screenshot: Any) -> None:
    browser = view.browser

    def prefer(scheme: str) -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        view.settle()

    def ground() -> str:
        return str(view.script("return getComputedStyle(document.body).backgroundColor"))

    try:
        prefer("light")
        view.open()
        light, frame = ground(), view.pixel(0.3, 1)
        prefer("dark")
        dark, dark_frame = ground(), view.pixel(0.3, 1)
        assert light != dark and sum(frame) > sum(dark_frame)
        screenshot("flame-dark")
        assert view.text("#theme") == "Theme: auto"
        view.click("#theme")
        assert view.text("#theme") == "Theme: light" and ground() == light and view.pixel(0.3, 1) == frame
        view.open()
        assert view.text("#theme") == "Theme: light" and ground() == light  # it is remembered
        view.keys("d")
        assert view.text("#theme") == "Theme: dark" and ground() == dark
        view.keys("d")
        assert view.text("#theme") == "Theme: auto"
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


CONTRAST = """
const linear = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgb = color => {
  canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = color => { const [r, g, b] = rgb(color).map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const ground = element => {
  for (; element; element = element.parentElement) {
    const color = getComputedStyle(element).backgroundColor;
    if (rgb(color)[3] > 0) return color;
  }
  return 'white';
};
const poor = [];
for (const element of document.querySelectorAll('#page *')) {
  if (!element.checkVisibility() || element.disabled || element.closest(':disabled')) continue;
  if (![...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(ground(element))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([element.outerHTML.slice(0, 80), (a + 0.05) / (b + 0.05)]);
}
return poor;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("fragment", ["", "#view=table", "#search=walk"])
def test_text_can_be_read_and_controls_are_named(view: View, theme: str, fragment: str) -> None:
    view.open(fragment)
    view.script("document.documentElement.dataset.theme = arguments[0]", theme)
    assert view.script(CONTRAST) == []
    nameless = view.script(
        "return [...document.querySelectorAll('button, input, [role]')].filter(e => e.checkVisibility() &&"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length"
        " || e.getAttribute('aria-labelledby') || ['status', 'tooltip'].includes(e.role))).map(e => e.outerHTML)"
    )
    assert nameless == []
    selected = view.script("return [...document.querySelectorAll('[role=tab][aria-selected=true]')].length")
    assert selected == 1


def test_a_narrow_window(view: View, screenshot: Any) -> None:
    view.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    try:
        for fragment in ("", "#view=table", "#view=sandwich&function=1"):
            view.open(fragment)
            assert view.script("return document.documentElement.scrollWidth") <= 390
            screenshot("narrow" + fragment.partition("=")[2].partition("&")[0])
        view.open()
        view.point(0.2, 2, click=True)
        assert len(view.trail()) == 3
    finally:
        view.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


# ---- two profiles ----


def test_a_difference_has_two_colours(changes: View, screenshot: Any) -> None:
    changes.open()
    assert changes.text("h1") == "Change: server.py --port 8080"
    legend = changes.text("#legend")
    assert "grew" in legend and "shrank" in legend and "within chance" in legend
    red, _, blue = changes.pixel(0.05, 5)
    assert red > blue + 40
    said = changes.point(0.05, 5)
    assert said.startswith("Cache.get") and "More than chance" in said
    assert changes.pressed("[data-widths=new]")
    screenshot("difference")
    changes.click("[data-widths=shrunk]")
    assert changes.hash == "#widths=shrunk"
    assert changes.point(0.1, 5).startswith("loads")
    red, _, blue = changes.pixel(0.05, 6)
    assert blue > red + 40
    changes.open("#view=table")
    rows = dict(changes.rows())
    assert rows["Cache.get"][0].startswith("+") and rows["JSONDecoder.decode"][0].startswith("\u2212")
    assert [name for name, _ in changes.rows()][0] == "Cache.get"
    screenshot("difference-table")


def test_a_change_within_chance_is_grey(browser: Any, tmp_path: Any) -> None:
    view = View(browser, write(tmp_path, "same.html", profile(), profile())).open()
    red, green, blue = view.pixel(0.2, 3)
    assert max(red, green, blue) - min(red, green, blue) < 12
    assert "May be chance" in view.point(0.2, 3)


# ---- size ----


def seconds_of(action: Callable[[], object]) -> float:
    begun = time.monotonic()
    action()
    return time.monotonic() - begun


def test_a_hundred_thousand_stacks(browser: Any, tmp_path_factory: Any, screenshot: Any) -> None:
    large = Profile.read(io.BytesIO(make_pprof(web_server(100000), 1000)))
    path = write(tmp_path_factory.mktemp("pages"), "big.html", large)
    with open(path, "rb") as file:
        length = len(file.read())
    assert length < 10 * 1000 * 1000
    view = View(browser, path)

    def come() -> float:
        browser.get("about:blank")
        return seconds_of(lambda: (browser.get(view.url), view.wait_until_ready()))

    def use() -> None:
        view.search("method_7")
        view.click("[data-toggle=callersFirst]")
        view.keys("t")
        assert view.rows() and view.text("#found")

    seconds = min(come(), come())
    print(f"100,000 stacks: {length / 1e6:.1f} MB, opened in {seconds:.2f} s")
    assert seconds < 2.0
    assert "stacks are cut where they fall below" in view.text("#notes")
    screenshot("large")
    assert seconds_of(use) < 8.0


def test_what_is_folded_is_said(browser: Any, tmp_path: Any) -> None:
    whole = profile()
    view = View(browser, write(tmp_path, "folded.html", whole, threshold=0.2)).open()
    assert "5 of 9 stacks are cut where they fall below 20 % of the whole" in view.text("#notes")
    assert view.point(0.99, 2) == "" and view.point(0.85, 2).startswith("(folded)")
    view.open("#view=table")
    row = next(row for row in whole.rows("function") if row.name == "walk")
    value = names.format_size(row.cumulative.inuse.bytes)
    assert dict(view.rows())["walk"][1].startswith(value)  # the table counts everything
    view.open("#view=sandwich&function=%d" % function_number(view, "walk"))
    assert f"without {value} in stacks that were cut above it" in view.text("#focus")


def test_an_empty_profile(browser: Any, tmp_path: Any) -> None:
    view = View(browser, write(tmp_path, "empty.html", Profile.read(io.BytesIO(make_pprof([]))))).open()
    assert "not in this profile" in view.text("#measures")
    view.click("[data-view=table]")
    assert view.rows() == []
    view.click("[data-view=sandwich]")


def test_a_damaged_page_says_so(browser: Any, tmp_path: Any) -> None:
    page = flamegraph.render(profile())
    before, mark, after = page.partition('id="data">')
    path = tmp_path / "damaged.html"
    path.write_text(before + mark + "AAAA" + after[4:], encoding="utf-8")
    browser.get("file://" + str(path))
    view = View(browser, str(path))
    view.wait(lambda: view.shown("#failure"), "the failure")
    assert "The profile in this page is damaged" in view.text("#failure")

