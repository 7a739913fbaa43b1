"""The page in a real browser: Debian's chromium, without a window. `make test-browser`."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.support.report_folders import grid_folder, results_folder
from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import build, render

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CONTROLS = "a[href], button, select, summary, [tabindex='0']"
PAINTED = """
const shown = getComputedStyle(arguments[0]);
return [shown.color, getComputedStyle(arguments[0].closest('.card, body')).backgroundColor]
  .map((colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert binary, "no chromium: apt-get install chromium chromium-driver"
    assert driver, "no chromedriver: apt-get install chromium chromium-driver"
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("made")
    grid_folder(results_folder(folder / "results"))
    page = folder / "report.html"
    page.write_text(render(build(read_contents(folder / "results"), queries=6)), encoding="utf-8")
    return page.as_uri()


@pytest.fixture
def page(browser: webdriver.Chrome, address: str) -> webdriver.Chrome:
    """The page as it is first shown: 1280 pixels wide, light, with motion."""
    show(browser, width=1280)
    browser.get(address)
    return browser


def show(browser: webdriver.Chrome, *, width: int, scheme: str = "light", motion: str = "no-preference") -> None:
    """What the browser pretends its user has."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def of(page: webdriver.Chrome, script: str, *arguments: Any) -> Any:
    return page.execute_script(script, *arguments)


def press(page: webdriver.Chrome, key: str) -> None:
    webdriver.ActionChains(page).send_keys(key).perform()


def test_nothing_goes_wrong_and_nothing_is_loaded(page: webdriver.Chrome) -> None:
    loaded = of(page, "return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert of(page, "return getComputedStyle(document.querySelector('.film.p0')).backgroundImage").startswith("url(")


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_is_never_wider_than_the_screen(page: webdriver.Chrome, width: int) -> None:
    show(page, width=width)
    of(page, "document.querySelectorAll('details').forEach((each) => each.open = true)")
    assert of(page, "return document.documentElement.scrollWidth") <= width
    wide = of(page, "const t = document.querySelector('.scroll'); return t.scrollWidth > t.clientWidth")
    assert wide == (width < 1000)  # the table scrolls by itself


@pytest.mark.parametrize("where", ["td a.number", "svg a"])
def test_a_number_opens_its_origin_by_keyboard_and_escape_leads_back(page: webdriver.Chrome, where: str) -> None:
    number = page.find_element(By.CSS_SELECTOR, where)
    of(page, "arguments[0].focus()", number)
    press(page, Keys.ENTER)
    dialog = page.find_element(By.ID, "origin")
    assert dialog.is_displayed()
    assert page.find_element(By.ID, "origin-title").text == number.get_attribute("data-what")
    assert "checkpoint sha256" in dialog.text
    assert of(page, "return arguments[0].contains(document.activeElement)", dialog)
    press(page, Keys.TAB)
    assert of(page, "return arguments[0].contains(document.activeElement)", dialog)
    press(page, Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert of(page, "return document.activeElement === arguments[0]", number)


def test_a_number_of_several_seeds_opens_the_runs_of_all(page: webdriver.Chrome) -> None:
    several = next(
        each
        for each in page.find_elements(By.CSS_SELECTOR, "a[data-runs]")
        if " " in str(each.get_attribute("data-runs"))
    )
    of(page, "arguments[0].focus()", several)
    press(page, Keys.ENTER)
    assert len(page.find_elements(By.CSS_SELECTOR, "#origin .origin")) == 2


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(page: webdriver.Chrome) -> None:
    wanted = of(
        page,
        f'const all = [...document.querySelectorAll("{CONTROLS}")].filter((each) => each.checkVisibility());'
        "all.forEach((each, place) => each.setAttribute('data-place', place)); return all.length",
    )
    reached = []
    for _ in range(wanted):
        press(page, Keys.TAB)
        reached.append(of(page, "return Number(document.activeElement.getAttribute('data-place') ?? -1)"))
    assert reached == list(range(wanted))


def test_the_gallery_is_filtered_and_ordered(page: webdriver.Chrome) -> None:
    gallery = page.find_element(By.CSS_SELECTOR, "[data-gallery] form").find_element(By.XPATH, "..")

    def choose(name: str, number: int) -> str:
        Select(gallery.find_element(By.NAME, name)).select_by_index(number)
        return gallery.find_element(By.CLASS_NAME, "count").text

    def shown() -> list[Any]:
        return [each for each in gallery.find_elements(By.CLASS_NAME, "query") if each.is_displayed()]

    worst = [each.get_attribute("data-recalls") for each in shown()]
    assert choose("order", 1) == "6 of 6 queries"
    assert [each.get_attribute("data-recalls") for each in shown()] == sorted(worst, reverse=True)
    assert choose("class", 1) == "3 of 6 queries"
    assert len({each.get_attribute("data-class") for each in shown()}) == 1
    choose("backbone", 1)
    assert {
        each.get_attribute("data-backbone")
        for each in shown()[0].find_elements(By.CLASS_NAME, "answer")
        if each.is_displayed()
    } == {"0"}
    misses = int(choose("nearest", 1).split()[0])
    hits = int(choose("nearest", 2).split()[0])
    assert misses + hits == 3


def test_pictures_play_until_they_are_paused(page: webdriver.Chrome) -> None:
    state = "return getComputedStyle(document.querySelector('.query .film')).animationPlayState"
    assert of(page, state) == "running"
    page.find_element(By.ID, "play").send_keys(Keys.SPACE)
    assert of(page, state) == "paused"
    assert page.find_element(By.ID, "play").text == "Play pictures"


def test_who_asked_for_less_motion_sees_stills_until_a_query_is_focused(page: webdriver.Chrome) -> None:
    show(page, width=1280, motion="reduce")
    page.refresh()
    state = "return getComputedStyle(document.querySelector('.query .film')).animationPlayState"
    assert of(page, state) == "paused"
    of(page, "document.querySelector('.query').focus()")
    assert of(page, state) == "running"
    of(page, "document.activeElement.blur()")
    assert of(page, state) == "paused"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: webdriver.Chrome, scheme: str) -> None:
    show(page, width=1280, scheme=scheme)
    grounds = set()
    for selector in (
        "h1",
        ".lead",
        "nav a",
        "td.published",
        "td a.number",
        "td small",
        ".facts",
        ".caption",
        "footer .wrap",
    ):
        text, ground = of(page, PAINTED, page.find_element(By.CSS_SELECTOR, selector))
        assert contrast(text, ground) >= 4.5, (selector, text, ground)
        grounds.add(luminance(ground) < 0.2)
    assert grounds == {scheme == "dark"}


def luminance(colour: list[float]) -> float:
    """Relative luminance of sRGB (WCAG 2)."""
    linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: list[float], second: list[float]) -> float:
    """Contrast ratio of two colours (WCAG 2)."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_without_its_script_the_page_still_shows_everything(page: webdriver.Chrome, address: str) -> None:
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(address)
        number = page.find_element(By.CSS_SELECTOR, "td a.number")
        number.send_keys(Keys.ENTER)
        target = str(number.get_attribute("href")).rpartition("#")[2]
        assert page.find_element(By.ID, target).is_displayed()
        assert not page.find_element(By.CSS_SELECTOR, "form.filters").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
