"""What only a browser can tell of Search: the box and the address, a row and its examples, themes, silence."""

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


def test_what_is_typed_and_chosen_travels_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('search')}/search?step=512")
    page = first.page
    box = page.get_by_role("textbox", name="Token or text")
    box.fill("the")
    box.press("Enter")
    page.wait_for_url("**text=the**")
    expect(page.get_by_text("2 of 48 neurons peak at 'the'")).to_be_visible()
    first.settle()
    table = page.locator(".st-key-neurons_found .dvn-scroller").first
    table.scroll_into_view_if_needed()
    # the box of the second row, which is the planted neuron of the second run
    table.click(position={"x": 20, "y": 35 + 35 + 17})
    page.wait_for_url("**lm-seed1**")
    first.settle()
    words = parse_qs(urlsplit(page.url).query)
    assert words["neuron"] == ["L1N3 of lm-seed1"]
    assert words["step"] == ["512"]
    again = look(page.url, width=1400, dark=True)
    for window in (first, again):
        expect(window.page.locator(".examples li").first).to_contain_text("match")
        assert_sound(window)
    lists = [w.page.locator(".examples li").all_inner_texts() for w in (first, again)]
    assert lists[0] == lists[1]
