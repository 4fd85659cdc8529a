"""What only a browser can tell: addresses, selections, themes, widths, downloads, and silence in the console."""

from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.shard import ShardBuilder
from tests.ui.archives import Plan, add_run
from tests.ui.browser import Address, Look, chromium_is_there
from tests.ui.screenshots import SHOTS, take

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium_is_there(), reason="needs Debian's chromium: apt-get install chromium"),
]


@pytest.fixture
def demo_address(address: Address) -> str:
    return address("demo")


@pytest.fixture
def look(look: Look) -> Look:
    """As everywhere, in a wider window: look(url, width=1400, dark=False)."""
    return lambda url, width=1400, dark=False: look(url, width, dark)


@pytest.mark.parametrize(
    ("archive", "path"), [("grokking", "grokking"), ("demo", ""), ("demo", "curves"), ("demo", "sql")]
)
def test_pages_are_silent_local_and_fit_the_window(
    look: Look, address: Address, archive: str, path: str
) -> None:
    window = look(f"{address(archive)}/{path}", 1000, dark=True)
    for width, dark in ((1000, True), (1000, False), (1400, False), (1400, True)):
        window.turn(dark, width)
        assert window.page.evaluate("document.documentElement.scrollWidth") <= width
        assert window.real_complaints == []
        assert window.strangers == []
        assert window.page.get_by_test_id("stException").count() == 0
        figures = window.page.get_by_test_id("stPlotlyChart").all()
        assert len(figures) > 0 or path == "sql"
        assert all(figure.get_attribute("aria-label") for figure in figures)


def test_labels_of_lines_do_not_overlap_and_stay_inside(look: Look, demo_address: str) -> None:
    window = look(f"{demo_address}/curves?colour_by=run", 1000)
    boxes = [
        box
        for label in window.page.locator(".js-plotly-plot .annotation-text").all()
        if label.text_content() != "//" and (box := label.bounding_box())
    ]
    assert len(boxes) == 10
    boxes.sort(key=lambda b: b["y"])
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 3
    chart = window.page.locator(".js-plotly-plot").bounding_box()
    assert chart is not None
    assert all(b["x"] + b["width"] <= chart["x"] + chart["width"] for b in boxes)


def test_an_address_opens_the_page_that_was_left(look: Look, demo_address: str) -> None:
    first = look(f"{demo_address}/curves")
    page = first.page
    page.get_by_test_id("stSelectbox").get_by_role("combobox").click()
    page.get_by_role("option", name="accuracy").click()
    first.settle()
    axes = page.get_by_test_id("stButtonGroup")
    axes.filter(has_text="y axis").get_by_role("radio", name="log").click()
    axes.filter(has_text="x axis").get_by_role("radio", name="linear").click()
    page.get_by_text("Use suspect checkpoints").click()
    # a list waits for one title and no more: while a chart is being replaced by another, both are on the page
    expect(page.locator(".js-plotly-plot .ytitle")).to_have_text(["accuracy [fraction]"])
    page.wait_for_url("**suspect=true**")
    words = parse_qs(urlsplit(page.url).query)
    assert words == {
        "measure": ["accuracy"],
        "y_scale": ["log"],
        "x_scale": ["linear"],
        "suspect": ["true"],
    }
    again = look(page.url)
    for window in (first, again):
        window.settle()
        expect(window.page.locator(".js-plotly-plot .ytitle")).to_have_text(["accuracy [fraction]"])
        layout = window.page.evaluate("document.querySelector('.js-plotly-plot').layout")
        assert (layout["xaxis"]["type"], layout["yaxis"]["type"]) == ("linear", "log")
        expect(window.page.get_by_role("switch", name="Use suspect checkpoints")).to_be_checked()
        assert window.real_complaints == []


def test_the_copied_link_opens_the_same_page(look: Look, demo_address: str) -> None:
    first = look(f"{demo_address}/curves?measure=accuracy&part=test")
    first.page.get_by_role("button", name="Copy or download").first.click()
    link = first.page.get_by_test_id("stCode").first.inner_text().strip()
    assert link.startswith(f"{demo_address}/curves?measure=accuracy&part=test&axis=step")
    second = look(link)
    expect(second.page.locator(".js-plotly-plot .ytitle")).to_have_text(["accuracy [fraction]"])
    assert second.page.locator(".annotation-text").all_text_contents() == ["//", "test (5 runs)"]


def test_a_question_on_the_first_page_leads_to_its_answer(look: Look, demo_address: str) -> None:
    window = look(demo_address)
    window.page.get_by_role("link", name="When do runs generalise").click()
    window.page.wait_for_url("**/curves?**")
    window.settle()
    expect(window.page.locator(".js-plotly-plot .ytitle")).to_have_text(["accuracy [fraction]"])
    assert window.real_complaints == []


def test_the_csv_that_comes_down_has_every_value(look: Look, demo_address: str) -> None:
    window = look(f"{demo_address}/curves?measure=log.loss&part=test")
    window.page.get_by_role("button", name="Copy or download").first.click()
    window.page.get_by_role("tab", name="CSV").click()
    with window.page.expect_download() as coming:
        window.page.get_by_role("button", name="Download CSV").click()
    lines = Path(coming.value.path()).read_text().splitlines()
    assert coming.value.suggested_filename == "log.loss.csv"
    assert len(lines) == 1 + 5 * 1201


