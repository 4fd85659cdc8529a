"""What only a browser can tell of Sources and Benchmarks: addresses, clicks, links, and silence in the console."""

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there
from tests.ui.published.archive import STEPS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_hostile_names_stay_text_and_choices_travel_in_the_address(look: Look, address: Address) -> None:
    sources = look(f"{address('published hostile')}/sources", dark=True)
    expect(sources.page.locator("dl.facts")).to_contain_text("javascript:alert(1)")
    # only what looks like a web address is a link
    assert (
        sources.page.locator(".stMain a[href^='javascript'], .stMain a[href^='mailto'], dl.facts a").count()
        == 0
    )
    first = look(f"{address('published hostile')}/benchmarks?metric=acc")
    page = first.page
    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_url(f"**step={STEPS[-1]}**")
    first.settle()
    table = page.locator(".st-key-beaten .dvn-scroller").first
    table.scroll_into_view_if_needed()
    # the box of the first row
    table.click(position={"x": 20, "y": 35 + 17})
    page.wait_for_url("**task=inverse**")
    first.settle()
    expect(page.get_by_text(f"Step {STEPS[-1]:,}.").first).to_be_visible()
    for window in (sources, first):
        assert window.page.locator("img[src='x']").count() == 0
        assert_sound(window)
