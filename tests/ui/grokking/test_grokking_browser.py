"""What only a browser can tell of Grokking and Trajectory: addresses, themes, widths, and silence in the console."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, Watched, assert_sound, chromium_is_there
from tests.ui.grokking.archive import STEPS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]

PAGES = ("grokking", "trajectory")


def chosen_step(window: Watched) -> object:
    """Where the line of the heat map is."""
    return window.page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].find(f => f.data[0].type === 'heatmap' && f.layout.shapes)"
        ".layout.shapes[0].x0"
    )


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_silent_local_and_fit_the_window(look: Look, address: Address, path: str) -> None:
    window = look(f"{address('grokking')}/{path}", 1000, dark=True)
    for width, dark in ((1000, True), (1400, False)):
        window.turn(dark, width)
        assert_sound(window)


@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_break_nothing(look: Look, address: Address, path: str) -> None:
    window = look(f"{address('grokking hostile')}/{path}")
    assert_sound(window)
    window.page.locator(".js-plotly-plot .nsewdrag").first.hover()
    assert window.page.locator("img[src='x']").count() == 0
    assert_sound(window)


def test_words_on_cells_have_the_ink_of_the_page(look: Look, address: Address) -> None:
    for dark in (False, True):
        page = look(f"{address('grokking')}/grokking", dark=dark).page
        inks = page.evaluate(
            "[document.querySelector('.st-key-times .textpoint text'), document.querySelector('.stMain h1')]"
            ".map((e, k) => getComputedStyle(e)[k ? 'color' : 'fill'])"
        )
        assert inks[0] == inks[1]


def test_the_slider_travels_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('grokking')}/grokking?focus=i1-p0&x_scale=linear")
    assert chosen_step(first) == STEPS[-1]
    first.page.get_by_role("slider").press("ArrowLeft")
    first.page.wait_for_url(f"**step={STEPS[-2]}**")
    expect(first.page.get_by_text(f"at step {STEPS[-2]:,} (the slider's)")).to_be_visible()
    first.settle()
    words = parse_qs(urlsplit(first.page.url).query)
    assert words == {"focus": ["i1-p0"], "x_scale": ["linear"], "step": [str(STEPS[-2])]}
    again = look(first.page.url, dark=True)
    for window in (first, again):
        assert chosen_step(window) == STEPS[-2]
        assert_sound(window)


def test_the_address_of_a_trajectory_opens_the_page_that_was_left(look: Look, address: Address) -> None:
    first = look(f"{address('grokking')}/trajectory")
    page = first.page
    buttons = page.get_by_test_id("stButtonGroup")
    buttons.filter(has_text="Of").get_by_role("radio", name="logits").click()
    page.wait_for_url("**of=logits**")
    step = page.get_by_test_id("stNumberInput").get_by_role("spinbutton")
    step.fill("50")
    step.press("Enter")
    page.wait_for_url("**after_step=50**")
    first.settle()
    assert parse_qs(urlsplit(page.url).query) == {"of": ["logits"], "after_step": ["50"]}
    again = look(page.url, dark=True)
    for window in (first, again):
        expect(window.page.get_by_text("first component of the logits")).to_be_visible()
        steps = window.page.evaluate("[...document.querySelector('.js-plotly-plot')._fullData[0].customdata]")
        assert min(steps) >= 50
        assert_sound(window)
