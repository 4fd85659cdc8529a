"""What only a browser can tell of Compare: the address brings choices back, clicks, the keyboard, themes, silence."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there
from tests.ui.components.archive import SPARSE
from tests.ui.components.records import HTML_WORD

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_slider_buttons_and_toggles_travel_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('compare')}/compare?run_a=lm-seed0&sequence=6")
    page = first.page
    # a word of the vocabulary is text, not markup
    assert HTML_WORD in page.locator(".deltas").inner_text()
    assert page.locator("img[src='x']").count() == 0
    assert_sound(first)
    page.get_by_role("button", name="Previous").click()
    page.wait_for_url("**sequence=5**")
    page.get_by_role("slider").nth(1).press("ArrowLeft")
    page.wait_for_url("**step_b=2000**")
    # losses of tokens are missing there, and what was chosen among them is not forgotten
    expect(page.get_by_text("it has them at 1,000")).to_be_visible()
    first.settle()
    page.get_by_role("slider").nth(1).press("ArrowLeft")
    page.wait_for_url(f"**step_b={SPARSE[-2]}**")
    first.settle()
    page.get_by_text("most stable").click()
    page.wait_for_url("**neurons=most+stable**")
    first.settle()
    asked = parse_qs(urlsplit(page.url).query)
    assert asked == {
        "run_a": ["lm-seed0"],
        "sequence": ["5"],
        "step_b": [str(SPARSE[-2])],
        "neurons": ["most stable"],
    }
    again = look(page.url, dark=True)
    shown = [w.page.locator(".deltas").inner_html() for w in (first, again)]
    assert shown[0] == shown[1]
    assert_sound(again)


def test_a_row_shows_its_sequence_and_the_keyboard_reads_the_text(look: Look, address: Address) -> None:
    window = look(f"{address('compare')}/compare?run_a=lm-seed0&direction=better+in+B")
    page = window.page
    table = page.locator(".st-key-largest .dvn-scroller").first
    table.scroll_into_view_if_needed()
    table.click(position={"x": 20, "y": 35 + 17})
    page.wait_for_url("**sequence=**")
    window.settle()
    stop = page.locator(".deltas mark[tabindex]").first
    stop.focus()
    stop.press("Tab")
    focused = page.locator(".deltas mark[tabindex]:focus-visible")
    told = focused.get_attribute("aria-label") or ""
    assert "difference −" in told
    # what is read out also stands beneath the token
    assert focused.evaluate("e => getComputedStyle(e, '::after').content").strip('"') == told
    assert_sound(window)
