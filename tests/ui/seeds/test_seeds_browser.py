"""What only a browser can tell of Seeds: the address brings choices back, the keyboard reads the text, themes, silence."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.ui.browser import Address, Look, assert_sound, chromium_is_there
from tests.ui.seeds.archive import PLACE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.thorough,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


def test_choices_go_to_the_address_and_come_back(look: Look, address: Address) -> None:
    first = look(f"{address('seeds')}/seeds?sequence={PLACE[0]}")
    page = first.page
    page.get_by_role("slider").first.press("ArrowLeft")
    page.wait_for_url("**step=0**")
    first.settle()
    page.get_by_text("these values").click()
    page.wait_for_url("**colours=these+values**")
    first.settle()
    assert parse_qs(urlsplit(page.url).query) == {
        "sequence": [str(PLACE[0])],
        "step": ["0"],
        "colours": ["these values"],
    }
    again = look(page.url, dark=True)
    shown = [w.page.locator(".deltas").inner_html() for w in (first, again)]
    assert shown[0] == shown[1]
    again.turn(dark=False, width=1400)
    assert_sound(again)


def test_the_keyboard_reads_what_every_run_has(look: Look, address: Address) -> None:
    window = look(f"{address('seeds')}/seeds")
    page = window.page
    stops = page.locator(".deltas mark[tabindex]")
    told = [stop.get_attribute("aria-label") or "" for stop in stops.all()]
    (planted,) = [words for words in told if "spread 0.935 nats" in words]
    assert "init0-data0: 2 " in planted
    assert "init2-data1: 4.5 " in planted
    assert_sound(window)
