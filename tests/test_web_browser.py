"""The pages in a real browser: Chromium, as people use it, with mouse, keyboard and phone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from conftest import leave_out
from model_cases import examples, files
from playwright import sync_api
from web_cases import alert_with_history, event, give, lived, serving

from realbogus.model import model_from
from realbogus.training.held_out import held_out
from realbogus.training.pages.charts import COLOURS, Axis, Plot
from realbogus.training.pages.report import page as report_page
from realbogus.training.report import report
from realbogus.voevent.lifecycle import withdrawal

pytestmark = pytest.mark.browser
ALERT = alert_with_history(
    *({"jd": 2459980.5 + day, "fid": 1.0 + day % 2, "magpsf": 19 - day / 20, "sigmapsf": 0.1, "isdiffpos": "t"}
      for day in range(20)),
    {"jd": 2459979.5, "fid": 1.0, "diffmaglim": 20.4},
)  # fmt: skip
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 900}}
ARGS = ["--no-sandbox"]  # which refuses to run as root, as tests in containers do; the pages are our own
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    binary = next((found for name in NAMES if (found := shutil.which(name))), None)
    if binary is None:
        leave_out("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright, playwright.chromium.launch(executable_path=binary, args=ARGS) as one:
        yield one


@pytest.fixture
def site(tmp_path):
    """Nine candidates of three objects."""
    events = [
        event(candid, object_id=f"ZTF20aaaaaa{'abc'[candid % 3]}", p_real=0.6 + candid / 30, ra_deg=40.0 * candid)
        for candid in range(1, 10)
    ]
    with serving(tmp_path, *events, alert=ALERT) as sink:
        yield sink


@contextmanager
def page(browser, site, path: str = "/", **context) -> Iterator[sync_api.Page]:
    """A page, on which nothing may go wrong that the browser notices; nothing is asked of anybody else."""
    wrong: list[str] = []
    with browser.new_context(**{**DESK, **context}) as opened:
        tab = opened.new_page()
        tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("request", lambda asked: None if asked.url.startswith(site.address) else wrong.append(asked.url))
        tab.goto(site.address + path)
        yield tab
    assert wrong == []


def cards(tab) -> list[str]:
    return tab.locator(".card .open").all_inner_texts()


def test_the_newest_candidates_are_shown_with_their_stamps(browser, site):
    with page(browser, site) as tab:
        assert len(cards(tab)) == 9
        assert tab.locator("#found").inner_text() == "Newest of 9 events"
        first = tab.locator(".card").first
        widths = first.locator("img").evaluate_all("images => images.map(one => one.naturalWidth)")
        assert widths == [63, 63, 63]
        assert "P(real) 0.900" in first.inner_text()
        assert "host_distance is 0.8" in first.inner_text()


def test_a_search_is_made_by_form_and_kept_in_the_address(browser, site):
    with page(browser, site) as tab:
        tab.get_by_label("Score from").fill("0.85")
        tab.get_by_label("Score from").press("Enter")
        tab.wait_for_url("**/?min_score=0.85")
        assert len(cards(tab)) == 2
        assert tab.locator("#found").inner_text() == "Newest that fit, of 9 events"
        tab.reload()
        assert tab.get_by_label("Score from").input_value() == "0.85"
        tab.get_by_label("Object").fill("ZTF20aaaaaaa")
        tab.get_by_role("button", name="Search").click()
        tab.wait_for_url("**object=ZTF20aaaaaaa**")
        assert parse_qs(urlsplit(tab.url).query) == {"object": ["ZTF20aaaaaaa"], "min_score": ["0.85"]}
        assert set(cards(tab)) == {"ZTF20aaaaaaa"}
        tab.get_by_role("link", name="Clear").click()
        assert len(cards(tab)) == 9


def test_a_search_that_means_nothing_is_explained(browser, site):
    with browser.new_context() as opened:
        tab = opened.new_page()
        tab.goto(f"{site.address}/?min_score=high")
        assert tab.get_by_role("alert").inner_text() == "min_score is 'high'; expected a number from 0 to 1"
        assert tab.get_by_label("Score from").input_value() == "high"


def test_an_event_is_opened_and_left_by_keyboard_alone(browser, site):
    with page(browser, site) as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to content"
        for _ in range(3):
            tab.keyboard.press("j")
        tab.keyboard.press("k")
        second = tab.locator(".card").nth(1).locator(".open")
        assert second.evaluate("one => one === document.activeElement")
        name = second.inner_text()
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/events/**")
        assert tab.locator("h1").inner_text().startswith(name)
        assert "spoke for and against" in tab.locator("main").inner_text()
        tab.keyboard.press("o")
        tab.wait_for_url("**/objects/**")
        assert len(cards(tab)) == 3
        tab.keyboard.press("u")
        tab.wait_for_url(f"{site.address}/")
        tab.keyboard.press("/")
        assert tab.evaluate("document.activeElement.id") == "object"


def test_the_keys_are_explained(browser, site):
    with page(browser, site) as tab:
        tab.keyboard.press("?")
        assert tab.get_by_role("dialog").is_visible()
        tab.keyboard.press("Escape")
        assert not tab.get_by_role("dialog").is_visible()


def test_new_candidates_arrive_by_themselves_and_are_announced(browser, site):
    with page(browser, site) as tab:
        tab.get_by_role("button", name="Live").wait_for()
        give(site, event(77, object_id="ZTF20fresh"), alert=ALERT)
        tab.locator(".card.new").wait_for()
        assert cards(tab)[0] == "ZTF20fresh"
        assert tab.locator("[aria-live]").inner_text().startswith("1 new candidate at ")
        tab.keyboard.press("l")
        assert tab.get_by_role("button", name="Paused").get_attribute("aria-pressed") == "false"
        give(site, event(78, object_id="ZTF20later"), alert=ALERT)
        tab.keyboard.press("l")  # what came meanwhile is not lost
        tab.get_by_text("ZTF20later").wait_for()
        assert len(cards(tab)) == 11


def test_live_updates_keep_to_the_search(browser, site):
    with page(browser, site, "/?min_score=0.85") as tab:
        tab.get_by_role("button", name="Live").wait_for()
        give(site, event(77, object_id="ZTF20low", p_real=0.7), event(78, object_id="ZTF20high", p_real=0.99))
        tab.get_by_text("ZTF20high").wait_for()
        assert "ZTF20low" not in cards(tab)


def test_who_reads_further_down_is_not_moved(browser, site):
    with page(browser, site) as tab:
        tab.get_by_role("button", name="Live").wait_for()
        third = tab.locator(".card").nth(2)
        third.scroll_into_view_if_needed()
        third.locator(".open").focus()
        handle = third.element_handle()
        before = handle.bounding_box()["y"]
        give(site, event(77, object_id="ZTF20fresh"), alert=ALERT)
        tab.locator(".card.new").wait_for()
        assert handle.bounding_box()["y"] == pytest.approx(before, abs=2)
        assert tab.evaluate("document.activeElement.className") == "open"


@pytest.mark.parametrize("path", ["/", "event", "object", "/?min_score=0.99", "/nowhere"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser, site, path):
    first = "/events/" + event(9, object_id="ZTF20aaaaaaa", p_real=0.9, ra_deg=360.0).ivorn.partition("#")[2]
    path = {"event": first, "object": "/objects/ZTF20aaaaaaa"}.get(path, path)
    with browser.new_context(**PHONE) as opened:
        tab = opened.new_page()
        tab.goto(site.address + path)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        assert all(live.bounding_box()["height"] < 40 for live in tab.get_by_role("button", name="Live").all())


def test_the_pages_need_no_script(browser, site):
    with page(browser, site, java_script_enabled=False) as tab:
        assert len(cards(tab)) == 9
        tab.locator(".open").first.click()
        assert tab.locator(".lightcurve").is_visible()


def test_a_withdrawn_event_says_so_at_once(browser, tmp_path):
    first, ghost = lived(event(1), withdrawal(event(1), "a ghost"))
    with serving(tmp_path, first, ghost, alert=ALERT) as sink, page(browser, sink) as tab:
        assert "retracted" in tab.locator(".card").nth(1).inner_text()
        tab.locator(".open").nth(1).click()
        assert "This event was withdrawn" in tab.get_by_role("note").inner_text()


CONTRAST = """(drawn) => {
  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *, header *, footer *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    const shape = drawn && node.matches(drawn);
    if (!(own || shape) || node.closest(".visually-hidden") || !node.checkVisibility()) continue;
    const style = getComputedStyle(node), lined = shape && style.stroke !== "none";
    const colour = node.closest("svg") ? (lined ? style.stroke : style.fill) : style.color;
    const [one, other] = [light(numbers(colour)), light(ground(node))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio >= (shape ? 3 : 4.5)) continue;
    poor.push(`${node.getAttribute("class")} ${node.tagName}: ${node.textContent.trim()} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(browser, site, scheme):
    with page(browser, site, color_scheme=scheme, reduced_motion="reduce") as tab:
        assert tab.evaluate(CONTRAST) == []
        tab.locator(".open").first.click()
        assert tab.evaluate(CONTRAST) == []


@cache
def reported() -> str:
    """A model's report, with all colours of plots in one more."""
    rivals = {"noise": np.random.default_rng(0).random(len(examples()))}
    whole = report(model_from(files()), held_out(model_from(files()), examples()), rivals=rivals, quick=True)
    colours = Plot(Axis("x", 0, 1), Axis("y", 0, 1))
    for colour in COLOURS:
        colours.line([(0, 0), (1, 1)], "a line", colour)
    return report_page(whole, {}).replace("</main>", f"<section>{colours.svg()}</section></main>")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_model_stands_out_by_day_and_by_night_plots_included(browser, scheme):
    with browser.new_context(color_scheme=scheme) as opened:
        tab = opened.new_page()
        tab.set_content(reported())
        assert tab.locator("svg polyline").count() > len(COLOURS)
        assert tab.evaluate(CONTRAST, "svg polyline, svg circle, svg rect") == []
        panel = tab.locator("section").first.evaluate("one => getComputedStyle(one).backgroundColor")
        assert (panel == "rgb(255, 255, 255)") == (scheme == "light")


def test_every_field_has_a_label_every_picture_a_text_and_every_page_one_heading(browser, site):
    with page(browser, site) as tab:
        for path in ("/", "/objects/ZTF20aaaaaaa", tab.locator(".open").first.get_attribute("href")):
            tab.goto(site.address + path)
            assert tab.locator("h1").count() == 1
            assert tab.locator("img:not([alt])").count() == 0
            assert tab.locator("svg:not([aria-label]):not([aria-hidden])").count() == 0
            unnamed = "nodes => nodes.filter(one => one.type !== 'hidden' && !one.labels.length).map(one => one.id)"
            assert tab.locator("input, select").evaluate_all(unnamed) == []


def test_the_twin_is_one_click_away(browser, site):
    with page(browser, site) as tab:
        tab.locator(".open").first.click()
        tab.get_by_role("link", name="JSON").click()
        assert json.loads(tab.locator("pre").inner_text())["alert_type"] == "initial"


def test_the_screenshot_in_the_readme_is_small():
    picture = Path(__file__).resolve().parent.parent / "realbogus/docs/pictures/candidates.png"
    assert picture.stat().st_size < 300_000
