"""What only a browser can tell of Transitions: rows that choose, the address, themes, widths, silence in the console."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_a_row_and_the_test_travel_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('transitions')}/transitions?y_scale=log")
    page = first.page
    page.get_by_text("Test against smooth curves (").click()
    page.wait_for_url("**test=true**")
    expect(page.get_by_text("3 major transition").first).to_be_visible()
    table = page.locator(".st-key-changes .dvn-scroller").first
    table.scroll_into_view_if_needed()
    # the box of the second row
    table.click(position={"x": 20, "y": 35 + 35 + 17})
    page.wait_for_url("**focus=sudden**")
    first.settle()
    words = parse_qs(urlsplit(page.url).query)
    assert words["y_scale"] == ["log"]
    again = look(page.url, dark=True)
    for window in (first, again):
        expect(window.page.get_by_text("Test: major transition.")).to_be_visible()
        expect(window.page.get_by_text(f"{words['focus'][0]}. Band")).to_be_visible()
        assert_sound(window)


def test_hostile_names_break_nothing_in_a_wide_window(look: Look, address: Address) -> None:
    window = look(f"{address('transitions hostile')}/transitions", width=1400)
    window.page.locator(".js-plotly-plot .nsewdrag").first.hover()
    assert window.page.locator("img[src='x']").count() == 0
    assert_sound(window)
