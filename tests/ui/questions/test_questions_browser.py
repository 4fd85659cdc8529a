"""Questions in a real browser: choosing a problem, asking it, and coming back by its address."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_a_problem_is_chosen_asked_and_restored_by_its_address(look: Look, address: Address) -> None:
    first = look(f"{address('questions')}/questions")
    page = first.page
    picker = page.get_by_role("combobox", name="Problem")
    picker.click()
    page.get_by_role("option", name="5.2", exact=True).click()
    first.settle()
    page.get_by_text("Ask this archive").click()
    expect(page.get_by_text("carry < hundreds < tens < units").first).to_be_visible()
    page.wait_for_url("**ask=true**")
    assert "problem=5.2" in page.url
    again = look(page.url, dark=True)
    expect(again.page.get_by_text("carry < hundreds < tens < units").first).to_be_visible()
    for width, dark in ((1000, True), (1400, False)):
        again.turn(dark, width)
        assert_sound(again)
    again.page.get_by_role("button", name="Copy or download").first.click()
    again.page.get_by_role("tab", name="CSV").click()
    with again.page.expect_download() as coming:
        again.page.get_by_role("button", name="Download CSV").click()
    assert coming.value.suggested_filename == "5.2a.csv"
    assert len(Path(coming.value.path()).read_text().splitlines()) == 1 + 3 * 4
    again.page.keyboard.press("Escape")
    again.page.get_by_role("button", name="All problems").click()
    again.settle()
    expect(again.page.get_by_role("combobox", name="Problem")).to_have_value("")
    again.page.wait_for_function("!location.search.includes('ask') && !location.search.includes('problem')")
    assert again.real_complaints == first.real_complaints == []


def test_hostile_words_of_a_hypothesis_and_of_the_address_are_text(look: Look, address: Address) -> None:
    window = look(f"{address('questions')}/questions?list=hypotheses")
    expect(window.page.get_by_text("Register what you expect")).to_be_visible()
    assert window.page.locator("img[src='x']").count() == 0
    hostile = "problem=5.2&ask=true&options=<img+src=x+onerror=alert(1)>&like=<script>"
    other = look(f"{address('questions')}/questions?{hostile}")
    expect(other.page.get_by_text("two dashes")).to_be_visible()
    assert other.page.locator("img[src='x']").count() == 0
    assert window.real_complaints == other.real_complaints == []
