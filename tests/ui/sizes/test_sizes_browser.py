"""What only a browser can tell of Sizes: the address brings choices back, a row opens its text, themes, silence."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_choices_travel_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('sizes')}/sizes?small=20k+·+n_layers%3D2&picture=difference")
    page = first.page
    assert_sound(first)
    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_url("**step=1000**")
    first.settle()
    page.get_by_text("compute", exact=True).click()
    page.wait_for_url("**axis=compute**")
    # the address changes before the script runs
    page.wait_for_selector('[data-testid=stPlotlyChart][aria-label*="over compute"]')
    first.settle()
    assert parse_qs(urlsplit(page.url).query) == {
        "small": ["20k · n_layers=2"],
        "picture": ["difference"],
        "step": ["1000"],
        "axis": ["compute"],
    }
    told = [f.get_attribute("aria-label") for f in page.get_by_test_id("stPlotlyChart").all()]
    again = look(page.url, width=1400, dark=True)
    assert [f.get_attribute("aria-label") for f in again.page.get_by_test_id("stPlotlyChart").all()] == told
    assert_sound(again)


def test_a_row_opens_its_text(look: Look, address: Address) -> None:
    window = look(f"{address('sizes')}/sizes?won=tokens")
    page = window.page
    table = page.locator(".st-key-won_tokens .dvn-scroller").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    before = page.locator(".deltas").inner_text()
    # the box in front of the third row
    page.mouse.click(box["x"] + 12, box["y"] + 35 * 3 + 17)
    page.wait_for_url("**sequence=**")
    window.settle()
    assert page.locator(".deltas").inner_text() != before
    assert page.locator(".deltas mark.better").count() > 0
    assert_sound(window)