def test_the_pictures_of_the_documentation_can_be_taken(
    browser: Browser, demo_address: str, tmp_path: Path
) -> None:
    some = {name: SHOTS[name] for name in ("home", "sql")}  # the other pages are opened by tests of their own
    taken = take(browser, demo_address, tmp_path, some, themes=["light"])
    assert {p.name for p in taken} == {f"explorer-{n}-light.png" for n in some}
    assert all(p.stat().st_size > 10_000 for p in taken)


def test_dark_and_light_come_from_the_system_not_from_the_server(look: Look, demo_address: str) -> None:
    inks = {}
    for dark in (False, True):
        page = look(f"{demo_address}/curves", dark=dark).page
        inks[dark] = page.evaluate(
            "getComputedStyle(document.querySelector('.js-plotly-plot .xtick text')).fill"
        )
    assert inks[True] != inks[False], "figures do not follow the theme"


def test_a_statement_travels_in_the_address_and_its_result_comes_down(look: Look, demo_address: str) -> None:
    window = look(f"{demo_address}/sql")
    editor = window.page.get_by_role("textbox", name="Statement")
    editor.fill("SELECT run, 1 AS one FROM v_run ORDER BY run")
    editor.press("Control+Enter")
    expect(window.page.get_by_text("5 rows in")).to_be_visible()
    window.page.wait_for_url("**sql=SELECT**")
    again = look(window.page.url)
    expect(again.page.get_by_role("textbox", name="Statement")).to_have_value(editor.input_value())
    with again.page.expect_download() as coming:
        again.page.get_by_role("button", name="CSV", exact=True).click()
    assert Path(coming.value.path()).read_text().splitlines()[:2] == ['"run","one"', '"demo-s0",1']
    with again.page.expect_download() as coming:
        again.page.get_by_role("button", name="Parquet", exact=True).click()
    assert Path(coming.value.path()).read_bytes()[:4] == b"PAR1"
    assert window.real_complaints == again.real_complaints == []


def test_a_result_is_drawn(look: Look, demo_address: str) -> None:
    window = look(
        f"{demo_address}/sql?sql=SELECT+run,step,loss+FROM+v_loss+WHERE+split='test'+ORDER+BY+run,step"
    )
    window.page.get_by_role("tab", name="Chart").click()
    expect(window.page.locator(".js-plotly-plot .xtitle")).to_have_text(["step"])
    expect(window.page.locator(".js-plotly-plot .legendtext")).to_have_count(5)
    assert window.real_complaints == []


def test_hostile_sql_in_an_address_is_text(look: Look, demo_address: str) -> None:
    statement = "SELECT+'<img+src=x+onerror=alert(1)>'+AS+\"<img+src=x>\",1+AS+x,2+AS+y"
    window = look(f"{demo_address}/sql?sql={statement}")
    expect(window.page.get_by_text("1 row in")).to_be_visible()
    assert window.page.locator("img[src='x']").count() == 0
    wrong = look(f"{demo_address}/sql?sql=<script>alert(1)</script>")
    expect(wrong.page.get_by_text("syntax error")).to_be_visible()
    assert window.real_complaints == wrong.real_complaints == []


@pytest.mark.parametrize("path", ["", "curves?colour_by=run"])
def test_hostile_names_run_nothing_and_break_nothing(look: Look, address: Address, path: str) -> None:
    window = look(f"{address('hostile')}/{path}", 1000)
    assert window.page.locator("img[src='x']").count() == 0
    assert window.page.evaluate("document.documentElement.scrollWidth") <= 1000
    window.page.locator(".js-plotly-plot .nsewdrag").first.hover()
    assert window.page.locator("img[src='x']").count() == 0
    assert window.real_complaints == []


def test_new_results_are_offered_while_the_page_is_open(look: Look, address: Address) -> None:
    window = look(address("demo", will_write=True))
    layout = Layout.of(address.archive)
    shard = ShardBuilder(kind="train")
    add_run(shard, Plan("late", 7, steps=(0, 1)), log=False)
    shard.write(layout.inbox)
    commit_inbox(layout)
    offer = window.page.get_by_role("button", name="New results are in")
    expect(offer).to_be_visible(timeout=20_000)
    offer.click()
    expect(window.page.get_by_test_id("stMetricValue").first).to_have_text("6")
    expect(offer).to_be_hidden()


def test_new_results_appear_by_themselves_where_people_watch_them_come(look: Look, address: Address) -> None:
    url = address("ingestion", will_write=True)
    window = look(f"{url}/ingest", width=1000, dark=True)
    waiting = window.page.get_by_test_id("stMetric").filter(has_text="Wait in the inbox")
    expect(waiting).to_contain_text("1")
    expect(window.page.get_by_text("13 of 40 · 32%")).to_be_visible()
    assert not commit_inbox(Layout.of(address.archive)).refused
    expect(waiting).to_contain_text("nothing waits")
    expect(window.page.get_by_text("21 of 40 · 52%")).to_be_visible()
    expect(window.page.get_by_role("button", name="New results are in: show them")).to_have_count(0)
    window.page.get_by_text("Hold still").click()
    expect(window.page.get_by_text("It does not look again by itself.")).to_be_visible()
    expect(window.page).to_have_url(f"{url}/ingest?paused=true")
    assert window.real_complaints == window.strangers == []
