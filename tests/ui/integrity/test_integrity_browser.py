"""The Integrity page in a real browser: a permalink brings its choices back, in the dark and narrow."""

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, chromium_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.skipif(not chromium_is_there(), reason="Debian's chromium is not installed"),
]


def test_a_link_brings_the_chain_back(address: Address, look: Look) -> None:
    window = look(f"{address('integrity')}/integrity?focus=swapped", width=1000, dark=True)
    expect(window.page.get_by_text("50: looks exchanged with step 160")).to_be_visible()
    axes = window.page.get_by_test_id("stButtonGroup")
    axes.filter(has_text="x axis").get_by_role("radio", name="linear").click()
    expect(window.page).to_have_url(f"{address('integrity')}/integrity?focus=swapped&x_scale=linear")
    again = look(f"{address('integrity')}/integrity?focus=doubled&x_scale=linear", width=1400)
    expect(again.page.get_by_text("judged just now and recorded nowhere")).to_be_visible()
    expect(again.page.locator("[data-testid=stPlotlyChart] .legendtext").first).to_contain_text(
        "3 other runs"
    )
    for one in (window, again):
        assert not one.real_complaints, one.real_complaints
        assert not one.strangers, one.strangers
