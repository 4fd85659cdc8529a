"""What only a browser can tell of Heads and Neuron: addresses, clicks, themes, widths, and silence in the console."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.ui.browser import Address, Look, Watched, assert_sound, chromium_is_there
from tests.ui.components.archive import STEPS
from tests.ui.components.matches import POSITIONS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]

PAGES = ("heads", "neuron")


def words_of(window: Watched) -> dict[str, list[str]]:
    return parse_qs(urlsplit(window.page.url).query)


@pytest.mark.thorough
@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_break_nothing(look: Look, address: Address, path: str) -> None:
    window = look(f"{address('components hostile')}/{path}")
    window.page.locator(".js-plotly-plot .nsewdrag").first.hover()
    assert window.page.locator("img[src='x']").count() == 0
    assert_sound(window)


def test_a_click_on_a_cell_and_the_slider_travel_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('components')}/heads?x_scale=linear")
    page = first.page
    drag = page.locator(".st-key-grid .nsewdrag").first
    box = drag.bounding_box()
    assert box is not None
    # layer 0, head 1 of 2 × 4
    drag.click(position={"x": box["width"] * 3 / 8, "y": box["height"] / 4})
    page.wait_for_url("**head=L0H1**")
    expect(page.get_by_text("Composition partners of L0H1")).to_be_visible()
    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_url(f"**step={STEPS[-2]}**")
    first.settle()
    assert words_of(first) == {"x_scale": ["linear"], "head": ["L0H1"], "step": [str(STEPS[-2])]}
    again = look(page.url, dark=True)
    for window in (first, again):
        expect(window.page.get_by_text("Composition partners of L0H1")).to_be_visible()
        expect(window.page.get_by_text(f"At step {STEPS[-2]:,} of lm-seed0")).to_be_visible()
        assert_sound(window)


def test_a_row_of_the_finder_chooses_head_and_run(look: Look, address: Address) -> None:
    window = look(f"{address('components')}/heads?show=all+runs")
    table = window.page.locator(".st-key-finder .dvn-scroller").first
    table.scroll_into_view_if_needed()
    # the box of the second row, which is the best head of the second run
    table.click(position={"x": 20, "y": 35 + 35 + 17})
    window.page.wait_for_url("**focus=lm-seed1**")
    window.settle()
    assert words_of(window)["head"] == ["L1H3"]
    expect(window.page.get_by_text("Composition partners of L1H3")).to_be_visible()
    assert_sound(window)


def test_attention_can_be_read_by_mouse_and_by_keyboard(look: Look, address: Address) -> None:
    # the head that was planted to look at the token before
    window = look(f"{address('components')}/heads?head=L1H2&item=books,+40+tokens+%231")
    tokens, told = window.page.locator(".tokens span"), window.page.locator(".told")
    expect(tokens).to_have_count(POSITIONS)
    tokens.nth(5).hover()
    expect(told).to_contain_text("looks at: 4: ")
    expect(told).to_contain_text("0.80 | 0: ")
    tokens.nth(5).focus()
    window.page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("looks at: 5: ")
    window.page.keyboard.press("Home")
    expect(tokens.first).to_be_focused()
    window.page.get_by_role("radio", name="is looked at by").or_(
        window.page.get_by_role("button", name="is looked at by")
    ).first.click()
    window.page.wait_for_url("**look=**")
    expect(told).to_contain_text("is looked at by: ")
    assert window.page.locator("img[src='x']").count() == 0
    assert_sound(window)


def test_the_camera_saves_what_was_chosen_once(look: Look, address: Address) -> None:
    window = look(f"{address('components')}/neuron?image=png")
    page = window.page
    figure = page.locator(".st-key-histogram")
    figure.scroll_into_view_if_needed()
    figure.hover()
    for kind in ("png", "svg"):
        with page.expect_download() as download:
            figure.locator(".modebar-btn").first.click()
        assert download.value.suggested_filename == f"pathscope.{kind}"
        if kind == "png":
            page.get_by_text("Copy or download").first.click()
            page.get_by_text("SVG", exact=True).first.click()
            page.wait_for_url(lambda url: "image" not in url)
            page.keyboard.press("Escape")
            window.settle()
            figure.hover()
    assert_sound(window)


@pytest.mark.thorough
def test_next_and_the_slider_of_a_neuron_travel_in_the_address(look: Look, address: Address) -> None:
    first = look(f"{address('components')}/neuron?unit=5")
    page = first.page
    page.get_by_role("button", name="Next").click()
    page.wait_for_url("**layer=1**")
    page.get_by_role("slider").press("ArrowLeft")
    page.wait_for_url(f"**step={STEPS[-2]}**")
    expect(page.get_by_text(f"L1N0 at step {STEPS[-2]:,}").first).to_be_visible()
    first.settle()
    again = look(page.url, dark=True)
    texts = [w.page.locator(".examples li").all_inner_texts() for w in (first, again)]
    assert texts[0] == texts[1]
    for window in (first, again):
        expect(window.page.get_by_text(f"L1N0 at step {STEPS[-2]:,}").first).to_be_visible()
        assert_sound(window)
    page.get_by_role("button", name="Previous").click()
    expect(page.get_by_text(f"L0N5 at step {STEPS[-2]:,}").first).to_be_visible()


def test_marked_tokens_tell_their_value_and_can_be_read(look: Look, address: Address) -> None:
    for dark in (False, True):
        page = look(f"{address('components')}/neuron", dark=dark).page
        marks = page.locator(".examples:not(.narrow) mark")
        assert marks.count() == 8
        assert (marks.first.get_attribute("title") or "").startswith("activation ")
        inks = marks.first.evaluate(
            "e => [getComputedStyle(e).color, getComputedStyle(document.querySelector('.stMain h1')).color]"
        )
        assert inks[0] == inks[1]
